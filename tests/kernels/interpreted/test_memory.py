# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Loads, stores and atomic additions in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.kernels.interpreted.inputs import FLOATS, random


@triton.jit
def masked(x, y, count, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + i, tl.load(x + i, mask=i < count, other=2.5), mask=i < N - 1)


@triton.jit
def words(x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    word = tl.load(x.to(tl.pointer_type(tl.int32)) + i)
    tl.store(y.to(tl.pointer_type(tl.int32)) + i, word, cache_modifier=".cg", eviction_policy="evict_first")


def test_masks_and_other_pointers() -> None:
    x = random(16, dtype=torch.bfloat16)
    y = torch.zeros_like(x)
    masked[(1,)](x, y, 5, 16)
    assert y.tolist() == [*x[:5].tolist(), *[2.5] * 10, 0.0]
    copied = torch.zeros_like(x)
    words[(1,)](x, copied, 8)
    assert torch.equal(copied, x)


@triton.jit
def scatter(x, where, total, before, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(before + i, tl.atomic_add(total + tl.load(where + i), tl.load(x + i), mask=i < N - 1))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32])
def test_atomic_additions(dtype: torch.dtype) -> None:
    x = torch.arange(1, 9).to(dtype)
    where = torch.tensor([0, 1, 0, 1, 2, 0, 3, 3], dtype=torch.int32)
    total, before = torch.full((4,), 10).to(dtype), torch.zeros(8).to(dtype)
    scatter[(1,)](x, where, total, before, 8)
    assert total.tolist() == [20, 16, 15, 17]
    assert before.tolist()[:7] == [10, 10, 11, 12, 10, 14, 10]
