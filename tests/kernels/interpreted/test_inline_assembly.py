# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Inline assembly in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tests.kernels.interpreted.inputs import random


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
