"""`Engine`: from a name to an answer, and what is said when that cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import dgengine
from dgengine.checkpoint import load_model
from dgengine.engine import Engine, built_in_path, find_device
from dgengine.errors import (
    ChatTemplateError,
    CheckpointError,
    DeviceError,
    ModelNotFoundError,
    NumericsError,
    PromptTooLongError,
)
from dgengine.events import Block, Done, Event, Notice, Prefill
from dgengine.sampling import Sampling
from dgengine.session import Session
from tests.amounts import examples
from tests.engine.fakes import answer_of
from tests.engine.tiny import tiny_chat_checkpoint, tiny_checkpoint

QUICK = Sampling(seed=0, max_new_tokens=16, max_denoising_steps=4)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(tiny_chat_checkpoint(), device="cpu")


def test_info(engine: Engine) -> None:
    info = engine.info
    config = engine.model.config
    assert (info.canvas_length, info.vocab_size, info.context_length) == (8, config.vocab_size, 512)
    assert (info.device, info.precision, info.path) == ("cpu", "float32", tiny_chat_checkpoint())
    assert info.parameters > 10_000
    # Not exactly four bytes for each: a norm's vector that is folded into the
    # matrix which reads it is not kept, and a joined matrix has columns of fill.
    assert 0.98 <= info.weight_bytes / (4 * info.parameters) <= 1.1
    assert engine.eos_ids == {1, 4}


def test_two_turns_from_text_to_text(engine: Engine) -> None:
    session = engine.session()
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Tell me a story."}]
    ids = engine.encode_chat(messages)
    events = list(session.generate(ids, QUICK))
    answer = answer_of(events)
    assert engine.decode(answer).startswith("".join(engine.pieces(answer)))
    messages += [{"role": "assistant", "ids": answer}, {"role": "user", "content": "Another one."}]
    first = next(e for e in session.generate(engine.encode_chat(messages), QUICK) if isinstance(e, Prefill))
    assert first.reused >= len(ids)
    assert first.total == len(engine.encode_chat(messages)) - first.reused


def test_a_string_path_and_the_package_level_names() -> None:
    engine = dgengine.Engine.load(str(tiny_chat_checkpoint()), device="cpu", precision="bfloat16")
    assert engine.info.precision == "bfloat16"
    done = list(engine.session().generate(engine.encode("fox"), QUICK))[-1]
    assert isinstance(done, dgengine.Done)


def test_progress_is_reported() -> None:
    seen: list[tuple[str, float]] = []
    Engine.load(tiny_checkpoint(), device="cpu", progress=lambda stage, done: seen.append((stage, done)))
    assert seen[0] == ("load", 0.0)
    assert seen[-1] == ("load", 1.0)


def test_a_model_without_a_tokenizer_takes_ids() -> None:
    engine = Engine.load(tiny_checkpoint(), device="cpu")
    assert len(answer_of(list(engine.session().generate([5, 6, 7], QUICK)))) == 16
    with pytest.raises(ChatTemplateError, match="no tokenizer"):
        engine.encode_chat([{"role": "user", "content": "a"}])


def test_a_chat_that_outgrows_the_context_drops_turns_and_says_so(engine: Engine) -> None:
    messages: list[dict[str, Any]] = []
    for number in range(12):
        messages += [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "ids": [60] * 40}]
    messages.append({"role": "user", "content": "the last one"})
    ids = engine.encode_chat(messages, max_new_tokens=16)
    assert 0 < len(ids) <= engine.info.context_length - 16
    assert "the last one" in engine.decode(ids)
    events = list(engine.session().generate(ids, QUICK))
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.count for notice in notices] == [ids.dropped]
    assert ids.dropped >= 2
    with pytest.raises(PromptTooLongError):
        engine.session().generate(ids, Sampling(max_new_tokens=400))


# what goes wrong


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pockett", "No model is called 'pockett'"),
        ("./nowhere", "There is no directory ./nowhere"),
        ("/no/such/place", "There is no directory /no/such/place"),
        (Path("nowhere"), "No model is called 'nowhere'"),
        ("", "No model is called ''"),
    ],
)
def test_unknown_models(name: str | Path, says: str) -> None:
    with pytest.raises(ModelNotFoundError, match=says) as caught:
        Engine.load(name)
    assert "pocket" in str(caught.value)


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_model_that_is_not_cached(offline: bool) -> None:
    """The tests run with the hub switched off, as on a machine without a network."""
    with pytest.raises(ModelNotFoundError, match="some-org/some-model is not in the hub's cache") as caught:
        Engine.load("some-org/some-model", offline=offline)
    assert ("offline" in str(caught.value)) == offline


def test_a_hub_model_in_the_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789" * 4
    snapshot = shutil.copytree(tiny_chat_checkpoint(), tmp_path / "models--org--name" / "snapshots" / commit)
    assert Engine.load("org/name", offline=True).path == snapshot
    (snapshot / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"Only a part .* dgchat pull org/name goes on"):
        Engine.load("org/name")


def test_files_and_empty_directories(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match="GGUF"):
        Engine.load(file)
    with pytest.raises(CheckpointError, match="GGUF"):
        Engine.load(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Engine.load(tmp_path)


@pytest.mark.parametrize("content", ["{nonsense", "[1, 2]"])
def test_a_broken_generation_config(tmp_path: Path, content: str) -> None:
    folder = shutil.copytree(tiny_checkpoint(), tmp_path / "model")
    (folder / "generation_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        Engine.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("device", "precision", "says"),
    [
        ("tpu", "auto", "no device 'tpu'"),
        ("meta", "auto", "'meta' is not supported"),
        ("cuda:99", "auto", "'cuda:99' is not there"),
        ("cpu", "float16", "no precision 'float16'"),
        ("cpu", "int8", "no precision 'int8'"),
        ("cpu", "nvfp4+", r"no precision 'nvfp4\+'"),
    ],
)
def test_devices_and_precisions(device: str, precision: str, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        Engine.load(tiny_checkpoint(), device=device, precision=precision)


def test_poisoned_weights_end_in_an_error_and_never_in_pad_tokens(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_checkpoint(), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    engine = Engine.load(folder, device="cpu")
    events: list[Event] = []
    for reference in (True, False):
        with pytest.raises(NumericsError, match="block 1, step 1"):
            events.extend(engine.session().generate([5, 6], Sampling(reference=reference)))
    assert not any(isinstance(event, Block) for event in events)


# the cache, with a real network


turns = st.lists(
    st.tuples(st.integers(0, 40), st.lists(st.integers(3, 95), min_size=1, max_size=14), st.booleans()),
    min_size=2,
    max_size=5,
)


@examples(15)
@given(turns=turns, slack=st.sampled_from([0, 5, 8192]))
def test_any_history_of_turns_answers_like_a_fresh_session(turns: list[Any], slack: int) -> None:
    """Append, edit, branch: the tokens are those of a session that never saw anything else."""
    model = load_model(tiny_checkpoint())
    make = model.new_cache
    model.new_cache = lambda: make(slack)  # type: ignore[method-assign,assignment,misc]
    session = Session(model)
    fresh = load_model(tiny_checkpoint())
    conversation: list[int] = []
    for keep, new, take in turns:
        conversation = conversation[:keep] + new
        answer = answer_of(list(session.generate(conversation, QUICK)))
        assert answer == answer_of(list(Session(fresh).generate(conversation, QUICK)))
        if take:
            conversation += answer


def test_a_context_without_room_for_an_answer() -> None:
    engine = Engine.load(tiny_chat_checkpoint(), context=8)
    with pytest.raises(PromptTooLongError, match="context of 8 tokens has no room for a prompt and an answer"):
        engine.encode_chat([{"role": "user", "content": "Hello"}])


def test_of_several_gpus_the_largest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    sizes = [8, 24, 24]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=sizes[index]))
    assert find_device("auto") == torch.device("cuda", 1)


@pytest.mark.gpu
@pytest.mark.parametrize("reference", [True, False])
def test_on_a_gpu(reference: bool) -> None:
    """Float32 there against the CPU: other random numbers, so the distribution's mode at a low temperature."""
    sampling = Sampling(seed=0, max_new_tokens=16, max_denoising_steps=4, reference=reference)
    engine = Engine.load(tiny_chat_checkpoint(), device="cuda")
    assert engine.info.precision == "bfloat16"
    done = list(engine.session().generate([5, 6, 7], sampling))[-1]
    assert isinstance(done, Done)
    assert done.stats.peak_memory_bytes >= engine.info.weight_bytes
    repeated = [answer_of(list(engine.session().generate([5, 6, 7], sampling))) for _ in range(2)]
    assert repeated[0] == repeated[1]
    assert torch.cuda.is_available()


@pytest.mark.skipif(not (built_in_path() / "config.json").is_file(), reason="the built-in model is not there")
def test_the_built_in_model_answers() -> None:
    engine = Engine.load("pocket", device="cpu")
    ids = engine.encode_chat([{"role": "user", "content": "Hello!"}])
    events = list(engine.session().generate(ids, Sampling(seed=0)))
    assert engine.decode(answer_of(events)).strip()
    assert isinstance(events[-1], Done)


def test_a_missing_built_in_model_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dgengine.engine.built_in_path", lambda: tmp_path)
    with pytest.raises(ModelNotFoundError, match="built-in model is missing"):
        Engine.load("pocket")
