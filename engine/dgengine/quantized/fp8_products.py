"""Products in FP8: weights as they are stored, activations quantised row by row in the moment of use.

That is what the format of these checkpoints is made for ("FP8-dynamic"): nothing is decoded, and tensor cores multiply
FP8 at twice the rate of bfloat16. It costs the rounding of the activations to three bits of fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor

from dgengine.errors import described
from dgengine.kernels.trials import relative_error
from dgengine.quantized.base import Quantized
from dgengine.quantized.fp8 import LARGEST, Fp8
from dgengine.quantized.matrices import QuantizedLinear
from dgkernels.tiles import FP8

_MULTIPLE: Final = 16  # of which both sides of a matrix must be one, for the tensor cores
_TOLERANCE: Final = 0.06  # relative; rounding to three bits of fraction makes 0.027 on each side
_TRIED: Final = 24  # rows


@dataclass(frozen=True, slots=True, eq=False)
class Fp8Linear:
    """A `dgengine.linear.Linear` [I, O] in FP8, for bfloat16 activations."""

    matrix: Fp8  # [O, I]
    scales: Tensor  # float32 [1, O]

    @classmethod
    def of(cls, matrix: Fp8) -> Fp8Linear:
        """With the scales as the product wants them."""
        return cls(matrix, matrix.scales.float().t().contiguous())

    @property
    def width(self) -> int:
        """O."""
        return self.matrix.shape[0]

    def __call__(self, x: Tensor) -> Tensor:
        return _product(x, self.matrix.codes, self.scales)

    def columns_from(self, first: int, x: Tensor) -> Tensor:
        return _product(x, self.matrix.codes[first:], self.scales[:, first:].contiguous())

    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.matrix.tensors(), self.scales)


def _product(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """[N, I] times codes [O, I] with scales [1, O] -> [N, O]."""
    rows, factors = _by_kernel(x) if _kernel_runs(x.device) else _by_torch(x)
    return torch._scaled_mm(rows, codes.t(), scale_a=factors, scale_b=scales, out_dtype=x.dtype)


def _by_kernel(x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [N, I] and scales [N, 1] of activations, in one launch."""
    from dgkernels.eights import quantise_rows

    rows = quantise_rows(x)
    return rows.codes, rows.scales.unsqueeze(1)


def _by_torch(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same, in seven."""
    peaks = x.abs().amax(dim=-1, keepdim=True).float().clamp_(min=torch.finfo(torch.float32).tiny * LARGEST)
    factors = peaks / LARGEST
    return (x / factors).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn), factors


@cache
def _kernel_runs(device: torch.device) -> bool:
    """Whether the kernel runs on this device and gives what torch does, for numbers drawn at random."""
    from dgkernels import support

    if support.why_not(device) is not None or support.capability_of(device) < FP8:
        return False
    x = torch.randn(_TRIED, 64, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
    try:
        (codes, scales), (wanted, factors) = _by_kernel(x), _by_torch(x)
        error = relative_error(codes.float() * scales, wanted.float() * factors)
    except Exception:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
        return False
    return error < _TOLERANCE / 6  # of numbers that lie between two codes, either may be taken for the nearer


def joined(parts: Sequence[Quantized]) -> Fp8 | None:
    """Matrices that read the same input as one; None where one is not in FP8."""
    found = [part for part in parts if isinstance(part, Fp8)]
    if len(found) != len(parts) or not found:
        return None
    if len(found) == 1:
        return found[0]
    codes = torch.cat([part.codes.view(torch.uint8) for part in found]).view(torch.float8_e4m3fn)
    return Fp8(codes, torch.cat([part.scales for part in found]))


def why_not(matrix: Fp8, dtype: torch.dtype) -> str | None:
    """Why products with this matrix are not done in FP8, in a few words; None where they are and come out right."""
    device = matrix.codes.device
    if dtype != torch.bfloat16:
        return "they are for bfloat16"
    if any(side % _MULTIPLE for side in matrix.shape):
        return f"a matrix of {matrix.shape[0]} x {matrix.shape[1]} does not fit tensor cores"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < FP8:
        return "this GPU has no FP8"
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_TRIED, matrix.shape[1], generator=generator).to(device, dtype)
    try:
        with torch.inference_mode():
            error = relative_error(Fp8Linear.of(matrix)(x), QuantizedLinear(matrix)(x).float())
    except Exception as failure:  # noqa: BLE001 - what this torch cannot do here is not used
        return f"torch refuses ({described(failure)})"
    return None if error < _TOLERANCE else f"the products are wrong by {error:.1%} here"
