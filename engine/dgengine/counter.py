"""Random numbers by counting: any of them can be had from a seed, a block and a step, in any order, on any device.

A generator's state moves on with every draw, so that a step which is computed ahead and then thrown away would change
all that follows, and a graph that is replayed would have to be told where the state stands. Here a step's randomness is
a function of where the step is: the same in a graph, without one, on a GPU and on a CPU.

The function is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a counter in
steps of the golden ratio, and its finaliser.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

_BITS: Final = 2**64
_GOLDEN: Final = 0x9E3779B97F4A7C15
_FACTORS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS: Final = (30, 27, 31)
_MANTISSA: Final = 24  # bits of a float32 between 0 and 1
_PER_POSITION: Final = 3  # numbers: two for the draw, one for the noise


class Draws(NamedTuple):
    """The randomness of one step.

    Attributes:
        uniforms: float32 [C, 2], from 0 to below 1.
        noise: int64 [C], words.
    """

    uniforms: Tensor
    noise: Tensor


def key_of(seed: int, block: int) -> int:
    """Where the numbers of a block begin: an int64 that no other block, and no other seed, is likely to have."""
    return _signed(_finalised((_finalised(seed % _BITS) + block * _GOLDEN) % _BITS))


def draws(key: Tensor, step: Tensor, count: int, words: int) -> Draws:
    """The randomness of a step.

    Args:
        key: int64 [1], of `key_of`.
        step: int64 [1], from 0.
        count: C.
        words: noise is below it; at most 2**31.
    """
    places = torch.arange(1, count * _PER_POSITION + 1, device=key.device)
    counter = places + step * (count * _PER_POSITION)
    bits = _finalised_tensor(key + counter * _signed(_GOLDEN)).view(_PER_POSITION, count)
    uniforms = _logical_shift(bits[:2], 64 - _MANTISSA).float() * 2.0**-_MANTISSA  # exact
    return Draws(uniforms.t().contiguous(), (_logical_shift(bits[2], 32) * words) >> 32)


def _finalised(value: int) -> int:
    first, second, third = _SHIFTS
    value = (value ^ (value >> first)) * _FACTORS[0] % _BITS
    value = (value ^ (value >> second)) * _FACTORS[1] % _BITS
    return value ^ (value >> third)


def _finalised_tensor(values: Tensor) -> Tensor:
    """The same of int64, whose products wrap around."""
    first, second, third = _SHIFTS
    values = (values ^ _logical_shift(values, first)) * _signed(_FACTORS[0])
    values = (values ^ _logical_shift(values, second)) * _signed(_FACTORS[1])
    return values ^ _logical_shift(values, third)


def _logical_shift(values: Tensor, by: int) -> Tensor:
    """To the right, with zeros: torch's own repeats the sign."""
    return torch.bitwise_and(values >> by, 2 ** (64 - by) - 1)


def _signed(value: int) -> int:
    """An unsigned number of 64 bits as int64 has it."""
    return value - _BITS if value >= _BITS // 2 else value
