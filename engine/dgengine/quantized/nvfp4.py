"""NVFP4: four bits a number, one scale for every 16 inputs, one more for the tensor.

A code is an E2M1 float: bit 3 is the sign, bits 0 to 2 number the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6. Byte j of a
row holds element 2j in its low four bits and element 2j + 1 in its high ones. Sixteen neighbours along the input share
a scale in FP8 E4M3, and the tensor has a float32 scale of its own:

    weight[o, i] = e2m1(code[o, i]) * scale[o, i // 16] * global_scale

Checkpoints write the same bytes under two conventions: ModelOpt stores the global scale itself (`weight_scale_2`),
compressed-tensors its reciprocal (`weight_global_scale`). Here it is always the factor.

Sources: the NVFP4 section of NVIDIA's cuDNN and ModelOpt documentation, the OCP Microscaling specification for E2M1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from dgengine.quantized.base import Form, Quantized
from dgengine.quantized.fp8 import LARGEST as LARGEST_SCALE
from dgengine.quantized.fp8 import SMALLEST as SMALLEST_SCALE
from dgengine.quantized.fp8 import decode_e4m3

BLOCK = 16
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
LARGEST = MAGNITUDES[-1]

# A float32's bits, shifted to leave the exponent and the first bit of the fraction, count half binades like a code.
_KEPT = 22
_ROUND_DOWN_TIES = (1 << (_KEPT - 1)) - 1  # with the kept bit added: to nearest, ties to even
_ONE = 0x3F800000  # the bits of 1.0, below which codes are equidistant
_CODE_OF_ONE = 2
_SIGN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Nvfp4(Quantized):
    """A matrix [O, I] or a stack [E, O, I] in NVFP4. I is a multiple of 16.

    A matrix joined from P matrices of equally many rows keeps the global scale of each.
    """

    codes: Tensor  # uint8 [(E,) O, I / 2]
    scales: Tensor  # float8_e4m3fn [(E,) O, I / 16]
    global_scales: Tensor  # float32 [(E,) P]

    form: ClassVar[Form] = "nvfp4"
    block: ClassVar[int] = BLOCK
    together: ClassVar[int] = 2

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Decodes a matrix to [O, I], in float32 and rounded once to `dtype`."""
        parts = self.global_scales.shape[0]
        scales = decode_e4m3(self.scales).unflatten(0, (parts, -1)) * self.global_scales.view(-1, 1, 1)
        values = decode_e2m1(self.codes).view(*self.scales.shape, BLOCK)
        return values.mul_(scales.flatten(0, 1).unsqueeze(-1)).flatten(1).to(dtype)


def encode(weight: Tensor) -> Nvfp4:
    """Quantises a matrix [O, I] of finite numbers as ModelOpt does.

    The global scale maps the largest magnitude to 6 · 448, the largest code times the largest block scale. The scale of
    a block maps its largest magnitude to 6, rounded to E4M3 and kept from underflowing to zero; a block of zeros has
    the scale 1. Codes are rounded to nearest, ties to the even code.

    Raises:
        ValueError: I is no multiple of 16, or a number is not finite.
    """
    if weight.shape[1] % BLOCK:
        raise ValueError(f"rows of {weight.shape[1]} cannot be cut into blocks of {BLOCK}")
    blocks = weight.float().unflatten(1, (-1, BLOCK))  # [O, I / 16, 16]
    peaks = blocks.abs().amax(dim=-1)
    largest = peaks.amax()
    if not largest.isfinite():
        raise ValueError("it holds numbers that are not finite")
    global_scale = _global_scale(largest)
    scales = _block_scales(peaks, global_scale)
    codes = encode_e2m1(blocks / (decode_e4m3(scales) * global_scale).unsqueeze(-1))
    return Nvfp4(pack(codes.flatten(1)), scales, global_scale.view(1))


def _global_scale(largest: Tensor) -> Tensor:
    scale = (largest / (LARGEST * LARGEST_SCALE)).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(largest > 0, scale, torch.ones_like(scale))


def _block_scales(peaks: Tensor, global_scale: Tensor) -> Tensor:
    scales = (peaks / (LARGEST * global_scale)).clamp(SMALLEST_SCALE, LARGEST_SCALE)
    return torch.where(peaks > 0, scales, torch.ones_like(scales)).to(torch.float8_e4m3fn)


def decode_e2m1(packed: Tensor) -> Tensor:
    """Two codes a byte, uint8 [..., n] -> float32 [..., 2n]."""
    pairs = _pairs(packed.device).index_select(0, packed.flatten().int())  # one look-up for both
    return pairs.view(torch.float32).view(*packed.shape[:-1], -1)


def encode_e2m1(x: Tensor) -> Tensor:
    """The codes of the nearest E2M1 numbers, ties to the even code, beyond 6 that of 6: float32 -> uint8, one each."""
    bits = x.view(torch.int32)
    size = bits & 0x7FFFFFFF
    coarse = ((size >> _KEPT) & 1).add_(size).add_(_ROUND_DOWN_TIES) >> _KEPT
    coarse.sub_((_ONE >> _KEPT) - _CODE_OF_ONE).clamp_(max=len(MAGNITUDES) - 1)
    fine = x.abs().mul_(2).clamp_(max=LARGEST).round_().to(torch.int32)  # round is half to even
    codes = torch.where(size < _ONE, fine, coarse)
    return codes.add_((bits < 0).to(torch.int32), alpha=_SIGN).to(torch.uint8)


def pack(codes: Tensor) -> Tensor:
    """One code a byte, uint8 [..., 2n] -> two, uint8 [..., n]."""
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


@cache
def _pairs(device: torch.device) -> Tensor:
    """The two numbers of every byte, as one element of eight bytes: int64 [256]."""
    numbers = torch.tensor((*MAGNITUDES, *(-magnitude for magnitude in MAGNITUDES)))
    byte = torch.arange(256)
    return torch.stack((numbers[byte & 15], numbers[byte >> 4]), dim=1).view(torch.int64).flatten().to(device)
