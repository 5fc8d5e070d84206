# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Small kernels in the repaired interpreter, each against torch or numpy."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from tests.kernels.interpreter.floats import decode_e2m1
from tests.kernels.interpreter.repairs import repair

FLOATS = (torch.bfloat16, torch.float16, torch.float32)
EIGHTS = (torch.float8_e4m3fn, torch.float8_e5m2)


def random(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0, seed: int = 0) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale
    return numbers.to(dtype)


# ------------------------------------------------------------------------------------------------ element by element


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


# ------------------------------------------------------------------------------------------------------------- casts


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


# ------------------------------------------------------------------------------------------------------------ memory


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


# -------------------------------------------------------------------------------------------------------- reductions


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


# ------------------------------------------------------------------------------------------------------------ shapes


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


# ---------------------------------------------------------------------------------------------------------- products


@triton.jit
def product(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left = tl.load(a + i[:, None] * K + k[None, :])
    right = tl.load(b + k[:, None] * N + j[None, :])
    start = tl.full((M, N), 1, c.dtype.element_ty)
    tl.store(c + i[:, None] * N + j[None, :], tl.dot(left, right, start, out_dtype=c.dtype.element_ty))


@pytest.mark.parametrize("dtype", [*FLOATS, *EIGHTS])
def test_products(dtype: torch.dtype) -> None:
    a, b = random(16, 32).to(dtype), random(32, 16, seed=1).to(dtype)
    c = torch.empty(16, 16)
    product[(1,)](a, b, c, 16, 16, 32)
    torch.testing.assert_close(c, a.float() @ b.float() + 1, rtol=1e-5, atol=1e-5)


def test_products_of_integers() -> None:
    a = torch.randint(-128, 128, (16, 32), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    c = torch.empty(16, 16, dtype=torch.int32)
    product[(1,)](a, a.T.contiguous(), c, 16, 16, 32)
    assert torch.equal(c, a.int() @ a.T.int() + 1)


@triton.jit
def scaled_product(
    a, a_scale, b, b_scale, c, A: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr
):
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    half, block = tl.arange(0, K // 2), tl.arange(0, K // BLOCK)
    right = tl.load(b + half[:, None] + j[None, :] * (K // 2))
    right_scale = tl.load(b_scale + j[:, None] * (K // BLOCK) + block[None, :])
    if A == "bf16":
        left = tl.load(a + i[:, None] * K + k[None, :])
        result = tl.dot_scaled(left, None, A, right, right_scale, "e2m1")
    else:
        left = tl.load(a + i[:, None] * (K // 2) + half[None, :])
        left_scale = tl.load(a_scale + i[:, None] * (K // BLOCK) + block[None, :])
        result = tl.dot_scaled(left, left_scale, A, right, right_scale, "e2m1")
    tl.store(c + i[:, None] * N + j[None, :], result)


def packed(rows: int, columns: int, seed: int) -> Tensor:
    """Pairs of E2M1 codes: [rows, columns / 2] of uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, columns // 2), dtype=torch.uint8, generator=generator)


def dense(pairs: Tensor, scales: Tensor) -> Tensor:
    numbers = torch.from_numpy(decode_e2m1(pairs.numpy(), axis=1))
    return numbers * scales.repeat_interleave(numbers.shape[1] // scales.shape[1], dim=1)


@pytest.mark.parametrize("block", [16, 32])
@pytest.mark.parametrize("left", ["bf16", "e2m1"])
def test_products_of_scaled_blocks(left: str, block: int) -> None:
    m = n = 16
    k = 64
    b = packed(n, k, seed=1)
    if block == 16:  # NVFP4: E4M3 scales
        scales = random(m + n, k // block).abs().to(torch.float8_e4m3fn)
        factors = scales.float()
    else:  # MXFP4: powers of two
        scales = torch.randint(120, 131, (m + n, k // block), dtype=torch.uint8)
        factors = torch.exp2(scales.float() - 127)
    a = random(m, k, dtype=torch.bfloat16) if left == "bf16" else packed(m, k, seed=2)
    c = torch.empty(m, n)
    scaled_product[(1,)](a, scales[:m].contiguous(), b, scales[m:].contiguous(), c, left, m, n, k, block)
    wide = a.float() if left == "bf16" else dense(a, factors[:m])
    torch.testing.assert_close(c, wide @ dense(b, factors[m:]).T, rtol=1e-5, atol=1e-4)


# ------------------------------------------------------------------------------------------------- loops, arguments


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


# ------------------------------------------------------------------------------------------------------ random numbers


@triton.jit
def draw(words, uniform, seed, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b, c, d = tl.randint4x(seed, i)
    tl.store(words + 4 * i, a)
    tl.store(words + 4 * i + 1, b)
    tl.store(words + 4 * i + 2, c)
    tl.store(words + 4 * i + 3, d)
    tl.store(uniform + i, tl.rand(seed, i))


def philox(counter: int, seed: int) -> list[int]:
    """Ten rounds of Philox 4x32 (Salmon et al., 2011)."""
    c, key, mask = [counter, 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32], 0xFFFFFFFF
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ key[0], second & mask, first >> 32 ^ c[3] ^ key[1], first & mask]
        key = [key[0] + 0x9E3779B9 & mask, key[1] + 0xBB67AE85 & mask]
    return c


@pytest.mark.parametrize("seed", [0, 42, 2**40 + 17])
def test_random_numbers(seed: int) -> None:
    words, uniform = torch.empty(64, dtype=torch.int32), torch.empty(16)
    draw[(1,)](words, uniform, seed, 16)
    expected = [word for counter in range(16) for word in philox(counter, seed)]
    assert [int(word) & 0xFFFFFFFF for word in words] == expected
    assert torch.all((uniform >= 0) & (uniform < 1))


# --------------------------------------------------------------------------------------------------- inline assembly


@triton.jit
def halves_kernel(x, low, high, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b = tl.inline_asm_elementwise(
        "and.b32 $0, $2, 0x0F0F0F0F; shr.u32 $1, $2, 4; and.b32 $1, $1, 0x0F0F0F0F;",
        "=r,=r,r",
        [tl.load(x + i)],
        dtype=(tl.uint8, tl.uint8),
        is_pure=True,
        pack=4,
    )
    tl.store(low + i, a)
    tl.store(high + i, b)


@triton.jit
def tanh_kernel(x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    result = tl.inline_asm_elementwise(
        "tanh.approx.f32 $0, $1;", "=r,r", [tl.load(x + i)], dtype=tl.float32, is_pure=True, pack=1
    )
    tl.store(y + i, result)


def test_inline_assembly() -> None:
    x = torch.arange(64).to(torch.uint8) * 3
    low, high = torch.empty_like(x), torch.empty_like(x)
    halves_kernel[(1,)](x, low, high, 64)
    assert torch.equal(low, x & 15)
    assert torch.equal(high, x >> 4)
    numbers = random(64)
    result = torch.empty(64)
    tanh_kernel[(1,)](numbers, result, 64)
    torch.testing.assert_close(result, numbers.tanh())


# --------------------------------------------------------------------------------------------------- the repair itself


def test_repairing_again_changes_nothing() -> None:
    builder = triton.runtime.interpreter.InterpreterBuilder
    before = dict(vars(builder))
    repair()
    assert dict(vars(builder)) == before


@pytest.mark.parametrize(
    ("setting", "prelude", "message"),
    [
        ("0", "", "set TRITON_INTERPRET=1"),
        ("0", "import os, triton.language; os.environ['TRITON_INTERPRET'] = '1'", "imported before"),
    ],
)
def test_a_process_that_compiles_is_left_alone(setting: str, prelude: str, message: str) -> None:
    code = f"{prelude}\nfrom tests.kernels.interpreter.repairs import repair\nrepair()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRITON_INTERPRET": setting},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert message in run.stderr
