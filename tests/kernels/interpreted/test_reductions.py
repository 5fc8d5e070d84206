# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Reductions, running sums, sorting and histograms in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.kernels.interpreted.inputs import FLOATS, random


@triton.jit
def reduce_rows(x, sums, most, least, place, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M), tl.arange(0, N)
    tile = tl.load(x + i[:, None] * N + j[None, :])
    tl.store(sums + i, tl.sum(tile, 1))
    tl.store(most + i, tl.max(tile, 1))
    tl.store(least + i, tl.min(tile, 1, keep_dims=True).reshape(M))
    tl.store(place + i, tl.argmax(tile, 1))


@triton.jit
def larger(a, b):
    return tl.where(a > b, a, b)


@triton.jit
def reduce_bare(x, most, total, N: tl.constexpr):
    tile = tl.load(x + tl.arange(0, N))
    tl.store(most, tl.reduce(tile, 0, larger))
    tl.store(total, tl.sum(tile))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32])
def test_reductions(dtype: torch.dtype) -> None:
    x = random(4, 16, scale=10).to(dtype)
    sums, most, least = (torch.empty(4, dtype=dtype) for _ in range(3))
    place = torch.empty(4, dtype=torch.int32)
    reduce_rows[(1,)](x, sums, most, least, place, 4, 16)
    tolerance = {torch.bfloat16: 0.5, torch.float16: 0.05}.get(dtype, 1e-4)
    torch.testing.assert_close(sums.float(), x.float().sum(1), rtol=0, atol=tolerance)
    assert torch.equal(most, x.amax(1))
    assert torch.equal(least, x.amin(1))
    assert torch.equal(place.long(), x.argmax(1))


@pytest.mark.parametrize("dtype", FLOATS)
def test_reductions_of_a_whole_tensor(dtype: torch.dtype) -> None:
    x = random(64).abs().to(dtype)
    most, total = torch.empty(1, dtype=dtype), torch.empty(1, dtype=dtype)
    reduce_bare[(1,)](x, most, total, 64)
    assert most[0] == x.max()
    torch.testing.assert_close(total[0].float(), x.float().sum(), rtol=0.02, atol=0)


def test_a_sum_of_bf16_rounds_at_every_addition() -> None:
    x = torch.tensor([256.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], dtype=torch.bfloat16)
    most, total = torch.empty(1, dtype=torch.bfloat16), torch.empty(1, dtype=torch.bfloat16)
    reduce_bare[(1,)](x, most, total, 8)
    assert total.item() == 258  # 256.5 and 257 are no bf16 numbers: the exact sum, 259.5, would have become 260


def test_the_greatest_ignores_nan() -> None:
    x = random(4, 16)
    x[0, 3] = float("nan")
    outputs = [torch.empty(4) for _ in range(3)]
    place = torch.empty(4, dtype=torch.int32)
    reduce_rows[(1,)](x, *outputs, place, 4, 16)
    filled = x.nan_to_num(nan=-torch.inf)
    assert torch.equal(outputs[1], filled.amax(1))
    assert torch.equal(place.long(), filled.argmax(1))


@triton.jit
def running(x, forward, backward, M: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tile = tl.load(x + at)
    tl.store(forward + at, tl.cumsum(tile, 1))
    tl.store(backward + at, tl.cumsum(tile, 1, reverse=True))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32])
def test_running_sums(dtype: torch.dtype) -> None:
    x = torch.arange(-16, 16).reshape(2, 16).to(dtype)
    forward, backward = torch.empty_like(x), torch.empty_like(x)
    running[(1,)](x, forward, backward, 2, 16)
    assert torch.equal(forward, x.float().cumsum(1).to(dtype))
    assert torch.equal(backward, x.float().flip(1).cumsum(1).flip(1).to(dtype))


@triton.jit
def order(x, ascending, descending, best, N: tl.constexpr, K: tl.constexpr):
    i = tl.arange(0, N)
    tile = tl.load(x + i)
    tl.store(ascending + i, tl.sort(tile))
    tl.store(descending + i, tl.sort(tile, descending=True))
    tl.store(best + tl.arange(0, K), tl.topk(tile, K))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32])
def test_sorting(dtype: torch.dtype) -> None:
    x = random(32, scale=100).to(dtype)
    ascending, descending, best = torch.empty_like(x), torch.empty_like(x), torch.empty(8, dtype=dtype)
    order[(1,)](x, ascending, descending, best, 32, 8)
    assert torch.equal(ascending, x.sort().values)
    assert torch.equal(descending, x.sort(descending=True).values)
    assert torch.equal(best, x.topk(8).values)


@triton.jit
def count(x, bins, N: tl.constexpr, BINS: tl.constexpr):
    tl.store(bins + tl.arange(0, BINS), tl.histogram(tl.load(x + tl.arange(0, N)), BINS))


def test_a_histogram_counts_what_is_in_range() -> None:
    x = torch.tensor([0, 1, 1, 3, 4, 4, -1, 900], dtype=torch.int32)
    bins = torch.full((5,), 9, dtype=torch.int32)
    count[(1,)](x, bins, 8, 4)
    assert bins.tolist() == [1, 2, 0, 1, 9]
