# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The router in two launches: norm and projection, then softmax, choice and scale."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from dgkernels.launching import on_device_of_first

_TOKENS = 16  # that a program of the projection takes
_COLUMNS = 64  # inputs at a time
_SPLITS = 4  # programs that share the inputs: few tokens alone would leave most of a GPU idle


@on_device_of_first
def route(
    residual: Tensor, scale: Tensor, projection: Tensor, per_expert_scale: Tensor, top_k: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Chooses K of E experts for each of N tokens by rms_norm(residual) * scale @ projection.

    Args:
        residual: bfloat16 [N, D].
        scale: float32 [D].
        projection: bfloat16 [D, E].
        per_expert_scale: float32 [E].
        top_k: K.
        eps: of the norm.

    Returns:
        Weights float32 [N, K], the softmax over the chosen scores times the experts' scales, the largest first; and the
        experts int32 [N, K]. Of equal scores the first expert is chosen.
    """
    tokens, hidden = residual.shape
    experts = projection.shape[1]
    padded = max(triton.next_power_of_2(experts), 16)
    parts = torch.empty(_SPLITS, tokens, padded, dtype=torch.float32, device=residual.device)
    squares = torch.empty(_SPLITS, tokens, dtype=torch.float32, device=residual.device)
    steps = triton.cdiv(triton.cdiv(hidden, _COLUMNS), _SPLITS)
    _project[(triton.cdiv(tokens, _TOKENS), _SPLITS)](
        residual, scale, projection, parts, squares, tokens, projection.stride(0), projection.stride(1),
        HIDDEN=hidden, EXPERTS=experts, PADDED=padded, TOKENS=_TOKENS, COLUMNS=_COLUMNS, STEPS=steps,
        WHOLE=steps * _COLUMNS * _SPLITS == hidden and padded == experts, num_warps=4,
    )  # fmt: skip
    weights = torch.empty(tokens, top_k, dtype=torch.float32, device=residual.device)
    chosen = torch.empty(tokens, top_k, dtype=torch.int32, device=residual.device)
    _choose[(tokens,)](
        parts, squares, per_expert_scale, weights, chosen, tokens, eps,
        HIDDEN=hidden, EXPERTS=experts, PADDED=padded, TOP_K=top_k, K_PADDED=triton.next_power_of_2(top_k),
        SPLITS=_SPLITS, num_warps=1,
    )  # fmt: skip
    return weights, chosen


@triton.jit
def _project(
    residual, scale, projection, parts, squares, count, input_stride, expert_stride,
    HIDDEN: tl.constexpr, EXPERTS: tl.constexpr, PADDED: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
    STEPS: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Program (t, s): scores of TOKENS tokens over a share of the inputs, without the norm, and the sum of squares."""
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    split = tl.program_id(1)
    present = token < count
    expert = tl.arange(0, PADDED)
    scores = tl.zeros((TOKENS, PADDED), tl.float32)
    square = tl.zeros((TOKENS,), tl.float32)
    for step in tl.range(0, STEPS, num_stages=2):
        column = (split * STEPS + step) * COLUMNS + tl.arange(0, COLUMNS)
        places = token.to(tl.int64)[:, None] * HIDDEN + column[None, :]
        cells = column[:, None] * input_stride + expert[None, :] * expert_stride
        if WHOLE:  # masks that are true everywhere cost registers
            x = tl.load(residual + places, mask=present[:, None], other=0.0).to(tl.float32)
            factors = tl.load(scale + column)
            weights = tl.load(projection + cells)
        else:
            inside = column < HIDDEN
            x = tl.load(residual + places, mask=present[:, None] & inside[None, :], other=0.0).to(tl.float32)
            factors = tl.load(scale + column, mask=inside, other=0.0)
            weights = tl.load(projection + cells, mask=inside[:, None] & (expert < EXPERTS)[None, :], other=0.0)
        square += tl.sum(x * x, 1)
        scores = tl.dot((x * factors[None, :]).to(tl.bfloat16), weights, scores)
    row = split * count + token
    tl.store(parts + row.to(tl.int64)[:, None] * PADDED + expert[None, :], scores, mask=present[:, None])
    tl.store(squares + row, square, mask=present)


@triton.jit
def _choose(
    parts, squares, per_expert_scale, weights, chosen, count, eps,
    HIDDEN: tl.constexpr, EXPERTS: tl.constexpr, PADDED: tl.constexpr, TOP_K: tl.constexpr, K_PADDED: tl.constexpr,
    SPLITS: tl.constexpr,
):  # fmt: skip
    """A program a token: the splits' sum, in their order, then the largest score again and again."""
    token = tl.program_id(0)
    expert = tl.arange(0, PADDED)
    scores = tl.zeros((PADDED,), tl.float32)
    square = 0.0
    for split in tl.static_range(SPLITS):
        row = (split * count + token).to(tl.int64)
        scores += tl.load(parts + row * PADDED + expert)
        square += tl.load(squares + row)
    scores *= tl.rsqrt(square / HIDDEN + eps)
    scores = tl.where(expert < EXPERTS, scores, float("-inf"))
    place = tl.arange(0, K_PADDED)
    best = tl.full((K_PADDED,), float("-inf"), tl.float32)
    who = tl.zeros((K_PADDED,), tl.int32)
    for k in tl.static_range(TOP_K):
        largest = tl.max(scores, 0)
        # where all is NaN, nothing is equal to anything: any expert will do, but it has to be one
        first = tl.min(tl.where(scores == largest, expert, EXPERTS - 1), 0)
        best = tl.where(place == k, largest, best)
        who = tl.where(place == k, first, who)
        scores = tl.where(expert == first, float("-inf"), scores)
    shares = tl.exp(best - tl.max(best, 0))
    shares = shares / tl.sum(shares, 0) * tl.load(per_expert_scale + who)
    inside = place < TOP_K
    tl.store(weights + token.to(tl.int64) * TOP_K + place, shares, mask=inside)
    tl.store(chosen + token.to(tl.int64) * TOP_K + place, who, mask=inside)
