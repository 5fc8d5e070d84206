"""The MLX back end: on a stand-in everywhere, and on mlx-vlm itself where that is installed."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dgbackends import mlx as back_end
from dgbackends.mlx import loading
from dgbackends.mlx.backend import MlxBackend
from dgbackends.protocol import Backend
from dgengine.control import Control
from dgengine.engine import Engine
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
from tests.backends import fake_mlx
from tests.backends.conformance import Conformance, answer_of, question

INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("mlx", "mlx_vlm"))
needs_mlx = pytest.mark.skipif(not INSTALLED, reason="mlx-vlm is not installed")


@pytest.fixture(scope="class")
def standing_in() -> Iterator[MlxBackend]:
    """The built-in model behind the stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        fake_mlx.install(patch)
        yield back_end.load("pocket")


@functools.cache
def real() -> MlxBackend:
    return back_end.load("pocket")


class TestOnTheStandIn(Conformance):
    @pytest.fixture(scope="class")
    def backend(self, standing_in: MlxBackend) -> Backend:
        return standing_in

    def test_what_it_is(self, backend: Backend) -> None:
        info = backend.info
        assert (info.device, info.precision, info.parameters, info.weight_bytes) == ("mlx:cpu", "float32", 6, 24)

    def test_steps_are_what_the_logits_say(self, backend: Backend, canvas: int) -> None:
        ids = backend.encode_chat(question())
        events = list(backend.session().generate(ids, Sampling(seed=5, trace_top_k=3)))
        steps = [event for event in events if isinstance(event, Step)]
        last = steps[-1]
        assert last.accepted.all() and last.entropy.mean() < 0.005
        assert steps[0].entropy.mean() > 0.1 and not steps[0].accepted.all()
        assert last.top_ids is not None and last.top_probs is not None
        assert last.top_ids.shape == last.top_probs.shape == (canvas, 3)
        assert last.top_ids[:, 0].tolist() == last.draft.tolist()
        assert (np.diff(last.top_probs, axis=1) <= 0).all()
        own = Sampling().resolve(backend.generation_config)
        falls = (own.t_max - own.t_min) / own.max_denoising_steps
        assert [step.temperature for step in steps[:2]] == pytest.approx([own.t_max, own.t_max - falls])
        assert all(event.converged for event in events if isinstance(event, Block))
        done = events[-1]
        assert isinstance(done, Done) and done.stats.peak_memory_bytes == 12345

    def test_a_second_turn_goes_on_from_the_kept_cache(self, backend: Backend) -> None:
        assert_turns_go_on(backend, 3)

    def test_settings_reach_it(self, backend: Backend, canvas: int) -> None:
        sampling = Sampling(seed=1, max_new_tokens=canvas + 1, max_denoising_steps=3, t_min=0.1, t_max=0.7)
        events = list(backend.session().generate(backend.encode_chat(question()), sampling))
        steps = [event for event in events if isinstance(event, Step)]
        assert steps[0].temperature == pytest.approx(0.7) and max(step.step for step in steps) == 3
        assert len([event for event in events if isinstance(event, Block)]) == 2
        assert not next(event for event in events if isinstance(event, Block)).converged

    def test_answers_may_be_interleaved(self, backend: Backend) -> None:
        assert_interleaved(backend)

    def test_asking_at_the_limit_is_refused(self, backend: Backend) -> None:
        with pytest.raises(SamplingError, match="decides by itself"):
            backend.session().generate([1, 2], Sampling(on_limit="ask"), Control())


def assert_turns_go_on(backend: Backend, count: int) -> None:
    """A kept cache gives the answers that a new one gives."""
    session, turns, reused = backend.session(), question(), []
    for number in range(count):
        ids = backend.encode_chat(turns)
        events = list(session.generate(ids, Sampling(seed=number)))
        assert answer_of(events) == answer_of(list(backend.session().generate(ids, Sampling(seed=number))))
        reused.append(next(event.reused for event in events if isinstance(event, Prefill)))
        turns += [{"role": "assistant", "ids": answer_of(events)}, *question(f"What is {number} plus 5?")]
    assert reused[0] == 0 and all(reused[1:])


def assert_interleaved(backend: Backend) -> None:
    """Two answers at once are those of their seeds."""
    ids = backend.encode_chat(question("What is 7 plus 5?"))
    alone = answer_of(list(backend.session().generate(ids, Sampling(seed=2**62 + 1))))
    events: tuple[list[Event], list[Event]] = ([], [])
    for pair in zip(*(backend.session().generate(ids, Sampling(seed=2**62 + 1)) for _ in events), strict=True):
        for found, event in zip(events, pair, strict=True):
            found.append(event)
    assert answer_of(events[0]) == answer_of(events[1]) == alone


# ---- what goes wrong, on the stand-in


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    return fake_mlx.install(monkeypatch)


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r'^The MLX engine needs mlx-vlm.*: pip install "dgchat\[mlx\]"\.$'):
        back_end.load("pocket")


def test_an_mlx_vlm_without_the_model(stand_in: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["mlx_vlm.generate.diffusion"], "stream_diffusion_generate")
    with pytest.raises(DeviceError, match=r'pip install -U "dgchat\[mlx\]"'):
        back_end.load("pocket")
    assert stand_in == []


