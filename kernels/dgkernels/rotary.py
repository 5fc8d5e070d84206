# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""From the product of a layer's q, k and v to what attention reads: norms, rotation, and the place in a cache."""

from __future__ import annotations

from typing import Final

import triton
import triton.language as tl
from torch import Tensor

from dgkernels.launching import on_device_of_first

_ELEMENTS: Final = 1024  # of a program: of one head, and as many tokens as that makes


@on_device_of_first
def rotate_into(
    raw: Tensor,
    weights: Tensor,
    cosine: Tensor,
    signed_sine: Tensor,
    eps: float,
    keys: Tensor,
    values: Tensor,
    rows: Tensor | None = None,
    known: int = 0,
) -> Tensor:
    """Norms queries, keys and values, rotates the first two, and puts keys and values where they are kept.

    Of each head the norm is that of `dgkernels.norms`; values have no weight, and are not rotated. Pairs of the
    rotation are (d, d + D / 2). Where `raw` holds no values, they are made of the keys, before weight and rotation.

    Args:
        raw: [T, (H + KV + KV) D] or [T, (H + KV) D]: queries, keys, values. H may be 0.
        weights: float32 [H + KV, D], of the norms.
        cosine: float32 [T, D] or [T, 1, D].
        signed_sine: likewise; negative in the first half.
        eps: of the norms.
        keys: [KV, S, D], any strides but the last's.
        values: the same, with the strides of `keys`.
        rows: int64 [T], where each token's go in S; None for the first ones.
        known: tokens at the front whose keys and values are not written; then those after go to the first rows.

    Returns:
        The queries [H, T, D] in the dtype of `keys`.
    """
    count, kv_heads, width = raw.shape[0], keys.shape[0], keys.shape[2]
    heads = weights.shape[0] - kv_heads
    given = raw.shape[1] // width
    queries = keys.new_empty(heads, count, width)
    tokens = max(1, _ELEMENTS // triton.next_power_of_2(width))
    _rotate_into[(triton.cdiv(count, tokens), given)](
        raw, weights, cosine, signed_sine, queries, keys, values, raw if rows is None else rows, count, known,
        raw.stride(0), keys.stride(0), keys.stride(1), eps,
        HEADS=heads, KV_HEADS=kv_heads, OWN_VALUES=given > heads + kv_heads, HALF=width // 2,
        PADDED=triton.next_power_of_2(width // 2), TOKENS=tokens, INDEXED=rows is not None, num_warps=2,
    )  # fmt: skip
    return queries


@triton.jit
def _rotate_into(
    raw, weights, cosine, signed_sine, queries, keys, values, rows, count, known, step, key_head, key_step, eps,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, OWN_VALUES: tl.constexpr, HALF: tl.constexpr, PADDED: tl.constexpr,
    TOKENS: tl.constexpr, INDEXED: tl.constexpr,
):  # fmt: skip
    """Program (t, h): TOKENS tokens of the head h of queries, keys and values, counted through."""
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    head = tl.program_id(1)
    dim = tl.arange(0, PADDED)
    inside = (dim < HALF)[None, :]
    present = (token < count)[:, None] & inside
    source = raw + token.to(tl.int64)[:, None] * step + (head * (2 * HALF) + dim)[None, :]
    first = tl.load(source, mask=present, other=0.0).to(tl.float32)
    second = tl.load(source + HALF, mask=present, other=0.0).to(tl.float32)
    square = tl.sum(first * first, 1) + tl.sum(second * second, 1)
    length = tl.rsqrt(square / (2 * HALF) + eps)[:, None]
    first *= length
    second *= length

    place = token - known
    if INDEXED:
        place = tl.load(rows + token, mask=token < count, other=0)
    kept = present & (token >= known)[:, None]
    cell = place.to(tl.int64)[:, None] * key_step + dim[None, :]
    if head >= HEADS + KV_HEADS:
        target = values + (head - HEADS - KV_HEADS).to(tl.int64) * key_head + cell
        tl.store(target, first.to(values.dtype.element_ty), mask=kept)
        tl.store(target + HALF, second.to(values.dtype.element_ty), mask=kept)
    else:
        turn = token[:, None] * (2 * HALF) + dim[None, :]
        weight = weights + (head * (2 * HALF) + dim)[None, :]
        one = first * tl.load(weight, mask=inside, other=0.0)
        two = second * tl.load(weight + HALF, mask=inside, other=0.0)
        left = one * tl.load(cosine + turn, mask=present, other=0.0)
        left += two * tl.load(signed_sine + turn, mask=present, other=0.0)
        right = two * tl.load(cosine + turn + HALF, mask=present, other=0.0)
        right += one * tl.load(signed_sine + turn + HALF, mask=present, other=0.0)
        if head < HEADS:
            target = queries + (head * count + token).to(tl.int64)[:, None] * (2 * HALF) + dim[None, :]
            tl.store(target, left.to(queries.dtype.element_ty), mask=present)
            tl.store(target + HALF, right.to(queries.dtype.element_ty), mask=present)
        else:
            own = (head - HEADS).to(tl.int64) * key_head + cell
            tl.store(keys + own, left.to(keys.dtype.element_ty), mask=kept)
            tl.store(keys + own + HALF, right.to(keys.dtype.element_ty), mask=kept)
            if not OWN_VALUES:
                tl.store(values + own, first.to(values.dtype.element_ty), mask=kept)
                tl.store(values + own + HALF, second.to(values.dtype.element_ty), mask=kept)
