"""A stand-in for mlx and mlx-vlm where they are not installed: their interface as the MLX back end meets it.

It has the names, arguments and results of mlx-vlm 0.7.10's `generate.diffusion.stream_diffusion_generate` and of its
model, and numpy for arrays. The network behind it is dgengine's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dgengine.checkpoint import load_model
from dgengine.engine import built_in_path


class FakeRandom:
    """MLX's random numbers: one key of two halves, which a seed sets and each draw moves on."""

    def __init__(self) -> None:
        self._key = 0

    @property
    def state(self) -> list[Any]:
        return [np.array([self._key >> 32, self._key & 0xFFFFFFFF], dtype=np.uint32)]

    def seed(self, seed: int) -> None:
        self._key = seed

    def draw(self) -> np.random.Generator:
        generator = np.random.default_rng(self._key)
        self._key = int(generator.integers(2**63))
        return generator


class FakeCore(ModuleType):
    """`mlx.core`: numpy under MLX's names."""

    def __init__(self) -> None:
        super().__init__("mlx.core")
        for name in "array max exp log sum argsort take_along_axis cumsum argmax argpartition float32".split():
            setattr(self, name, getattr(np, name))
        self.random = FakeRandom()
        self.cpu = "cpu"

    def default_device(self) -> str:
        return "Device(cpu, 0)"

    def set_default_device(self, device: Any) -> None:
        if device != "cpu":
            raise ValueError("[set_default_device] Cannot set gpu device without gpu backend.")

    @property
    def gpu(self) -> str:
        return "gpu"

    def eval(self, *_: Any) -> None: ...

    def reset_peak_memory(self) -> None: ...

    def get_peak_memory(self) -> int:
        return 12345


@dataclass
class FakeConfig:
    """`mlx_vlm.models.diffusion_gemma.ModelConfig`, the fields that matter."""

    text_config: Any
    canvas_length: int
    generation_config: dict[str, Any] = field(default_factory=dict)


class FakeLayerCache:
    """A layer's cache: here one for all layers."""

    def __init__(self, held: Any) -> None:
        self.held = held

    @property
    def offset(self) -> int:
        return int(self.held.length)


class FakeModel:
    """`mlx_vlm.models.diffusion_gemma.Model`, computed by dgengine's network."""

    def __init__(self, path: Path) -> None:
        self.network = load_model(path)
        config = self.network.config
        text = SimpleNamespace(vocab_size=config.vocab_size, max_position_embeddings=config.max_position_embeddings)
        self.config = FakeConfig(text, config.canvas_length)
        self.model = SimpleNamespace(decoder=SimpleNamespace(norm=SimpleNamespace(weight=np.zeros(1, np.float32))))

    def set_dtype(self, dtype: Any) -> None:
        assert dtype is np.float32

    def parameters(self) -> dict[str, Any]:
        return {"layers": [{"weight": np.zeros((3, 2), np.float32)}]}

    def modules(self) -> list[Any]:
        return [{"weight": np.zeros((3, 2), np.float32), "_scratch": np.zeros(9)}]

    def make_cache(self, max_size: int | None = None) -> list[FakeLayerCache]:
        return [FakeLayerCache(self.network.new_cache())]

    def diffusion_prepare_self_conditioning(self) -> None:
        return None

    def diffusion_self_conditioning(self, logits: Any, _: None) -> Any:
        return logits

    def diffusion_prefill_cache(self, ids: Any, *, cache: Any, **_: Any) -> Any:
        self.network.encode(torch.from_numpy(ids[0].astype(np.int64)), cache[0].held)
        return cache

    def diffusion_update_cache(self, ids: Any, *, cache: Any) -> Any:
        return self.diffusion_prefill_cache(ids, cache=cache)

    def diffusion_decoder_masks(self, canvas: Any, cache: Any, mask: Any) -> None:
        return None

    def diffusion_decoder_logits(
        self, canvas: Any, cache: Any = None, self_conditioning: Any = None, decoder_attention_mask: Any = None
    ) -> Any:
        before = None if self_conditioning is None else torch.from_numpy(self_conditioning[0])
        with torch.inference_mode():
            logits = self.network.decode(torch.from_numpy(canvas[0].astype(np.int64)), cache[0].held, before)
        return logits.numpy()[None]


