"""Products with quantised matrices in plain torch, on any device: decoded when used, and let go of at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dgengine.quantized.base import Quantized


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedLinear:
    """A `dgengine.linear.Linear` [I, O] whose matrix is decoded in every product."""

    matrix: Quantized  # [O, I]

    @property
    def width(self) -> int:
        """O."""
        return self.matrix.shape[0]

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.matrix.dense(x.dtype).t()

    def columns_from(self, first: int, x: Tensor) -> Tensor:
        return x @ self.matrix.dense(x.dtype)[first:].t()

    def tensors(self) -> tuple[Tensor, ...]:
        return self.matrix.tensors()


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedExperts:
    """A `dgengine.moe.Experts` of which the one in use is decoded, and no other."""

    stack: Quantized  # [E, O, I]

    @property
    def width(self) -> int:
        """O."""
        return self.stack.shape[0]

    def __len__(self) -> int:
        return self.stack.tensors()[0].shape[0]

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        return self.stack[expert].dense(dtype).t()

    def tensors(self) -> tuple[Tensor, ...]:
        return self.stack.tensors()

    def holding(self, tensors: Sequence[Tensor]) -> QuantizedExperts:
        return QuantizedExperts(self.stack.holding(tensors))
