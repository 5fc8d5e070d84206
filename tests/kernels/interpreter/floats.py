"""The narrow floating-point formats as arrays of codes, rounded as NVIDIA GPUs round them.

A format's codes are unsigned integers: uint16 for bf16, uint8 for fp8. Rounding is to nearest, ties to even; fp8
saturates (PTX `cvt.rn.satfinite`), bf16 overflows to infinity. Every NaN becomes the one that GPUs write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Bits: TypeAlias = NDArray[np.uint32]
Floats: TypeAlias = NDArray[np.float32]

_BF16_NAN: Final = np.uint16(0x7FFF)
_FP8_NAN: Final = np.uint8(0x7F)


@dataclass(frozen=True)
class Format:
    """A narrow format.

    Attributes:
        decode: the numbers of an array of codes, in float32.
        encode: the codes nearest to an array of numbers.
    """

    decode: Callable[[Array], Floats]
    encode: Callable[[Array], Array]


def decode_bf16(codes: Array) -> Floats:
    """The numbers of bf16 codes, exactly."""
    bits = np.ascontiguousarray(codes).view(np.uint16).astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32).reshape(np.shape(codes))


def encode_bf16(numbers: Array) -> NDArray[np.uint16]:
    """The bf16 codes nearest to numbers of any type; a float64 is rounded once."""
    return _upper_half(numbers, lambda bits: bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))


def truncate_bf16(numbers: Array) -> NDArray[np.uint16]:
    """The bf16 codes of numbers rounded toward zero."""
    return _upper_half(numbers, lambda bits: bits)


def _upper_half(numbers: Array, biased: Callable[[Bits], Bits]) -> NDArray[np.uint16]:
    singles = np.ascontiguousarray(_odd_float32(np.asarray(numbers)))
    codes = (biased(singles.view(np.uint32)) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(singles), _BF16_NAN, codes).reshape(np.shape(numbers))


def fused_multiply_add(x: Array, y: Array, z: Array) -> NDArray[np.float64]:
    """x * y + z in float64, rounded to odd: rounded again, to float32 or less, it is what one rounding gives.

    `x` and `y` hold float32 numbers or narrower ones, so that their product is exact.
    """
    with np.errstate(invalid="ignore"):
        product, addend = np.multiply(x, y, dtype=np.float64), np.asarray(z, dtype=np.float64)
        total = product + addend
        shift = total - product
        error = (product - (total - shift)) + (addend - shift)
    return _to_odd(total, error, np.uint64)


def _odd_float32(numbers: Array) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        singles = numbers.astype(np.float32)
        if numbers.dtype != np.float64:
            return singles
        return _to_odd(singles, numbers - singles, np.uint32)


def _to_odd(rounded: Array, error: Array, bits: type[np.uint32] | type[np.uint64]) -> Array:
    """Moves what was rounded to an even number to its odd neighbour on the side of `error`, exact less rounded.

    An overflow to infinity has an infinite error and comes back to the largest number.
    """
    codes: Array = np.ascontiguousarray(rounded).view(bits).reshape(np.shape(rounded))
    neighbour = np.nextafter(rounded, np.copysign(np.inf, error).astype(rounded.dtype))
    return np.where((codes % 2 == 0) & (error != 0) & ~np.isnan(error), neighbour, rounded)


def _fp8(mantissa_bits: int, bias: int, largest: int, infinity: int | None) -> Format:
    """An 8-bit format whose greatest finite code is `largest`; every code above it is NaN, but for `infinity`."""
    table = _fp8_numbers(mantissa_bits, bias)
    finite = table[: largest + 1].astype(np.float64)
    middles = (finite[1:] + finite[:-1]) / 2
    positive = np.where(np.arange(128) > largest, np.float32(np.nan), table)
    if infinity is not None:
        positive[infinity] = np.inf
    numbers: Floats = np.concatenate([positive, -positive])

    def decode(codes: Array) -> Floats:
        return np.take(numbers, np.asarray(codes).view(np.uint8))

    def encode(values: Array) -> Array:
        wide = np.asarray(values, dtype=np.float64)
        below, above = (np.searchsorted(middles, np.abs(wide), side) for side in ("left", "right"))
        codes = np.where(below % 2 == 0, below, above).astype(np.uint8)
        return np.where(np.isnan(wide), _FP8_NAN, codes | (np.signbit(wide).astype(np.uint8) << np.uint8(7)))

    return Format(decode, encode)


def _fp8_numbers(mantissa_bits: int, bias: int) -> Floats:
    """What the codes 0 to 127 would be without infinities and NaN."""
    codes = np.arange(128)
    exponents, mantissas = codes >> mantissa_bits, codes & ((1 << mantissa_bits) - 1)
    significands = mantissas / (1 << mantissa_bits) + (exponents > 0)
    numbers: NDArray[np.float64] = np.ldexp(significands, np.maximum(exponents, 1) - bias)
    return numbers.astype(np.float32)


BF16: Final = Format(decode_bf16, encode_bf16)
E4M3: Final = _fp8(mantissa_bits=3, bias=7, largest=0x7E, infinity=None)
E5M2: Final = _fp8(mantissa_bits=2, bias=15, largest=0x7B, infinity=0x7C)

_E2M1: Final = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def decode_e2m1(pairs: Array, axis: int) -> Floats:
    """The numbers of bytes that hold two E2M1 codes each, the lower half first; `axis` becomes twice as long."""
    codes = np.moveaxis(pairs.view(np.uint8), axis, -1)
    halves = np.stack([codes & 15, codes >> 4], axis=-1)
    return np.moveaxis(_E2M1[halves.reshape(*codes.shape[:-1], -1)], -1, axis)


def decode_e8m0(codes: Array) -> Floats:
    """The powers of two that E8M0 codes stand for: 2^(code - 127), and NaN for 255."""
    exponents = codes.view(np.uint8).astype(np.int32) - 127
    return np.where(exponents == 128, np.nan, np.exp2(exponents.astype(np.float64))).astype(np.float32)
