"""NF4: four bits that number the quantiles of a normal distribution, one float32 scale for every 64 inputs.

The code, its 16 numbers and the kernels are bitsandbytes'. Its model conversion leaves out the fused 3-D tensors of
experts, so each matrix is quantised by itself here. Byte j of a row holds element 2j in its **high** four bits. A scale
is the largest magnitude of its block.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import ClassVar

import torch
from torch import Tensor

from dgengine.quantized.base import Form, Quantized

BLOCK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Nf4(Quantized):
    """A matrix [O, I] or a stack [E, O, I] in NF4. I is a multiple of 64, so that no block spans two rows."""

    codes: Tensor  # uint8 [(E,) O, I / 2]
    scales: Tensor  # float32 [(E,) O, I / 64]

    form: ClassVar[Form] = "nf4"
    block: ClassVar[int] = BLOCK
    together: ClassVar[int] = 2

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Decodes a matrix to [O, I] by bitsandbytes, straight into `dtype`."""
        functional = _bitsandbytes()
        state = functional.QuantState(
            absmax=self.scales.flatten(),
            shape=torch.Size(self.shape),
            code=_numbers(self.codes.device),
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=dtype,
        )
        weight: Tensor = functional.dequantize_4bit(self.codes.reshape(-1, 1), state)
        return weight


def encode(weight: Tensor) -> Nf4:
    """Quantises a matrix [O, I] of finite numbers.

    Raises:
        ValueError: I is no multiple of 64, or a number is not finite.
    """
    rows, columns = weight.shape
    if columns % BLOCK:
        raise ValueError(f"rows of {columns} cannot be cut into blocks of {BLOCK}")
    if not weight.abs().amax().isfinite():
        raise ValueError("it holds numbers that are not finite")
    plain = weight if weight.dtype == torch.bfloat16 else weight.float()
    codes, state = _bitsandbytes().quantize_4bit(plain.contiguous(), blocksize=BLOCK, quant_type="nf4")
    return Nf4(codes.view(rows, -1), state.absmax.view(rows, -1))


@cache
def _bitsandbytes() -> ModuleType:
    """bitsandbytes' functions, imported when first needed: it takes a second, and warns of kernels it does not find."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import bitsandbytes.functional as functional
    finally:
        logger.setLevel(level)
    return functional


@cache
def _numbers(device: torch.device) -> Tensor:
    """What every code stands for: float32 [16]."""
    numbers: Tensor = _bitsandbytes().get_4bit_type("nf4", device=device)
    return numbers
