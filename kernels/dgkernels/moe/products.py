# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The two grouped products of a mixture of experts, and the sum over a token's experts.

Weights are the left operand, tokens the right one: an expert has few tokens, and a tensor core wants 64 rows on its
left but only 8 columns on its right. On Hopper the decoded weights stay in registers as well.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from dgkernels.gated import gelu_tanh
from dgkernels.launching import on_device_of_first
from dgkernels.moe.alignment import Alignment, align
from dgkernels.moe.decoding import UNIT, tile_halves
from dgkernels.moe.layout import Packed
from dgkernels.moe.numbers import nf4_table
from dgkernels.tiles import Launch, MoeTiles

_COMBINED = 512  # columns that a program sums


@on_device_of_first
def experts(
    x: Tensor, factors: Tensor, chosen: Tensor, gate_up_weights: Packed, down_weights: Packed, tiles: MoeTiles
) -> Tensor:
    """The weighted sum of each token's experts: bfloat16 [N, D] -> [N, D].

    Args:
        x: tokens.
        factors: float32 [N, K].
        chosen: experts of each token, int32 [N, K], all different.
        gate_up_weights: paired, [E, 2X, D].
        down_weights: [E, D, X].
        tiles: that both were packed for.
    """
    top_k = chosen.shape[1]
    aligned = align(chosen, down_weights.experts, tiles.block)
    inner = gate_up(x, gate_up_weights, aligned, top_k, tiles.gate_up_launch)
    return combine(down(inner, down_weights, aligned, factors, tiles.down_launch), top_k)


