"""The back end that is transformers itself."""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dgbackends import transformers as back_end
from dgbackends.protocol import Backend
from dgbackends.transformers import loading
from dgbackends.transformers.backend import TransformersBackend
from dgengine.control import Control
from dgengine.engine import Engine, built_in_path
from dgengine.errors import (
    CheckpointError,
    DeviceError,
    InsufficientMemoryError,
    ModelNotFoundError,
    NumericsError,
    SamplingError,
)
from dgengine.events import Block, Done, Event, Prefill, Step
from dgengine.sampling import Sampling
from tests.backends.conformance import Conformance, answer_of, question
from tests.engine.tiny import tiny_checkpoint

PROMPTS = (
    "Tell me a story about a fox and a lantern.",
    "What is 7 plus 5?",
    "Sort these words: pear, apple, fig.",
    "Write a Python function that reverses a string.",
)


@functools.cache
def pocket() -> TransformersBackend:
    return back_end.load("pocket", device="cpu")


@functools.cache
def embedded() -> Engine:
    return Engine.load("pocket", device="cpu")


def their_answer(model: Any, ids: list[int], seed: int, **settings: Any) -> list[int]:
    """The new tokens of `generate`, up to and with what ends them."""
    torch.manual_seed(seed)
    new = [int(i) for i in model.generate(torch.tensor([ids]), **settings).sequences[0, len(ids) :]]
    ends = [place for place, token in enumerate(new) if token in pocket().eos_ids]
    return new[: ends[0] + 1] if ends else new


