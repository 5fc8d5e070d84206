# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Shapes in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.kernels.interpreted.inputs import FLOATS, random


@triton.jit
def reshape(x, y, gathered, N: tl.constexpr):
    i = tl.arange(0, N)
    pairs = tl.join(tl.load(x + i), tl.load(x + i + N))  # [N, 2]
    low, high = tl.split(tl.reshape(tl.permute(pairs, (1, 0)), (N, 2)))
    flat = tl.reshape(tl.join(low, high), (2 * N,))
    tl.store(y + tl.arange(0, 2 * N), flat * 2)
    tl.store(gathered + i, tl.gather(low, (N - 1 - i), 0) + tl.trans(high[:, None]).reshape(N))


@pytest.mark.parametrize("dtype", FLOATS)
def test_shapes(dtype: torch.dtype) -> None:
    x = random(32, dtype=dtype)
    y, gathered = torch.empty_like(x), torch.empty(16, dtype=dtype)
    reshape[(1,)](x, y, gathered, 16)
    assert torch.equal(y, x * 2)
    pairs = x.reshape(16, 2)
    assert torch.equal(gathered, pairs[:, 0].flip(0) + pairs[:, 1])
