# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The experts on tensor cores that multiply NVFP4 by NVFP4: 10.0 and 12.0 have them, Triton from 3.9 on reaches them.

Nothing is decoded: weights are read as a checkpoint has them. The price is that activations are rounded to four bits as
well, sixteen to a scale, before either product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from dgkernels.gated import gelu_tanh
from dgkernels.launching import on_device_of_first
from dgkernels.moe.alignment import Alignment, align
from dgkernels.moe.products import _work, combine
from dgkernels.tiles import MoeTiles

_BLOCK: Final = 16  # numbers that share a scale
_HIGHEST: Final = 6.0 * 448.0  # of a code times a scale
_LEAST: Final = 1e-30
_ELEMENTS: Final = 4096  # that a program quantises at least


@dataclass(frozen=True, slots=True, eq=False)
class FourBits:
    """Rows [N, D] in NVFP4: e2m1(code) * e4m3(scale) * factor.

    Attributes:
        codes: uint8 [N, D / 2], the first of two numbers in the low four bits.
        scales: E4M3 bytes, float8_e4m3fn [N, D / 16].
        factors: float32 [N].
    """

    codes: Tensor
    scales: Tensor
    factors: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The matrices [O, I] of E experts in NVFP4, as checkpoints have them.

    Attributes:
        codes: uint8 [E, O, I / 2].
        scales: float8_e4m3fn [E, O, I / 16].
        global_scales: float32 [E, P]: of P matrices that were joined by rows, equally many of each.
    """

    codes: Tensor
    scales: Tensor
    global_scales: Tensor


@on_device_of_first
def experts(
    x: Tensor, factors: Tensor, chosen: Tensor, gate_up_weights: Stack, down_weights: Stack, tiles: MoeTiles
) -> Tensor:
    """As `dgkernels.moe.products.experts`, with both operands of both products in NVFP4: bfloat16 [N, D] -> [N, D].

    Args:
        x: tokens.
        factors: float32 [N, K].
        chosen: experts of each token, int32 [N, K], all different.
        gate_up_weights: [E, 2X, D], P = 2.
        down_weights: [E, D, X], P = 1.
        tiles: of `dgkernels.tiles.native_tiles`.
    """
    top_k = chosen.shape[1]
    aligned = align(chosen, down_weights.codes.shape[0], tiles.block)
    inner = gate_up(quantise_blocks(x), gate_up_weights, aligned, top_k, tiles)
    return combine(down(quantise_blocks(inner), down_weights, aligned, factors, tiles), top_k)


@on_device_of_first
def quantise_blocks(x: Tensor) -> FourBits:
    """Rows to NVFP4: bfloat16 or float32 [N, D], D a multiple of 16. Each row's largest number can just be said."""
    count, width = x.shape
    x, codes = x.contiguous(), x.new_empty(count, width // 2, dtype=torch.uint8)
    scales = x.new_empty(count, width // _BLOCK, dtype=torch.float8_e4m3fn)
    factors = x.new_empty(count, dtype=torch.float32)
    padded = triton.next_power_of_2(width)
    rows = max(1, _ELEMENTS // padded)
    _quantise_blocks[(triton.cdiv(count, rows),)](
        x, codes, scales, factors, count, WIDTH=width, PADDED=padded, ROWS=rows, HIGHEST=_HIGHEST, LEAST=_LEAST,
        num_warps=min(max(rows * padded // 512, 1), 16),
    )  # fmt: skip
    return FourBits(codes, scales, factors)


def gate_up(x: FourBits, weights: Stack, aligned: Alignment, top_k: int, tiles: MoeTiles) -> Tensor:
    """As `dgkernels.moe.products.gate_up`: [N, D] -> bfloat16 [N * K, X]."""
    width, hidden = weights.codes.shape[1] // 2, 2 * weights.codes.shape[2]
    out = x.factors.new_empty(x.codes.shape[0] * top_k, width, dtype=torch.bfloat16)
    (rows, columns), launch = tiles.gate_up, tiles.gate_up_launch
    _gate_up[(width // rows, aligned.experts.shape[0])](
        x.codes, x.scales, x.factors, weights.codes, weights.scales, weights.global_scales, aligned.rows,
        aligned.experts, aligned.used, out, out.shape[0],
        HIDDEN=hidden, WIDTH=width, TOP_K=top_k, ROWS=rows, COLUMNS=columns, BLOCK=aligned.block,
        STAGES=launch.stages, num_warps=launch.warps,
    )  # fmt: skip
    return out


def down(inner: FourBits, weights: Stack, aligned: Alignment, factors: Tensor, tiles: MoeTiles) -> Tensor:
    """As `dgkernels.moe.products.down`: [N * K, X] -> bfloat16 [N * K, D]."""
    hidden, width = weights.codes.shape[1], 2 * weights.codes.shape[2]
    out = inner.factors.new_empty(inner.codes.shape[0], hidden, dtype=torch.bfloat16)
    (rows, columns), launch = tiles.down, tiles.down_launch
    _down[(hidden // rows, aligned.experts.shape[0])](
        inner.codes, inner.scales, inner.factors, weights.codes, weights.scales, weights.global_scales, aligned.rows,
        aligned.experts, aligned.used, factors, out, out.shape[0],
        HIDDEN=hidden, WIDTH=width, ROWS=rows, COLUMNS=columns, BLOCK=aligned.block,
        STAGES=launch.stages, num_warps=launch.warps,
    )  # fmt: skip
    return out


@triton.jit
def _nearest(value):
    """The code 0 to 7 of a magnitude: 0, 0.5, 1, 1.5, 2, 3, 4 or 6; of two that are as near, the even code."""
    code = (value > 0.25).to(tl.uint8) + (value >= 0.75).to(tl.uint8) + (value > 1.25).to(tl.uint8)
    code += (value >= 1.75).to(tl.uint8) + (value > 2.5).to(tl.uint8) + (value >= 3.5).to(tl.uint8)
    return code + (value > 5.0).to(tl.uint8)


@triton.jit
def _quantise_blocks(
    x, codes, scales, factors, count,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, HIGHEST: tl.constexpr, LEAST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, PADDED)
    there = row < count
    present = there[:, None] & (column < WIDTH)[None, :]
    far = row.to(tl.int64)[:, None]
    value = tl.load(x + far * WIDTH + column[None, :], mask=present, other=0.0).to(tl.float32)
    factor = tl.maximum(tl.max(tl.abs(value), 1), LEAST) / HIGHEST
    blocks = tl.reshape(value / factor[:, None], (ROWS, PADDED // 16, 16))
    scale = (tl.max(tl.abs(blocks), 2) / 6.0).to(tl.float8e4nv)
    exact = scale.to(tl.float32)
    quotient = blocks / tl.where(exact > 0, exact, 1.0)[:, :, None]
    code = _nearest(tl.abs(quotient)) | ((quotient < 0).to(tl.uint8) << 3)
    low, high = tl.split(tl.reshape(code, (ROWS, PADDED // 2, 2)))
    half = tl.arange(0, PADDED // 2)
    block = tl.arange(0, PADDED // 16)
    kept = there[:, None] & (half < WIDTH // 2)[None, :]
    tl.store(codes + far * (WIDTH // 2) + half[None, :], low | (high << 4), mask=kept)
    kept = there[:, None] & (block < WIDTH // 16)[None, :]
    tl.store(scales + far * (WIDTH // 16) + block[None, :], scale, mask=kept)
    known = value == value
    # a code cannot say NaN, a factor can
    whole = tl.min(known.to(tl.int32), 1) > 0
    tl.store(factors + row, tl.where(whole, factor, float("nan")), mask=there)


@triton.jit
def _product(
    codes, scales, row, other_codes, other_scales, other,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Rows int64 [ROWS] of one NVFP4 matrix of WIDTH numbers a row times rows int64 [BLOCK] of another: [ROWS, BLOCK].

    A last piece of the rows that is not whole is filled with zeros.
    """
    half = tl.arange(0, COLUMNS // 2)
    group = tl.arange(0, COLUMNS // 16)
    left = codes + row[:, None] * (WIDTH // 2) + half[None, :]
    left_scales = scales + row[:, None] * (WIDTH // 16) + group[None, :]
    right = other_codes + other[None, :] * (WIDTH // 2) + half[:, None]
    right_scales = other_scales + other[:, None] * (WIDTH // 16) + group[None, :]
    acc = tl.zeros((ROWS, BLOCK), tl.float32)
    for begin in tl.range(0, WIDTH, COLUMNS, num_stages=STAGES):
        if WIDTH % COLUMNS == 0:
            a, a_scale, b, b_scale = tl.load(left), tl.load(left_scales), tl.load(right), tl.load(right_scales)
        else:
            inside = half < (WIDTH - begin) // 2
            some = group < (WIDTH - begin) // 16
            a = tl.load(left, mask=inside[None, :], other=0)
            a_scale = tl.load(left_scales, mask=some[None, :], other=0.0)
            b = tl.load(right, mask=inside[:, None], other=0)
            b_scale = tl.load(right_scales, mask=some[None, :], other=0.0)
        acc = tl.dot_scaled(a, a_scale, "e2m1", b, b_scale, "e2m1", acc)
        left += COLUMNS // 2
        right += COLUMNS // 2
        left_scales += COLUMNS // 16
        right_scales += COLUMNS // 16
    return acc


@triton.jit
def _gate_up(
    x, x_scales, x_factors, codes, scales, global_scales, rows, experts, used, out, count,
    HIDDEN: tl.constexpr, WIDTH: tl.constexpr, TOP_K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Program (n, m): ROWS outputs from n * ROWS on, of the tokens of block m."""
    n = tl.program_id(0)
    m = tl.program_id(1)
    if m >= tl.load(used):
        return
    expert, row, present = _work(rows, experts, m, count, BLOCK)
    token = tl.where(present, row // TOP_K, 0)
    output = n * ROWS + tl.arange(0, ROWS)
    # rows of gate, then as many of up, are one operand: a tensor core of 10.0 takes 128 or none
    place = tl.arange(0, 2 * ROWS)
    matrix = expert * (2 * WIDTH) + n * ROWS + place % ROWS + (place // ROWS) * WIDTH
    both = _product(codes, scales, matrix, x, x_scales, token.to(tl.int64), HIDDEN, 2 * ROWS, COLUMNS, BLOCK, STAGES)
    gate, up = tl.split(tl.permute(tl.reshape(both, (2, ROWS, BLOCK)), (1, 2, 0)))
    factor = tl.load(x_factors + token)[None, :]
    gate *= factor * tl.load(global_scales + 2 * expert)
    up *= factor * tl.load(global_scales + 2 * expert + 1)
    out += row.to(tl.int64)[None, :] * WIDTH + output[:, None]
    tl.store(out, (gelu_tanh(gate) * up).to(tl.bfloat16), mask=present[None, :])


@triton.jit
def _down(
    inner, inner_scales, inner_factors, codes, scales, global_scales, rows, experts, used, factors, out, count,
    HIDDEN: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Program (n, m), likewise."""
    n = tl.program_id(0)
    m = tl.program_id(1)
    if m >= tl.load(used):
        return
    expert, row, present = _work(rows, experts, m, count, BLOCK)
    there = tl.where(present, row, 0)
    output = n * ROWS + tl.arange(0, ROWS)
    matrix = expert * HIDDEN + output
    acc = _product(codes, scales, matrix, inner, inner_scales, there.to(tl.int64), WIDTH, ROWS, COLUMNS, BLOCK, STAGES)
    acc *= (tl.load(inner_factors + there) * tl.load(factors + there))[None, :] * tl.load(global_scales + expert)
    out += row.to(tl.int64)[None, :] * HIDDEN + output[:, None]
    tl.store(out, acc.to(tl.bfloat16), mask=present[None, :])
