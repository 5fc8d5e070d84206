# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""FP8 (E4M3) with a scale a row: how activations are quantised in the moment of use, in one launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from dgkernels.launching import on_device_of_first

LARGEST: Final = 448.0
_ELEMENTS: Final = 4096  # that a program takes at least
_LEAST: Final = 1e-30  # of a row's largest number, so that a row of zeros has a scale


@dataclass(frozen=True, slots=True, eq=False)
class EightBits:
    """A matrix [N, D], each row's codes times its scale.

    Attributes:
        codes: float8_e4m3fn [N, D].
        scales: float32 [N].
    """

    codes: Tensor
    scales: Tensor

    def dense(self) -> Tensor:
        """float32 [N, D]."""
        return self.codes.float() * self.scales.unsqueeze(1)

    def split(self, rows: int) -> Iterator[EightBits]:
        """So many rows at a time."""
        pieces = zip(self.codes.split(rows), self.scales.split(rows), strict=True)
        return (EightBits(codes, scales) for codes, scales in pieces)


@on_device_of_first
def quantise_rows(x: Tensor) -> EightBits:
    """Each row so that its largest magnitude is 448: bfloat16 or float32 [N, D]."""
    count, width = x.shape
    x, codes = x.contiguous(), x.new_empty(count, width, dtype=torch.float8_e4m3fn)
    scales = x.new_empty(count, dtype=torch.float32)
    padded = triton.next_power_of_2(width)
    rows = max(1, _ELEMENTS // padded)
    _quantise_rows[(triton.cdiv(count, rows),)](
        x, codes, scales, count, WIDTH=width, PADDED=padded, ROWS=rows, LARGEST=LARGEST, LEAST=_LEAST,
        num_warps=min(max(rows * padded // 512, 1), 16),
    )  # fmt: skip
    return EightBits(codes, scales)


@triton.jit
def _quantise_rows(
    x, codes, scales, count,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, LARGEST: tl.constexpr, LEAST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, PADDED)
    present = (row < count)[:, None] & (column < WIDTH)[None, :]
    places = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    value = tl.load(x + places, mask=present, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(value), 1), LEAST) / LARGEST
    # a quotient that is rounded up lies beyond what a code can say
    quotient = tl.minimum(tl.maximum(value / scale[:, None], -LARGEST), LARGEST)
    quotient = tl.where(value == value, quotient, value)  # NaN is not to become a number
    tl.store(codes + places, quotient.to(tl.float8e4nv), mask=present)
    tl.store(scales + row, scale, mask=row < count)
