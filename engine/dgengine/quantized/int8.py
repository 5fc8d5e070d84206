"""int8: a whole number from -127 to 127, one scale for every row (bitsandbytes' vector-wise code, weights only).

    weight[o, i] = code[o, i] * peak[o] / 127

The codes are bitsandbytes' to the bit, but made here: its kernel for GPUs takes float16 only, which bfloat16 weights
may overflow. Its product quantises the activations as well, and is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dgengine.quantized.base import Form, Quantized

LARGEST = 127.0


@dataclass(frozen=True, slots=True, eq=False)
class Int8(Quantized):
    """A matrix [O, I] or a stack [E, O, I] in int8."""

    codes: Tensor  # int8 [(E,) O, I]
    scales: Tensor  # float32 [(E,) O, 1], the peak of a row over 127

    form: ClassVar[Form] = "int8"
    block: ClassVar[int] = 1

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Decodes a matrix to [O, I], in float32 and rounded once to `dtype`."""
        return (self.codes * self.scales).to(dtype)


def encode(weight: Tensor) -> Int8:
    """Quantises a matrix [O, I] of finite numbers row by row: the largest magnitude of a row becomes 127.

    A row of zeros has the scale 1.

    Raises:
        ValueError: a number is not finite.
    """
    rows = weight.float()
    peaks = rows.abs().amax(dim=1, keepdim=True)
    if not peaks.isfinite().all():
        raise ValueError("it holds numbers that are not finite")
    peaks = torch.where(peaks > 0, peaks, LARGEST).clamp_(min=LARGEST * torch.finfo(torch.float32).tiny)
    codes = (rows * (LARGEST / peaks)).round_().clamp_(-LARGEST, LARGEST)  # a product, as in bitsandbytes
    return Int8(codes.to(torch.int8), peaks / LARGEST)