def gate_up(x: Tensor, weights: Packed, aligned: Alignment, top_k: int, launch: Launch) -> Tensor:
    """gelu_tanh(gate) * up of each row of work: bfloat16 [N, D] -> [N * K, X].

    Args:
        x: tokens.
        weights: paired, [E, 2X, D].
        aligned: of the experts chosen for them, K = `top_k` a token.
    """
    width, hidden = weights.shape[0] // 2, weights.shape[1]
    out = x.new_empty(x.shape[0] * top_k, width)
    grid = (width // (weights.tile.rows // 2), aligned.experts.shape[0])
    _gate_up[grid](
        x, weights.codes, weights.scales, weights.global_scales, _numbers(weights), aligned.rows, aligned.experts,
        aligned.used, out, out.shape[0],
        HIDDEN=hidden, WIDTH=width, TOP_K=top_k, ROWS=weights.tile.rows // 2, COLUMNS=weights.tile.columns,
        BLOCK=aligned.block, NF4=weights.form == "nf4", STAGES=launch.stages, num_warps=launch.warps,
    )  # fmt: skip
    return out


def down(inner: Tensor, weights: Packed, aligned: Alignment, factors: Tensor, launch: Launch) -> Tensor:
    """Each row's product with its expert's matrix, times its routing weight: bfloat16 [N * K, X] -> [N * K, D].

    Args:
        inner: what `gate_up` gave.
        weights: [E, D, X].
        factors: float32 [N, K].
    """
    hidden, width = weights.shape
    out = inner.new_empty(inner.shape[0], hidden)
    grid = (hidden // weights.tile.rows, aligned.experts.shape[0])
    _down[grid](
        inner, weights.codes, weights.scales, weights.global_scales, _numbers(weights), aligned.rows, aligned.experts,
        aligned.used, factors, out, out.shape[0],
        HIDDEN=hidden, WIDTH=width, ROWS=weights.tile.rows, COLUMNS=weights.tile.columns, BLOCK=aligned.block,
        NF4=weights.form == "nf4", STAGES=launch.stages, num_warps=launch.warps,
    )  # fmt: skip
    return out


def combine(rows: Tensor, top_k: int) -> Tensor:
    """The sum over each token's experts, in float32 and in their order: bfloat16 [N * K, D] -> [N, D]."""
    tokens, hidden = rows.shape[0] // top_k, rows.shape[1]
    out = rows.new_empty(tokens, hidden)
    _combine[(tokens, triton.cdiv(hidden, _COMBINED))](
        rows, out, hidden, TOP_K=top_k, COLUMNS=_COMBINED, num_warps=4
    )  # fmt: skip
    return out


def _numbers(weights: Packed) -> Tensor:
    """What the codes of NF4 stand for: float32 [16]; any tensor where the form needs none."""
    return nf4_table(weights.codes.device) if weights.form == "nf4" else weights.global_scales


@triton.jit
def _work(rows, experts, m, count, BLOCK: tl.constexpr):
    """The expert of block m, its rows of work int32 [BLOCK], and which of them there are."""
    row = tl.load(rows + m * BLOCK + tl.arange(0, BLOCK))
    return tl.load(experts + m).to(tl.int64), row, (row >= 0) & (row < count)


@triton.jit
def _gate_up(
    x, codes, scales, global_scales, numbers, rows, experts, used, out, count,
    HIDDEN: tl.constexpr, WIDTH: tl.constexpr, TOP_K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr, NF4: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Program (n, m): ROWS outputs from n * ROWS on, of the tokens of block m."""
    n = tl.program_id(0)
    m = tl.program_id(1)
    if m >= tl.load(used):
        return
    expert, row, present = _work(rows, experts, m, count, BLOCK)
    HALF: tl.constexpr = COLUMNS // 2
    STEPS: tl.constexpr = HIDDEN // COLUMNS
    GROUP: tl.constexpr = 64 if NF4 else 16
    CODES: tl.constexpr = ROWS * HALF  # of one matrix in a tile, in bytes
    SCALES: tl.constexpr = ROWS * (COLUMNS // GROUP)
    tiles = (expert * (WIDTH // ROWS) + n) * STEPS
    codes += tiles * (2 * CODES)
    scales += tiles * (2 * SCALES)
    x += (row // TOP_K).to(tl.int64)[None, :] * HIDDEN + tl.arange(0, HALF)[:, None]
    gate = tl.zeros((ROWS, BLOCK), tl.float32)
    up = tl.zeros((ROWS, BLOCK), tl.float32)
    for _ in tl.range(0, STEPS, num_stages=STAGES):
        first = tl.load(x, mask=present[None, :], other=0.0)
        second = tl.load(x + HALF, mask=present[None, :], other=0.0)
        left, right = tile_halves(codes, scales, numbers, ROWS, COLUMNS, NF4)
        gate = tl.dot(left, first, gate)
        gate = tl.dot(right, second, gate)
        left, right = tile_halves(codes + CODES, scales + SCALES, numbers, ROWS, COLUMNS, NF4)
        up = tl.dot(left, first, up)
        up = tl.dot(right, second, up)
        codes += 2 * CODES
        scales += 2 * SCALES
        x += COLUMNS
    if not NF4:
        gate *= tl.load(global_scales + 2 * expert) * UNIT
        up *= tl.load(global_scales + 2 * expert + 1) * UNIT
    inner = gelu_tanh(gate) * up
    out += row.to(tl.int64)[None, :] * WIDTH + (n * ROWS + tl.arange(0, ROWS))[:, None]
    tl.store(out, inner.to(tl.bfloat16), mask=present[None, :])


@triton.jit
def _down(
    inner, codes, scales, global_scales, numbers, rows, experts, used, factors, out, count,
    HIDDEN: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
    NF4: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Program (n, m), likewise."""
    n = tl.program_id(0)
    m = tl.program_id(1)
    if m >= tl.load(used):
        return
    expert, row, present = _work(rows, experts, m, count, BLOCK)
    HALF: tl.constexpr = COLUMNS // 2
    STEPS: tl.constexpr = WIDTH // COLUMNS
    GROUP: tl.constexpr = 64 if NF4 else 16
    CODES: tl.constexpr = ROWS * HALF
    SCALES: tl.constexpr = ROWS * (COLUMNS // GROUP)
    tiles = (expert * (HIDDEN // ROWS) + n) * STEPS
    codes += tiles * CODES
    scales += tiles * SCALES
    inner += row.to(tl.int64)[None, :] * WIDTH + tl.arange(0, HALF)[:, None]
    acc = tl.zeros((ROWS, BLOCK), tl.float32)
    for _ in tl.range(0, STEPS, num_stages=STAGES):
        first = tl.load(inner, mask=present[None, :], other=0.0)
        second = tl.load(inner + HALF, mask=present[None, :], other=0.0)
        left, right = tile_halves(codes, scales, numbers, ROWS, COLUMNS, NF4)
        acc = tl.dot(left, first, acc)
        acc = tl.dot(right, second, acc)
        codes += CODES
        scales += SCALES
        inner += COLUMNS
    if not NF4:
        acc *= tl.load(global_scales + expert) * UNIT
    acc *= tl.load(factors + row, mask=present, other=0.0)[None, :]
    out += row.to(tl.int64)[None, :] * HIDDEN + (n * ROWS + tl.arange(0, ROWS))[:, None]
    tl.store(out, acc.to(tl.bfloat16), mask=present[None, :])


@triton.jit
def _combine(rows, out, hidden, TOP_K: tl.constexpr, COLUMNS: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < hidden
    acc = tl.zeros((COLUMNS,), tl.float32)
    for k in tl.static_range(TOP_K):
        acc += tl.load(rows + (token * TOP_K + k) * hidden + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + token * hidden + column, acc.to(tl.bfloat16), mask=inside)
