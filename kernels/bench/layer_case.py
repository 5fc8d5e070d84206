"""What lies between a layer's products, and its attention, drawn at random: by kernels, by torch, and exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from dgengine.config import LayerConfig, ModelConfig
from dgengine.frame import Seen, attend_masked
from dgengine.norm import add_rms_norm, gated_gelu, rms_norm
from dgengine.rope import RotaryTable, rotate
from dgkernels import attention, gated, norms, reference, rotary

Tensors: TypeAlias = Tensor | Sequence[Tensor]

_BF16, _FLOAT32 = 2, 4  # bytes
_SCORES: Final = 2.0  # standard deviation
_UNUSED: Final = 256  # keys that there is room for, and which are not seen


@dataclass(frozen=True)
class Part:
    """A kernel on numbers of the model's size.

    Attributes:
        kernel: its name.
        call: the kernel.
        by_torch: the same as the engine has it by torch.
        exact: the same in float32.
        bytes: that have to be moved.
        flops: that have to be done.
    """

    kernel: str
    call: Callable[[], Tensors]
    by_torch: Callable[[], Tensors]
    exact: Callable[[], Tensors]
    bytes: float
    flops: float = 0.0


def joined(tensors: Tensors) -> Tensor:
    """All numbers of a result, float32 [n]."""
    parts = (tensors,) if isinstance(tensors, Tensor) else tensors
    return torch.cat([part.float().flatten() for part in parts])


def draw_parts(config: ModelConfig, count: int, context: int, generator: torch.Generator) -> Iterator[Part]:
    """Those of a layer of each kind, for `count` tokens after a context."""
    drawn = _Drawn(generator)
    yield from _norm_parts(config, count, drawn)
    yield _gate_part(config, count, drawn)
    for layer in dict.fromkeys(config.layers):
        yield _rotation_part(config, layer, count, drawn)
        yield _attention_part(config, layer, count, context, drawn)


class _Drawn:
    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        device = self._generator.device
        return torch.randn(shape, generator=self._generator, device=device).to(dtype)

    def ids(self, count: int, words: int) -> Tensor:
        return torch.randint(0, words, (count,), generator=self._generator, device=self._generator.device)

    def bound(self, place: int) -> Tensor:
        return torch.tensor([place], dtype=torch.int32, device=self._generator.device)


def _norm_parts(config: ModelConfig, count: int, drawn: _Drawn) -> Iterator[Part]:
    width, eps = config.hidden_size, config.rms_norm_eps
    row, table = _BF16 * count * width, min(config.vocab_size, 4096)  # rows that are looked up lie apart in any case
    residual, first, second = (drawn(count, width) for _ in range(3))
    w = [drawn(width) for _ in range(3)]
    wide = [drawn(width, dtype=torch.float32) for _ in range(2)]
    both, embedding, ids = drawn(2, 1, width), drawn(table, width), drawn.ids(count, table)

    def add_by_torch() -> list[Tensor]:
        total = add_rms_norm(residual, first, w[0], eps)
        normed = rms_norm(total, None, eps, torch.float32)
        return [total, *[(normed * weight).bfloat16() for weight in wide]]

    def join_by_torch() -> list[Tensor]:
        outputs = rms_norm(torch.stack((first, second)), both, eps, residual.dtype)
        total = add_rms_norm(residual, outputs[0].add_(outputs[1]), w[0], eps).mul_(0.5)
        return [total, rms_norm(total, w[1], eps)]

    yield Part(
        "norm",
        lambda: norms.rms_norm(first, w[0], eps, torch.bfloat16),
        lambda: rms_norm(first, w[0], eps),
        lambda: reference.rms_norm(first, w[0], eps),
        2 * row,
    )
    yield Part(
        "add_norm",
        lambda: norms.add_norm(residual, first, w[0], eps, (wide[0], wide[1]), torch.bfloat16),
        add_by_torch,
        lambda: reference.add_norm(residual, first, w[0], eps, (wide[0], wide[1])),
        5 * row,
    )
    yield Part(
        "join_branches",
        lambda: norms.join_branches(residual, (first, second), both, w[0], 0.5, eps, w[1], torch.bfloat16),
        join_by_torch,
        lambda: reference.join_branches(residual, (first, second), both[:, 0], w[0], 0.5, eps, w[1]),
        5 * row,
    )
    yield Part(
        "embed",
        lambda: norms.embed(ids, embedding, 53.0, first, eps, torch.bfloat16),
        lambda: rms_norm(embedding[ids] * 53.0 + first, None, eps),
        lambda: reference.embed(ids, embedding, 53.0, first, eps),
        3 * row,
    )


def _gate_part(config: ModelConfig, count: int, drawn: _Drawn) -> Part:
    product = drawn(count, 2 * config.intermediate_size)
    moved = _BF16 * count * 3 * config.intermediate_size
    return Part(
        "gate",
        lambda: gated.gelu_gate(product),
        lambda: gated_gelu(product),
        lambda: reference.gelu_gate(product),
        moved,
    )


def _rotation_part(config: ModelConfig, layer: LayerConfig, count: int, drawn: _Drawn) -> Part:
    heads, kv_heads, width, eps = config.num_attention_heads, layer.num_key_value_heads, layer.head_dim, 1e-6
    given = heads + (2 if layer.kind == "sliding" else 1) * kv_heads
    raw, weights = drawn(count, given * width), drawn(heads + kv_heads, width, dtype=torch.float32)
    factors = RotaryTable(config.rope(layer.kind), width, raw.device).range(100, count)
    keys, values = (raw.new_zeros(kv_heads, count, width) for _ in range(2))
    rows = torch.arange(count, device=raw.device)

    def by_kernel() -> list[Tensor]:
        return [rotary.rotate_into(raw, weights, *factors, eps, keys, values, rows), keys, values]

    def by_torch() -> list[Tensor]:
        normed = rms_norm(raw.float().view(count, -1, width), None, eps)
        turned = rotate(normed[:, : heads + kv_heads] * weights, *factors)
        for buffer, new in ((keys, turned[:, heads:]), (values, normed[:, -kv_heads:])):
            buffer.index_copy_(1, rows, new.transpose(0, 1).to(buffer.dtype))
        return [turned[:, :heads].transpose(0, 1).contiguous().to(raw.dtype), keys, values]

    moved = _BF16 * count * width * (given + heads + 2 * kv_heads) + 2 * _FLOAT32 * count * width
    exact = reference.rotate_into
    return Part(
        f"rotate, {layer.kind}", by_kernel, by_torch, lambda: exact(raw, weights, *factors, eps, kv_heads), moved
    )


def _attention_part(config: ModelConfig, layer: LayerConfig, count: int, context: int, drawn: _Drawn) -> Part:
    heads, kv_heads, width = config.num_attention_heads, layer.num_key_value_heads, layer.head_dim
    before = context if layer.kind == "full" else min(context, config.sliding_window - 1)
    start, end = 1, 1 + before + count
    queries = (drawn(heads, count, width, dtype=torch.float32) * _SCORES * width**-0.5).bfloat16()
    keys, values = (drawn(kv_heads, end + _UNUSED, width) for _ in range(2))
    bias = keys.new_full((1, 1, 1, keys.shape[1]), float("-inf"))
    bias[..., start:end] = 0.0
    seen = Seen(drawn.bound(start), drawn.bound(end), bias)
    moved = _BF16 * width * (2 * kv_heads * (end - start) + 2 * heads * count)
    return Part(
        f"attend, {layer.kind}",
        lambda: attention.attend_canvas(queries, keys, values, seen.first, seen.end),
        lambda: attend_masked(queries, keys, values, seen),
        lambda: reference.attend_canvas(queries, keys, values, start, end),
        moved,
        4 * heads * count * (end - start) * width,
    )