def test_names_devices_and_precisions(stand_in: list[Path]) -> None:
    with pytest.raises(ModelNotFoundError):
        back_end.load("there-is-no-such-model")
    with pytest.raises(DeviceError, match="give one of auto, cpu, gpu"):
        back_end.load("pocket", device="cuda")
    with pytest.raises(DeviceError, match="This MLX has no GPU"):
        back_end.load("pocket", device="gpu")
    with pytest.raises(DeviceError, match="converted to it"):
        back_end.load("pocket", precision="nf4")
    with pytest.raises(DeviceError, match="float32 only"):
        back_end.load("pocket", precision="bfloat16")
    with pytest.raises(ValueError, match="holds nothing"):
        back_end.load("pocket", context=0)
    assert back_end.load("pocket", device="cpu", context=512).info.context_length == 512


def test_another_model_is_refused(stand_in: list[Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="no DiffusionGemma"):
        back_end.load(tmp_path)


def test_the_configuration_is_translated() -> None:
    text = {
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "head_dim": 64,
        "per_layer_config": {number: {"head_dim": 128, "num_key_value_heads": 1} for number in ("1", "2")},
    }
    assert loading.translated(text) == {
        "layer_types": text["layer_types"], "head_dim": 64, "global_head_dim": 128, "num_global_key_value_heads": 1
    }  # fmt: skip
    with pytest.raises(CheckpointError, match="differ in more"):
        loading.translated({**text, "per_layer_config": {"0": {"head_dim": 128}}})
    with pytest.raises(CheckpointError, match="differ in more"):
        loading.translated({**text, "per_layer_config": {"1": {"sliding_window": 4}, "2": {"sliding_window": 4}}})


def test_a_plain_configuration_is_read_where_it_lies(stand_in: list[Path], tmp_path: Path) -> None:
    from dgengine.engine import built_in_path

    back_end.load("pocket")
    assert stand_in[0] != built_in_path(), "its configuration needs rewriting"
    (tmp_path / "config.json").write_text('{"model_type": "diffusion_gemma", "text_config": {}}')
    back_end.load(tmp_path)
    assert stand_in[1] == tmp_path


def test_a_model_that_does_not_fit(stand_in: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: Path) -> Any:
        raise RuntimeError("[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum")

    monkeypatch.setattr(sys.modules["mlx_vlm.utils"], "load_model", exhausted)
    with pytest.raises(InsufficientMemoryError, match="fewer bits"):
        back_end.load("pocket")


def test_memory_that_runs_out_and_nan_are_told(stand_in: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    backend = back_end.load("pocket")
    session, ids = backend.session(), backend.encode_chat(question("What is 7 plus 5?"))

    def exhausted(*_: Any, **__: Any) -> Any:
        raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

    def poisoned(*_: Any, **__: Any) -> Any:
        return np.full((1, backend.info.canvas_length, backend.info.vocab_size), np.nan, np.float32)

    for broken, error in ((exhausted, InsufficientMemoryError), (poisoned, NumericsError)):
        with monkeypatch.context() as patch:
            patch.setattr(backend.model, "diffusion_decoder_logits", broken)
            with pytest.raises(error):
                list(session.generate(ids))
        assert session.held == ()
    assert isinstance(list(session.generate(ids))[-1], Done)


# ---- mlx-vlm itself


@needs_mlx
class TestOnMlx(Conformance):
    @pytest.fixture(scope="class")
    def backend(self) -> Backend:
        return real()


@needs_mlx
def test_mlx_a_second_turn_goes_on_from_the_kept_cache() -> None:
    """Longer than the sliding window, so that the layers' caches have moved on."""
    assert_turns_go_on(real(), 4)


@needs_mlx
def test_mlx_answers_may_be_interleaved() -> None:
    assert_interleaved(real())


@needs_mlx
def test_mlx_the_network_is_ours() -> None:
    """Logits of a first step, and of one with self-conditioning, are those of our network."""
    import torch

    mx, model = loading.core(), real().model
    network = Engine.load("pocket", device="cpu").model
    ids = list(real().encode_chat(question("Tell me a long story about a baker and a whale. " * 12)))
    assert len(ids) > 128
    canvas = torch.randint(3, real().info.vocab_size, (real().info.canvas_length,), generator=torch.Generator())
    theirs, ours = model.make_cache(), network.new_cache()
    theirs = model.diffusion_prefill_cache(
        mx.array([ids]), attention_mask=None, cache=theirs, prefill_step_size=None, chunk_prefill=False
    )
    network.encode(torch.tensor(ids), ours)
    shown = mx.array([canvas.tolist()])
    masks = model.diffusion_decoder_masks(shown, theirs, None)
    weights = model.diffusion_prepare_self_conditioning()
    before, seen = None, None
    for _ in range(2):
        logits = model.diffusion_decoder_logits(
            shown, cache=theirs, self_conditioning=before, decoder_attention_mask=masks
        )
        with torch.inference_mode():
            expected = network.decode(canvas, ours, seen)
        assert np.abs(np.array(logits)[0] - expected.numpy()).max() < 2e-3
        before, seen = model.diffusion_self_conditioning(logits / 0.8, weights), expected / 0.8
