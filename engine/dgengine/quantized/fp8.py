"""FP8: an E4M3 float a number, one scale for every row (compressed-tensors' "FP8-dynamic").

    weight[o, i] = e4m3(code[o, i]) * scale[o]

E4M3 is torch's `float8_e4m3fn`: 1 bit of sign, 4 of exponent with bias 7, 3 of fraction, no infinities, NaN at 0x7F and
0xFF. Checkpoints store the scale in bfloat16, as [O, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from dgengine.quantized.base import Form, Quantized

LARGEST = 448.0
SMALLEST = 2.0**-9  # above zero
NAN_BYTE = 0x7F  # bytes from here on are NaN or negative


@dataclass(frozen=True, slots=True, eq=False)
class Fp8(Quantized):
    """A matrix [O, I] or a stack [E, O, I] in FP8."""

    codes: Tensor  # float8_e4m3fn [(E,) O, I]
    scales: Tensor  # bfloat16 or float32 [(E,) O, 1]

    form: ClassVar[Form] = "fp8"
    block: ClassVar[int] = 1

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Decodes a matrix to [O, I], in float32 and rounded once to `dtype`."""
        return decode_e4m3(self.codes).mul_(self.scales.float()).to(dtype)


def encode(weight: Tensor) -> Fp8:
    """Quantises a matrix [O, I] of finite numbers row by row: the largest magnitude of a row becomes 448.

    The scale is rounded to bfloat16 first and the codes are made for the rounded one. A row of zeros has the scale 1.

    Raises:
        ValueError: a number is not finite.
    """
    rows = weight.float()
    peaks = rows.abs().amax(dim=1, keepdim=True)
    if not peaks.isfinite().all():
        raise ValueError("it holds numbers that are not finite")
    scales = torch.where(peaks > 0, peaks / LARGEST, torch.ones_like(peaks)).to(torch.bfloat16)
    scales = scales.clamp(min=torch.finfo(torch.bfloat16).tiny)
    # rounding the scale down may leave a quotient a little beyond the largest code, which a cast would turn into NaN
    codes = (rows / scales.float()).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
    return Fp8(codes, scales)


def decode_e4m3(codes: Tensor) -> Tensor:
    """float8_e4m3fn -> float32, exactly; a new tensor."""
    if codes.device.type != "cpu":
        return codes.float()
    # torch converts one number at a time on a CPU; looking up takes less than half
    return _numbers().index_select(0, codes.view(torch.uint8).flatten().int()).view(codes.shape)


@cache
def _numbers() -> Tensor:
    """What every byte stands for: float32 [256]."""
    return torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
