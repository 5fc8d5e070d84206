# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Root-mean-square norms with what stands before and behind them: each a single launch, read once and written once.

A row is normed as x / sqrt(mean(x**2) + eps), times a weight, in float32, and rounded once. Weights are in bfloat16 or
float32. Where a residual is written and normed, the norm is that of what was written.
"""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from dgkernels.launching import on_device_of_first

_ELEMENTS: Final = 4096  # that a program takes at least: narrow rows go several at a time


@on_device_of_first
def rms_norm(x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype, factor: float = 1.0) -> Tensor:
    """The norm of `factor` * x: [N, D] -> [N, D] in `dtype`.

    Args:
        x: bfloat16 or float32.
        weight: [D]; None for none.
        eps: added to the mean square.
        dtype: of the result.
        factor: that x is multiplied by first.
    """
    count, width = x.shape
    x, out = x.contiguous(), x.new_empty(count, width, dtype=dtype)
    rows, padded = _cut(width)
    _norm[(triton.cdiv(count, rows),)](
        x, _or(weight, x), out, count, factor, eps,
        WIDTH=width, PADDED=padded, ROWS=rows, WEIGHTED=weight is not None, num_warps=_warps(rows * padded),
    )  # fmt: skip
    return out


@on_device_of_first
def embed(
    ids: Tensor, embedding: Tensor, scale: float, signal: Tensor | None, eps: float, dtype: torch.dtype
) -> Tensor:
    """The norm without weight of embedding[ids] * scale + signal -> [N, D] in `dtype`.

    Args:
        ids: int64 [N], within the vocabulary.
        embedding: [V, D].
        scale: of the embeddings.
        signal: [N, D]; None for none.
        eps: of the norm.
        dtype: of the result.
    """
    count, width = ids.shape[0], embedding.shape[1]
    out = embedding.new_empty(count, width, dtype=dtype)
    rows, padded = _cut(width)
    _embed[(triton.cdiv(count, rows),)](
        ids, embedding, _or(signal, out), out, count, scale, eps,
        WIDTH=width, PADDED=padded, ROWS=rows, WITH_SIGNAL=signal is not None, num_warps=_warps(rows * padded),
    )  # fmt: skip
    return out


@on_device_of_first
def add_norm(
    residual: Tensor,
    x: Tensor,
    weight: Tensor,
    eps: float,
    then: tuple[Tensor | None, Tensor | None],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """residual + norm(x) * weight, and two norms of that: all [N, D].

    Args:
        residual: bfloat16 or float32; the first result is a new tensor of its dtype.
        x: bfloat16 or float32.
        weight: [D].
        eps: of all norms.
        then: the weights [D] of the two; None for none. Where they are one and the same, so are the results.
        dtype: of the two.
    """
    count, width = residual.shape
    residual, x = residual.contiguous(), x.contiguous()
    total = torch.empty_like(residual)
    first = residual.new_empty(count, width, dtype=dtype)
    second = first if then[0] is then[1] else torch.empty_like(first)
    rows, padded = _cut(width)
    _add_norm[(triton.cdiv(count, rows),)](
        residual, x, weight, _or(then[0], x), _or(then[1], x), total, first, second, count, eps,
        WIDTH=width, PADDED=padded, ROWS=rows, FIRST=then[0] is not None, SECOND=then[1] is not None,
        TWO=second is not first, num_warps=_warps(rows * padded),
    )  # fmt: skip
    return total, first, second


@on_device_of_first
def join_branches(
    residual: Tensor,
    branches: tuple[Tensor, Tensor],
    branch_weights: Tensor,
    weight: Tensor,
    scalar: float,
    eps: float,
    then: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """(residual + norm(sum of the branches' norms)) * scalar, and the norm of that: both [N, D].

    Args:
        residual: bfloat16 or float32; the first result is a new tensor of its dtype.
        branches: two of [N, D], bfloat16 or float32.
        branch_weights: [2, D], of their norms.
        weight: [D], of the norm of their sum.
        scalar: the layer's.
        eps: of all norms.
        then: the weight [D] of the last norm; None for none.
        dtype: of the second result.
    """
    count, width = residual.shape
    residual, first, second = residual.contiguous(), branches[0].contiguous(), branches[1].contiguous()
    total, normed = torch.empty_like(residual), residual.new_empty(count, width, dtype=dtype)
    rows, padded = _cut(width)
    _join_branches[(triton.cdiv(count, rows),)](
        residual, first, second, branch_weights, weight, _or(then, residual), total, normed, count, scalar, eps,
        WIDTH=width, PADDED=padded, ROWS=rows, WEIGHTED=then is not None, num_warps=_warps(rows * padded),
    )  # fmt: skip
    return total, normed


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """A kernel's argument has to be some tensor, even where it is not read."""
    return other if tensor is None else tensor


def _cut(width: int) -> tuple[int, int]:
    """Rows of a program, and the power of two that holds one."""
    padded = triton.next_power_of_2(width)
    return max(1, _ELEMENTS // padded), padded


def _warps(elements: int) -> int:
    """16 elements a thread, so that three rows and their weights stay in registers."""
    return min(max(elements // 512, 1), 16)


@triton.jit
def _rows(ROWS: tl.constexpr):
    return tl.program_id(0) * ROWS + tl.arange(0, ROWS)


@triton.jit
def _cells(count, WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr):
    """Where this program's numbers are, and which of these there are; the same of their columns."""
    row = _rows(ROWS)
    column = tl.arange(0, PADDED)
    inside = column < WIDTH
    places = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    return places, (row < count)[:, None] & inside[None, :], column, inside


@triton.jit
def _read(x, places, present):
    return tl.load(x + places, mask=present, other=0.0).to(tl.float32)


@triton.jit
def _write(out, places, value, present):
    tl.store(out + places, value.to(out.dtype.element_ty), mask=present)


@triton.jit
def _weight(weight, column, inside):
    return tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _normed(x, eps, WIDTH: tl.constexpr):
    return x * tl.rsqrt(tl.sum(x * x, 1) / WIDTH + eps)[:, None]


@triton.jit
def _norm(
    x, weight, out, count, factor, eps,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    places, present, column, inside = _cells(count, WIDTH, PADDED, ROWS)
    value = _normed(_read(x, places, present) * factor, eps, WIDTH)
    if WEIGHTED:
        value *= _weight(weight, column, inside)
    _write(out, places, value, present)


@triton.jit
def _embed(
    ids, embedding, signal, out, count, scale, eps,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, WITH_SIGNAL: tl.constexpr,
):  # fmt: skip
    places, present, column, _ = _cells(count, WIDTH, PADDED, ROWS)
    row = _rows(ROWS)
    word = tl.load(ids + row, mask=row < count, other=0)
    value = _read(embedding, word[:, None] * WIDTH + column[None, :], present) * scale
    if WITH_SIGNAL:
        value += _read(signal, places, present)
    _write(out, places, _normed(value, eps, WIDTH), present)


@triton.jit
def _add_norm(
    residual, x, weight, first_weight, second_weight, total, first, second, count, eps,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
    TWO: tl.constexpr,
):  # fmt: skip
    places, present, column, inside = _cells(count, WIDTH, PADDED, ROWS)
    value = _normed(_read(x, places, present), eps, WIDTH) * _weight(weight, column, inside)
    value = (_read(residual, places, present) + value).to(total.dtype.element_ty)
    _write(total, places, value, present)
    normed = _normed(value.to(tl.float32), eps, WIDTH)
    one = normed
    if FIRST:
        one *= _weight(first_weight, column, inside)
    _write(first, places, one, present)
    if TWO:
        other = normed
        if SECOND:
            other *= _weight(second_weight, column, inside)
        _write(second, places, other, present)


@triton.jit
def _join_branches(
    residual, first, second, branch_weights, weight, then, total, normed, count, scalar, eps,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    places, present, column, inside = _cells(count, WIDTH, PADDED, ROWS)
    value = _normed(_read(first, places, present), eps, WIDTH) * _weight(branch_weights, column, inside)
    other = _normed(_read(second, places, present), eps, WIDTH)
    value += other * _weight(branch_weights + WIDTH, column, inside)
    value = _normed(value, eps, WIDTH) * _weight(weight, column, inside)
    value = ((_read(residual, places, present) + value) * scalar).to(total.dtype.element_ty)
    _write(total, places, value, present)
    result = _normed(value.to(tl.float32), eps, WIDTH)
    if WEIGHTED:
        result *= _weight(then, column, inside)
    _write(normed, places, result, present)