def steps_of(events: list[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


class TestTransformers(Conformance):
    @pytest.fixture(scope="class")
    def backend(self) -> Backend:
        return pocket()


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_the_tokens_are_those_of_generate_and_of_our_engine(number: int) -> None:
    ids = pocket().encode_chat(question(PROMPTS[number]))
    assert ids == embedded().encode_chat(question(PROMPTS[number]))
    events = list(pocket().session().generate(ids, Sampling(seed=number)))
    ours = list(embedded().session().generate(ids, Sampling(seed=number, reference=True)))
    assert answer_of(events) == their_answer(pocket().model, list(ids), number) == answer_of(ours)


def test_the_steps_are_those_of_our_engine() -> None:
    """What the streamer is not told, but follows from the logits, is what our engine sees."""
    ids = pocket().encode_chat(question())
    sampling = Sampling(seed=4, reference=True, trace_top_k=3)
    events = list(pocket().session().generate(ids, sampling))
    ours = list(embedded().session().generate(ids, sampling))
    assert len(steps_of(events)) == len(steps_of(ours)) > 4
    for theirs, own in zip(steps_of(events), steps_of(ours), strict=True):
        assert (theirs.block, theirs.step, theirs.temperature) == (own.block, own.step, own.temperature)
        assert theirs.draft.tolist() == own.draft.tolist()
        assert theirs.accepted.tolist() == own.accepted.tolist()
        assert abs(theirs.entropy - own.entropy).max() < 1e-3
        assert theirs.top_ids is not None and own.top_ids is not None
        assert theirs.top_ids[:, 0].tolist() == own.top_ids[:, 0].tolist()
    blocks = [(event.steps, event.converged) for event in events if isinstance(event, Block)]
    assert blocks == [(event.steps, event.converged) for event in ours if isinstance(event, Block)]


def test_settings_reach_generate() -> None:
    ids = pocket().encode_chat(question())
    sampling = Sampling(
        seed=2, max_new_tokens=65, max_denoising_steps=4, t_min=0.1, t_max=0.9, entropy_bound=1, stability_threshold=2
    )
    events = list(pocket().session().generate(ids, sampling))
    ours = list(embedded().session().generate(ids, Sampling(**{**_fields(sampling), "reference": True})))
    assert answer_of(events) == answer_of(ours)
    assert max(step.step for step in steps_of(events)) == 4
    assert [event.converged for event in events if isinstance(event, Block)] == [
        event.converged for event in ours if isinstance(event, Block)
    ]


def _fields(sampling: Sampling) -> dict[str, Any]:
    return {name: getattr(sampling, name) for name in Sampling.__dataclass_fields__}


def test_a_second_turn_goes_on_from_the_kept_cache() -> None:
    """Longer than the sliding window, so that the layers' caches have moved on."""
    session = pocket().session()
    turns = question()
    reused = []
    for number in range(4):
        ids = pocket().encode_chat(turns)
        events = list(session.generate(ids, Sampling(seed=number)))
        assert answer_of(events) == answer_of(list(pocket().session().generate(ids, Sampling(seed=number))))
        reused.append(next(event.reused for event in events if isinstance(event, Prefill)))
        turns += [{"role": "assistant", "ids": answer_of(events)}, *question(f"What is {number} plus 5?")]
    assert reused[0] == 0 and all(reused[1:])
    assert len(session.held) > 128


def test_another_chat_is_encoded_anew() -> None:
    session = pocket().session()
    list(session.generate(pocket().encode_chat(question()), Sampling(seed=1)))
    ids = pocket().encode_chat(question("What is 7 plus 5?"))
    events = list(session.generate(ids, Sampling(seed=1)))
    first = events[0]
    assert isinstance(first, Prefill) and (first.done, first.total, first.reused) == (0, len(ids), 0)
    assert answer_of(events) == their_answer(pocket().model, list(ids), 1)


def test_a_cancelled_answer_leaves_a_cache_that_serves() -> None:
    session, control = pocket().session(), Control()
    ids = pocket().encode_chat(question("Tell me a long story about a baker and a whale."))
    for event in session.generate(ids, Sampling(seed=3), control):
        if isinstance(event, Step) and event.step == 2:
            control.cancel()
    assert isinstance(event, Done) and event.reason == "cancelled"
    assert event.stats.steps_per_block == (2,), "within one step"
    longer = [*ids, *pocket().encode("Once")]
    events = list(session.generate(longer, Sampling(seed=3)))
    assert events[0] == Prefill(0, len(longer) - len(ids), len(ids))
    assert answer_of(events) == answer_of(list(pocket().session().generate(longer, Sampling(seed=3))))


def test_a_pause_holds_it_between_steps() -> None:
    control = Control()
    run = pocket().session().generate(pocket().encode_chat(question()), Sampling(seed=1), control)
    assert isinstance(next(run), Prefill)
    control.pause()
    threading.Timer(0.2, control.resume).start()
    done = list(run)[-1]
    assert isinstance(done, Done) and done.reason == "eos"


def test_an_answer_that_is_left_ends_its_thread() -> None:
    before = threading.active_count()
    run = pocket().session().generate(pocket().encode_chat(question()), Sampling(seed=1))
    next(run)
    next(run)
    assert threading.active_count() == before + 1
    run.close()
    assert threading.active_count() == before


def test_answers_may_be_interleaved_and_nobody_elses_random_numbers_change() -> None:
    ids = pocket().encode_chat(question())
    alone = answer_of(list(pocket().session().generate(ids, Sampling(seed=1))))
    torch.manual_seed(99)
    expected = torch.rand(3).tolist()
    torch.manual_seed(99)
    drawn: list[float] = []
    events: tuple[list[Event], list[Event]] = ([], [])
    runs = [pocket().session().generate(ids, Sampling(seed=1)) for _ in events]
    for pair in zip(*runs, strict=True):
        for found, event in zip(events, pair, strict=True):
            found.append(event)
        if len(drawn) < 3:
            drawn.append(float(torch.rand(1)))
    assert answer_of(events[0]) == answer_of(events[1]) == alone
    assert drawn == expected


def test_what_cannot_be_done_is_refused_at_once() -> None:
    session, ids = pocket().session(), pocket().encode_chat(question())
    with pytest.raises(SamplingError, match="decides by itself"):
        session.generate(ids, Sampling(on_limit="ask"), Control())
    with pytest.raises(SamplingError, match="t_max above t_min"):
        session.generate(ids, Sampling(t_min=0.5, t_max=0.5))


def test_nan_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session, ids = pocket().session(), pocket().encode_chat(question())
    forward = pocket().model.forward

    def poisoned(*args: Any, **options: Any) -> Any:
        out = forward(*args, **options)
        out.logits[0, 0, 0] = float("nan")
        return out

    with monkeypatch.context() as patch:
        patch.setattr(pocket().model, "forward", poisoned)
        with pytest.raises(NumericsError, match="NaN or infinity"):
            list(session.generate(ids, Sampling(seed=1)))
    assert isinstance(list(session.generate(ids, Sampling(seed=1)))[-1], Done)


def test_a_memory_that_runs_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session, ids = pocket().session(), pocket().encode_chat(question())

    def exhausted(*_: Any, **__: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(pocket().model, "forward", exhausted)
        with pytest.raises(InsufficientMemoryError, match="shorten the chat"):
            list(session.generate(ids))
    assert session.held == ()
    assert isinstance(list(session.generate(ids))[-1], Done)


# ---- loading


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_bitsandbytes_quantises_linear_layers_and_says_so(precision: str) -> None:
    backend = back_end.load("pocket", device="cpu", precision=precision)
    assert backend.info.precision == precision
    assert any("linear layers alone" in note for note in backend.info.notes)
    layer = backend.model.model.decoder.layers[0]
    assert type(layer.self_attn.q_proj).__module__.startswith("bitsandbytes")
    assert type(layer.router.proj) is torch.nn.Linear
    assert layer.experts.gate_up_proj.is_floating_point()
    assert backend.info.weight_bytes < pocket().info.weight_bytes
    events = list(backend.session().generate(backend.encode_chat(question()), Sampling(seed=1)))
    assert isinstance(events[-1], Done) and len(backend.decode(answer_of(events))) > 20


def test_bfloat16() -> None:
    backend = back_end.load("pocket", device="cpu", precision="bfloat16", context=512)
    assert (backend.info.precision, backend.info.context_length) == ("bfloat16", 512)
    sampling = Sampling(seed=1, max_new_tokens=64)
    assert isinstance(list(backend.session().generate(backend.encode_chat(question()), sampling))[-1], Done)


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[str, float]] = []
    back_end.load(tiny_checkpoint("base"), progress=lambda stage, done: told.append((stage, done)))
    assert told[0] == ("load", 0.0) and told[-1] == ("load", 1.0)


def test_nothing_is_written_to_the_screen_while_it_loads(capfd: pytest.CaptureFixture[str]) -> None:
    back_end.load("pocket", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_names_and_devices_are_those_of_our_engine() -> None:
    with pytest.raises(ModelNotFoundError):
        back_end.load("there-is-no-such-model")
    with pytest.raises(DeviceError):
        back_end.load("pocket", device="abacus")
    with pytest.raises(DeviceError, match=r"nvfp4.*give one of auto"):
        back_end.load("pocket", precision="nvfp4")
    with pytest.raises(ValueError, match="holds nothing"):
        back_end.load("pocket", context=0)


def test_a_directory_that_transformers_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="transformers cannot load"):
        back_end.load(tmp_path)


def test_lacking_weights_are_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in built_in_path().iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.decoder.norm.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks \d+ weights"):
        back_end.load(tmp_path)


@pytest.mark.parametrize("package", ["accelerate", "bitsandbytes"])
def test_a_package_that_is_missing_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(DeviceError, match=f"pip install {package}"):
        back_end.load("pocket", device="cpu", precision="int8")


def test_a_model_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def exhausted(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(transformers.DiffusionGemmaForBlockDiffusion, "from_pretrained", exhausted)
    with pytest.raises(InsufficientMemoryError, match="close other programs"):
        back_end.load("pocket")


def test_what_is_spread_out_says_so() -> None:
    spread = SimpleNamespace(hf_device_map={"model.decoder": 0, "model.encoder": "cpu"})
    assert "moved at every step" in loading._notes(spread, "auto")[0]
    assert loading._input_device(spread, torch.device("cpu")) == torch.device("cuda", 0)
