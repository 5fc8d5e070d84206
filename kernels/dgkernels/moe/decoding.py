# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Four-bit codes to bfloat16, within a kernel. Only whole words are moved: nothing depends on which lane holds what."""

from __future__ import annotations

import triton
import triton.language as tl

# A code of NVFP4, its bits put where `layout` says, is a bfloat16 of 2**-126 times its value; a scale's E4M3 bits,
# moved up by four, one of 2**-120 times. The scale is multiplied by 2**239, in two steps that both can be said in
# bfloat16, so that the product of the two is 2**-7 times the weight, exactly: it has six significant bits at most.
_UP_ONCE = tl.constexpr(2.0**120)
_UP_AGAIN = tl.constexpr(2.0**119)
UNIT = tl.constexpr(2.0**7)
"""What the products of `nvfp4_half` are to be multiplied by."""


@triton.jit
def pairs(words):
    """uint32 [P, Q] -> four of the kind, two bfloat16 in each: rows r and r + 8 of the low codes, then of the high."""
    first = words & 0x81C081C0
    second = (words << 3) & 0x81C081C0
    third = (words << 6) & 0x81C081C0
    fourth = ((words << 1) & 0x80008000) | ((words >> 3) & 0x01800180) | ((words >> 7) & 0x00400040)
    return first, second, third, fourth


@triton.jit
def _split(pair):
    """uint32 [P, Q] -> bfloat16 [P, Q, 2]: a name for the halves of a register, which costs nothing.

    Shifted apart, they would be put together again before the product, at one instruction a weight.
    """
    low, high = tl.inline_asm_elementwise(
        "mov.b32 {$0, $1}, $2;", "=h,=h,r", [pair], dtype=(tl.bfloat16, tl.bfloat16), is_pure=True, pack=1
    )
    return tl.join(low, high)


@triton.jit
def rows_of(first, second):
    """The two rows' pairs, uint32 [P, Q] each in the order of words -> bfloat16 [2 P, 2 Q] in the order of the matrix.

    P is 8 R, Q is 4 C: words are [R, r, t, c], and hold rows 16 R + 8 h + r, columns 8 c + 2 t + i.
    """
    P: tl.constexpr = first.shape[0]
    Q: tl.constexpr = first.shape[1]
    joined = tl.join(_split(first), _split(second))  # [R r, t c, i, h]
    parts = tl.reshape(joined, (P // 8, 8, 4, Q // 4, 2, 2))
    return tl.reshape(tl.permute(parts, (0, 5, 1, 3, 2, 4)), (2 * P, 2 * Q))


@triton.jit
def nvfp4_scaled(values, scales):
    """bfloat16 [N, K] and E4M3 bytes [N, K / 16] -> bfloat16 [N, K], in units of 1 / `UNIT`."""
    N: tl.constexpr = values.shape[0]
    K: tl.constexpr = values.shape[1]
    factors = (scales.to(tl.uint16) << 4).to(tl.bfloat16, bitcast=True) * _UP_ONCE * _UP_AGAIN
    blocks = tl.reshape(values, (N, K // 16, 16)) * factors[:, :, None]
    return tl.reshape(blocks, (N, K))


@triton.jit
def nf4_scaled(codes, table, scales):
    """Codes [N, K], the 16 numbers that they stand for, and scales float32 [N, K / B] -> bfloat16 [N, K]."""
    N: tl.constexpr = codes.shape[0]
    K: tl.constexpr = codes.shape[1]
    G: tl.constexpr = scales.shape[1]
    values = tl.load(table + codes.to(tl.int32))
    blocks = tl.reshape(values, (N, G, K // G)) * scales[:, :, None]
    return tl.reshape(blocks, (N, K)).to(tl.bfloat16)


@triton.jit
def tile_halves(codes, scales, table, ROWS: tl.constexpr, COLUMNS: tl.constexpr, NF4: tl.constexpr):
    """Both halves of a tile of `ROWS` x `COLUMNS`, whose codes and scales begin at these pointers.

    Returns bfloat16 [ROWS, COLUMNS / 2] of the first columns and of the others; of NVFP4 in units of 1 / `UNIT`.
    """
    HALF: tl.constexpr = COLUMNS // 2
    rows = tl.arange(0, ROWS)
    if NF4:
        # a block of 64 columns may span both halves
        GROUPS: tl.constexpr = COLUMNS // 64
        MINE: tl.constexpr = max(GROUPS // 2, 1)
        packed = tl.load(codes + rows[:, None] * HALF + tl.arange(0, HALF)[None, :])
        place = rows[:, None] * GROUPS + tl.arange(0, MINE)[None, :]
        first = nf4_scaled(packed & 15, table, tl.load(scales + place))
        second = nf4_scaled(packed >> 4, table, tl.load(scales + place + (GROUPS - MINE)))
    else:
        words = codes.to(tl.pointer_type(tl.uint32))
        quads = tl.load(words + tl.arange(0, ROWS // 2)[:, None] * (HALF // 2) + tl.arange(0, HALF // 2)[None, :])
        a, b, c, d = pairs(quads)
        place = rows[:, None] * (COLUMNS // 16) + tl.arange(0, HALF // 16)[None, :]
        first = nvfp4_scaled(rows_of(a, b), tl.load(scales + place))
        second = nvfp4_scaled(rows_of(c, d), tl.load(scales + place + HALF // 16))
    return first, second
