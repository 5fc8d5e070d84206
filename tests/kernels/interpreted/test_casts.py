# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Casts and constants in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import itertools

import pytest
import torch
import triton
import triton.language as tl

from tests.kernels.interpreted.inputs import EIGHTS, FLOATS, random


@triton.jit
def copy(x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + i, tl.load(x + i).to(y.dtype.element_ty))


INTEGERS = (torch.int32, torch.int8, torch.bool)
CASTS = [
    *itertools.product((*FLOATS, *EIGHTS, *INTEGERS), FLOATS),
    *itertools.product(FLOATS, (*EIGHTS, torch.int32)),
]


@pytest.mark.parametrize(("source", "target"), CASTS)
def test_casts(source: torch.dtype, target: torch.dtype) -> None:
    x = random(1024, scale=50).to(source)
    y = torch.empty(1024, dtype=target)
    copy[(1,)](x, y, 1024)
    assert torch.equal(y.float(), x.to(target).float())


def test_casts_to_fp8_saturate_and_keep_nan() -> None:
    x = torch.tensor([1e6, -1e6, float("inf"), float("nan")])
    for dtype, largest in zip(EIGHTS, (448.0, 57344.0), strict=True):
        y = torch.empty(4, dtype=dtype)
        copy[(1,)](x, y, 4)
        back = torch.empty(4)
        copy[(1,)](y, back, 4)
        assert back[:3].tolist() == [largest, -largest, largest]
        assert back[3].isnan()


@triton.jit
def truncate(x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + i, tl.load(x + i).to(tl.bfloat16, fp_downcast_rounding="rtz"))


def test_a_cast_toward_zero() -> None:
    x = random(64)
    y = torch.empty(64, dtype=torch.bfloat16)
    truncate[(1,)](x, y, 64)
    assert torch.equal(y.view(torch.int16), (x.view(torch.int32) >> 16).short())


@triton.jit
def reinterpret(codes, numbers, back, N: tl.constexpr):
    i = tl.arange(0, N)
    number = tl.load(codes + i).to(tl.float8e4nv, bitcast=True)
    tl.store(numbers + i, number.to(tl.float32))
    tl.store(back + i, number.to(tl.uint8, bitcast=True))


@triton.jit
def place_bits(codes, numbers, N: tl.constexpr):
    i = tl.arange(0, N)
    bits = tl.load(codes + i).to(tl.uint16) << 7
    tl.store(numbers + i, bits.to(tl.bfloat16, bitcast=True) * 2.0)


def test_bits_as_numbers() -> None:
    codes = torch.arange(256).to(torch.uint8)
    numbers, back, bf16 = torch.empty(256), torch.empty_like(codes), torch.empty(256, dtype=torch.bfloat16)
    reinterpret[(1,)](codes, numbers, back, 256)
    expected = codes.view(torch.float8_e4m3fn).float()
    assert torch.equal(numbers.nan_to_num(nan=-1), expected.nan_to_num(nan=-1))
    assert torch.equal(back, codes)
    place_bits[(1,)](codes, bf16, 256)
    assert torch.equal(bf16[:255], (codes.short() << 7).view(torch.bfloat16)[:255] * 2)


@triton.jit
def constants(full, zeros, scaled, x, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(full + i, tl.full((N,), 1.0078125, tl.bfloat16))
    tl.store(zeros + i, tl.zeros((N,), tl.bfloat16))
    tl.store(scaled + i, tl.load(x + i) * 0.1)


def test_constants_are_rounded() -> None:
    x = random(16, dtype=torch.bfloat16)
    full, zeros, scaled = (torch.full((16,), 7.0, dtype=torch.bfloat16) for _ in range(3))
    constants[(1,)](full, zeros, scaled, x, 16)
    assert full.tolist() == [1.0078125] * 16
    assert zeros.tolist() == [0.0] * 16
    assert torch.equal(scaled, x * torch.tensor(0.1).bfloat16())
