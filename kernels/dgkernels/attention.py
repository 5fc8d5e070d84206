# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Attention of a canvas over a buffer of keys and values, of which a range is seen that the device's memory tells.

Every query sees the same keys, so there is no mask but the range. Heads that share keys are more rows of one product.
Where these are too few to fill a GPU, the keys are split among programs, and a second launch joins what they found.
The range may be of any length, which the number of programs does not depend on: a captured graph serves all of them.
"""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from dgkernels import support
from dgkernels.launching import on_device_of_first
from dgkernels.tiles import AttentionTiles, attention_tiles, key_splits

_JOINED: Final = 4  # rows that a program of the second launch takes
_LOG2E = tl.constexpr(1.4426950408889634)


@on_device_of_first
def attend_canvas(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    start: Tensor,
    end: Tensor,
    tiles: AttentionTiles | None = None,
    splits: int | None = None,
) -> Tensor:
    """Grouped-query attention with scale 1: [H, T, D], [KV, S, D], [KV, S, D] -> [T, H * D].

    Consecutive query heads share a K/V head. What lies outside of the range may be anything.

    Args:
        queries: bfloat16, any strides but the last's.
        keys: bfloat16; the rows of a head lie one behind the other.
        values: the same, with the strides of `keys`.
        start: int32 [1] on the device, the first position that is seen; read when the kernels run, and not checked.
        end: int32 [1] likewise, one past the last; within S.
        tiles: how it is cut; None for those of the device.
        splits: programs that share the keys; None for as many as fill the device.

    Raises:
        ValueError: there are no tiles for this head width on this device.
    """
    heads, count, width = queries.shape
    kv_heads = keys.shape[0]
    group = heads // kv_heads
    tiles = tiles or attention_tiles(support.capability_of(queries.device), width)
    if tiles is None:
        raise ValueError(f"there is no configuration for heads of {width} on this device")
    blocks = triton.cdiv(group * count, tiles.rows)
    if splits is None:
        splits = key_splits(blocks * kv_heads, support.multiprocessors(queries.device), keys.shape[1], tiles)
    out = queries.new_empty(count, heads * width)
    parts = out if splits == 1 else queries.new_empty(splits, heads * count, width, dtype=torch.float32)
    sums = queries.new_empty(2, splits, heads * count, dtype=torch.float32)  # highest exponent, and mass
    _attend[(blocks, kv_heads, splits)](
        queries, keys, values, start, end, parts, sums, count, queries.stride(0), queries.stride(1), keys.stride(0),
        GROUP=group, HEADS=heads, DIM=width, WIDTH=max(16, triton.next_power_of_2(width)), ROWS=tiles.rows,
        KEYS=tiles.keys, CHUNK=min(tiles.chunk, max(16, triton.next_power_of_2(width))), SPLITS=splits,
        STAGES=tiles.launch.stages, num_warps=tiles.launch.warps,
    )  # fmt: skip
    if splits > 1:
        _join[(triton.cdiv(heads * count, _JOINED),)](
            parts, sums, out, count,
            HEADS=heads, DIM=width, WIDTH=triton.next_power_of_2(width), SPLITS=splits, ROWS=_JOINED, num_warps=4,
        )  # fmt: skip
    return out


@triton.jit
def _row_parts(rows, dim, DIM: tl.constexpr, WIDTH: tl.constexpr):
    """The numbers `dim` of rows that begin at these pointers; zero beyond DIM."""
    return tl.load(rows + dim) if DIM == WIDTH else tl.load(rows + dim, mask=dim < DIM, other=0.0)


@triton.jit
def _attend(
    queries, keys, values, start, end, parts, sums, count, query_head, query_token, key_head,
    GROUP: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    KEYS: tl.constexpr, CHUNK: tl.constexpr, SPLITS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Program (b, h, s): ROWS queries of the heads that share the keys h, over a share s of those."""
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    present = row < GROUP * count
    row = tl.minimum(row, GROUP * count - 1)  # what is loaded is always there: masks would cost registers
    head = kv_head * GROUP + row // count
    token = row % count
    dim = tl.arange(0, WIDTH)
    place = tl.arange(0, KEYS)
    first = tl.load(start)
    last = tl.load(end)
    share = tl.cdiv(tl.cdiv(last - first, KEYS), SPLITS) * KEYS
    first += split * share
    last = tl.minimum(first + share, last)

    query = queries + (head.to(tl.int64) * query_head + token.to(tl.int64) * query_token)[:, None]
    keys += kv_head.to(tl.int64) * key_head
    values += kv_head.to(tl.int64) * key_head
    if CHUNK == WIDTH:
        whole = _row_parts(query, dim[None, :], DIM, WIDTH)
    peak = tl.full((ROWS,), float("-inf"), tl.float32)
    mass = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, WIDTH), tl.float32)
    for begin in tl.range(first, last, KEYS, num_stages=STAGES):
        near = tl.minimum(begin + place, last - 1) * DIM
        scores = tl.zeros((ROWS, KEYS), tl.float32)
        if CHUNK == WIDTH:
            scores = tl.dot(whole, _row_parts(keys + near[None, :], dim[:, None], DIM, WIDTH), scores)
        else:
            for chunk in tl.static_range(WIDTH // CHUNK):
                part = chunk * CHUNK + tl.arange(0, CHUNK)
                left = _row_parts(query, part[None, :], DIM, WIDTH)
                scores = tl.dot(left, _row_parts(keys + near[None, :], part[:, None], DIM, WIDTH), scores)
        scores = tl.where((begin + place < last)[None, :], scores * _LOG2E, float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        shrunk = tl.exp2(peak - higher)
        weights = tl.exp2(scores - higher[:, None])
        mass = mass * shrunk + tl.sum(weights, 1)
        value = _row_parts(values + near[:, None], dim[None, :], DIM, WIDTH)
        acc = tl.dot(weights.to(tl.bfloat16), value, acc * shrunk[:, None])
        peak = higher

    kept = present[:, None] & (dim < DIM)[None, :]
    if SPLITS == 1:
        target = parts + (token.to(tl.int64) * HEADS + head)[:, None] * DIM + dim[None, :]
        tl.store(target, (acc / mass[:, None]).to(tl.bfloat16), mask=kept)
    else:
        plane = HEADS * count
        line = split * plane + head * count + token
        tl.store(parts + line.to(tl.int64)[:, None] * DIM + dim[None, :], acc, mask=kept)
        tl.store(sums + line, peak, mask=present)
        tl.store(sums + SPLITS * plane + line, mass, mask=present)


@triton.jit
def _join(
    parts, sums, out, count,
    HEADS: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr, SPLITS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Program b: ROWS rows of a query and a head, from all shares of the keys."""
    plane = HEADS * count
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    present = row < plane
    dim = tl.arange(0, WIDTH)
    kept = present[:, None] & (dim < DIM)[None, :]
    peak = tl.full((ROWS,), float("-inf"), tl.float32)
    for split in tl.static_range(SPLITS):
        peak = tl.maximum(peak, tl.load(sums + split * plane + row, mask=present, other=0.0))
    mass = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, WIDTH), tl.float32)
    for split in tl.static_range(SPLITS):
        line = split * plane + row
        # a share without a key has the highest exponent -inf, and counts for nothing
        factor = tl.exp2(tl.load(sums + line, mask=present, other=0.0) - peak)
        mass += factor * tl.load(sums + SPLITS * plane + line, mask=present, other=1.0)
        part = tl.load(parts + line.to(tl.int64)[:, None] * DIM + dim[None, :], mask=kept, other=0.0)
        acc += factor[:, None] * part
    target = out + ((row % count).to(tl.int64) * HEADS + row // count)[:, None] * DIM + dim[None, :]
    tl.store(target, (acc / mass[:, None]).to(tl.bfloat16), mask=kept)
