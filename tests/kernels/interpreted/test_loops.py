# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Loops and arguments in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tests.kernels.interpreted.inputs import random


@triton.jit
def accumulate(x, y, start, stop, factor, flag, N: tl.constexpr):
    i = tl.arange(0, N)
    total = tl.zeros((N,), tl.float32)
    for step in tl.range(start, stop, num_stages=2):
        total += tl.load(x + step.to(tl.int64) * N + i).to(tl.float32)
    for step in range(start, stop):
        total += step
    for step in tl.static_range(2):
        total += step
    if flag:
        total += 1
    tl.store(y + i, total * factor)


def test_loops_and_arguments() -> None:
    x = random(8, 16, dtype=torch.bfloat16)
    y = torch.empty(16)
    for flag in (False, True):
        accumulate[(1,)](x, y, 2, 6, 0.5, flag, 16)
        torch.testing.assert_close(y, (x[2:6].float().sum(0) + 2 + 3 + 4 + 5 + 1 + flag) * 0.5)


@triton.jit
def loaded_bound(x, y, bound, N: tl.constexpr):
    i = tl.arange(0, N)
    stop = tl.load(bound)
    total = tl.zeros((N,), tl.int32)
    for step in tl.range(0, stop, 2):
        total += tl.load(x + step)
    for step in range(stop):
        total += step
    tl.store(y + i, total)


def test_a_loop_up_to_a_number_in_memory() -> None:
    y = torch.empty(4, dtype=torch.int32)
    loaded_bound[(1,)](torch.arange(9, dtype=torch.int32), y, torch.tensor([5], dtype=torch.int32), 4)
    assert y.tolist() == [0 + 2 + 4 + 10] * 4


@triton.jit
def scale(x, y, factor, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + i, (tl.load(x + i) * factor).to(tl.float32))


def test_a_float_argument_is_a_float32() -> None:
    x = random(16, dtype=torch.bfloat16)
    y = torch.empty(16)
    scale[(1,)](x, y, 0.1, 16)
    assert torch.equal(y, x.float() * torch.tensor(0.1))
