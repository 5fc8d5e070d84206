# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Random numbers in the repaired interpreter, against torch or numpy."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl


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
