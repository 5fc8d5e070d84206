# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Products in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from tests.kernels.interpreted.inputs import EIGHTS, FLOATS, random
from tests.kernels.interpreter.floats import decode_e2m1


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
