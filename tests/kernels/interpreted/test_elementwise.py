# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Arithmetic, comparisons and functions in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from tests.kernels.interpreted.inputs import FLOATS, random


@triton.jit
def apply_1(function: tl.constexpr, x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + i, function(tl.load(x + i)))


@triton.jit
def apply_2(function: tl.constexpr, a, b, y, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + i, function(tl.load(a + i), tl.load(b + i)))


def applied(function, *inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """What a function of Triton makes of tensors [N]."""
    result = torch.empty(inputs[0].shape, dtype=dtype)
    kernel = (apply_1, apply_2)[len(inputs) - 1]
    kernel[(1,)](function, *inputs, result, inputs[0].numel())
    return result


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def subtract(a, b):
    return a - b


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def divide(a, b):
    return a / b


@triton.jit
def negate(a):
    return -a


@triton.jit
def magnitude(a):
    return tl.abs(a)


@triton.jit
def greater(a, b):
    return tl.maximum(a, b)


@triton.jit
def lesser(a, b):
    return tl.minimum(a, b)


@triton.jit
def clamped(a):
    return tl.clamp(a.to(tl.float32), -0.5, 0.5).to(a.dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (add, torch.add),
        (subtract, torch.sub),
        (multiply, torch.mul),
        (divide, torch.div),
        (greater, torch.maximum),
        (lesser, torch.minimum),
    ],
)
def test_arithmetic(function, expected, dtype: torch.dtype) -> None:
    a, b = random(256, dtype=dtype), random(256, dtype=dtype, seed=1)
    assert torch.equal(applied(function, a, b, dtype=dtype), expected(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_signs(dtype: torch.dtype) -> None:
    a = random(256, dtype=dtype)
    assert torch.equal(applied(negate, a, dtype=dtype), -a)
    assert torch.equal(applied(magnitude, a, dtype=dtype), a.abs())
    assert torch.equal(applied(clamped, a, dtype=dtype), a.clamp(-0.5, 0.5))


@triton.jit
def less(a, b):
    return (a < b).to(tl.float32)


@triton.jit
def equal(a, b):
    return (a == b).to(tl.bfloat16)


@triton.jit
def between(a, b):
    return ((a < b) & (a > -b)).to(tl.int32)


@triton.jit
def parity(a, b):
    return ((a > 0).to(tl.int1) + (b > 0).to(tl.int1)).to(tl.int32)


@triton.jit
def where_less(a, b):
    return tl.where(a < b, a, b * 2)


@pytest.mark.parametrize("dtype", FLOATS)
def test_comparisons(dtype: torch.dtype) -> None:
    a, b = random(256, dtype=dtype), random(256, dtype=dtype, seed=1)
    a[:8] = b[:8]
    a[8] = float("nan")
    assert torch.equal(applied(less, a, b, dtype=torch.float32), (a < b).float())
    assert torch.equal(applied(equal, a, b, dtype=torch.bfloat16), (a == b).bfloat16())
    assert torch.equal(applied(between, a, b, dtype=torch.int32), ((a < b) & (a > -b)).int())
    assert torch.equal(applied(parity, a, b, dtype=torch.int32), ((a > 0) ^ (b > 0)).int())
    assert torch.equal(applied(where_less, a, b, dtype=dtype), torch.where(a < b, a, b * 2))


def test_greater_and_lesser_ignore_nan() -> None:
    a, b = random(16), random(16, seed=1)
    a[3] = float("nan")
    assert torch.equal(applied(greater, a, b, dtype=torch.float32), torch.fmax(a, b))
    assert torch.equal(applied(lesser, a, b, dtype=torch.float32), torch.fmin(a, b))


@triton.jit
def exponential(x):
    return tl.exp(x.to(tl.float32)).to(x.dtype)


@triton.jit
def exponential_of_2(x):
    return tl.exp2(x.to(tl.float32)).to(x.dtype)


@triton.jit
def logarithm(x):
    return tl.log(tl.abs(x.to(tl.float32))).to(x.dtype)


@triton.jit
def sigmoid(x):
    return tl.sigmoid(x.to(tl.float32)).to(x.dtype)


@triton.jit
def inverse_root(x):
    return tl.rsqrt(tl.abs(x.to(tl.float32))).to(x.dtype)


@triton.jit
def root(x):
    return tl.sqrt(tl.abs(x.to(tl.float32))).to(x.dtype)


@triton.jit
def error_function(x):
    return tl.erf(x.to(tl.float32)).to(x.dtype)


@triton.jit
def bare_sigmoid(x):
    return tl.sigmoid(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (exponential, torch.exp),
        (exponential_of_2, torch.exp2),
        (logarithm, lambda x: x.abs().log()),
        (sigmoid, torch.sigmoid),
        (inverse_root, lambda x: x.abs().rsqrt()),
        (root, lambda x: x.abs().sqrt()),
        (error_function, torch.erf),
    ],
)
def test_functions(function, expected, dtype: torch.dtype) -> None:
    x = random(256, dtype=dtype)
    tolerance = 2e-6 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(applied(function, x, dtype=dtype), expected(x), rtol=tolerance, atol=1e-6)


def test_functions_refuse_bf16_as_the_compiler_does() -> None:
    with pytest.raises(Exception, match="Expected dtype"):
        applied(bare_sigmoid, random(16, dtype=torch.bfloat16), dtype=torch.bfloat16)


@triton.jit
def fma_kernel(x, y, z, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.fma(tl.load(x + i), tl.load(y + i), tl.load(z + i)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_rounds_once(dtype: torch.dtype) -> None:
    x, y = random(256, dtype=dtype), random(256, dtype=dtype, seed=1)
    z = -(x * y)  # what is left is the error of rounding the product
    result = torch.empty_like(x)
    fma_kernel[(1,)](x, y, z, result, 256)
    assert torch.equal(result, (x.double() * y.double() + z.double()).to(dtype))


@triton.jit
def invert_shift(x, shifted, inverted, high, N: tl.constexpr):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    tl.store(shifted + i, a >> 3)
    tl.store(inverted + i, ~a)
    tl.store(high + i, tl.umulhi(a, a))
    tl.store(x + i, a)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint32, torch.int64])
def test_integers(dtype: torch.dtype) -> None:
    numbers = np.array([1, 5, 2**31 - 1, 2**30 + 3, -1, -7, -(2**31), 12345]).astype(str(dtype).removeprefix("torch."))
    x = torch.from_numpy(numbers.copy())
    shifted, inverted, high = (torch.empty_like(x) for _ in range(3))
    invert_shift[(1,)](x, shifted, inverted, high, 8)
    bits = numbers.dtype.itemsize * 8
    unsigned = [int(number) % (1 << bits) for number in numbers]
    assert np.array_equal(x.numpy(), numbers)
    assert np.array_equal(shifted.numpy(), numbers >> 3)
    assert np.array_equal(inverted.numpy(), ~numbers)
    assert [int(number) % (1 << bits) for number in high.numpy()] == [number * number >> bits for number in unsigned]