@dataclass
class FakeResult:
    """`mlx_vlm.generate.common.GenerationResult`, the fields that matter."""

    token: int | None = None
    finish_reason: str | None = None
    is_draft: bool = False
    diffusion_step: int = 0
    diffusion_canvas_index: int = 0
    diffusion_block_complete: bool = False


def stream_diffusion_generate(
    model: Any,
    processor: Any,
    tokenizer: Any,
    input_ids: Any,
    pixel_values: Any,
    attention_mask: Any,
    *,
    max_tokens: int,
    skip_special_token_ids: Any,
    temperature: float,
    max_denoising_steps: int,
    diffusion_full_canvas: bool,
    diffusion_sampler: str,
    diffusion_show_unmasking: bool,
    prefill_step_size: int,
) -> Iterator[FakeResult]:
    """As mlx-vlm's: a draft 0 of each canvas, its steps, its tokens, its end; then the end of the answer."""
    assert (temperature, diffusion_sampler) == (1.0, "entropy-bound")
    assert diffusion_full_canvas and diffusion_show_unmasking
    settings, random = model.config.generation_config, sys.modules["mlx.core"].random
    length, words = model.config.canvas_length, model.config.text_config.vocab_size
    processor.detokenizer.reset()
    cache = model.make_cache()
    canvas, written, number, ended = None, 0, 0, False
    while written < max_tokens and not ended:
        number += 1
        if canvas is None:
            model.diffusion_prefill_cache(input_ids, cache=cache, prefill_step_size=prefill_step_size)
        else:
            model.diffusion_update_cache(canvas, cache=cache)
        canvas = random.draw().integers(words, size=(1, length))
        yield FakeResult(is_draft=True, diffusion_canvas_index=number)
        conditioning, history = None, None
        for remaining in range(max_denoising_steps, 0, -1):
            ramp = (settings["t_max"] - settings["t_min"]) * remaining / max_denoising_steps
            logits = model.diffusion_decoder_logits(canvas, cache=cache, self_conditioning=conditioning)
            logits = (logits / (settings["t_min"] + ramp)).astype(np.float32)
            chances = np.exp(logits - logits.max(-1, keepdims=True))
            chances /= chances.sum(-1, keepdims=True)
            entropy = -(chances * np.log(np.maximum(chances, 1e-30))).sum(-1)[0]
            order = np.argsort(entropy)
            sure = order[np.cumsum(entropy[order]) - entropy[order] <= settings["sampler_config"]["entropy_bound"]]
            draft = logits.argmax(-1)
            canvas = random.draw().integers(words, size=(1, length))
            canvas[0, sure] = draft[0, sure]
            conditioning = model.diffusion_self_conditioning(logits, None)
            step = max_denoising_steps - remaining + 1
            yield FakeResult(is_draft=True, diffusion_step=step, diffusion_canvas_index=number)
            still = history is not None and bool((history == draft).all())
            if still and float(entropy.mean()) < settings["confidence_threshold"]:
                break
            history = draft
        canvas = draft
        for token in canvas[0].tolist():
            written += 1
            ended = tokenizer.stopping_criteria(token)
            if ended:
                break
            processor.detokenizer.add_token(token, skip_special_token_ids=skip_special_token_ids)
            yield FakeResult(token, diffusion_canvas_index=number)
        yield FakeResult(diffusion_canvas_index=number, diffusion_block_complete=True)
    processor.detokenizer.finalize()
    yield FakeResult(finish_reason="stop" if ended else "length")


def _module(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    return module


def install(patch: pytest.MonkeyPatch, model: type[FakeModel] = FakeModel) -> list[Path]:
    """Puts the stand-in in the place of mlx and mlx-vlm; gives the folders that will be read."""
    read: list[Path] = []

    def read_model(path: Path) -> FakeModel:
        assert (path / "config.json").is_file()
        read.append(path)
        return model(built_in_path())

    core = FakeCore()
    diffusion = _module("mlx_vlm.generate.diffusion", stream_diffusion_generate=stream_diffusion_generate)
    for module in (
        _module("mlx", core=core),
        core,
        _module("mlx_vlm"),
        _module("mlx_vlm.utils", load_model=read_model),
        _module("mlx_vlm.generate", diffusion=diffusion),
        diffusion,
    ):
        module.__spec__ = ModuleSpec(module.__name__, None)
        patch.setitem(sys.modules, module.__name__, module)
    return read
