"""The mixture of experts by the kernels of `dgkernels`: how experts are held for them, and their products.

Which layers have theirs so is decided while they are loaded (`dgengine.kernels.expert_packing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from dgengine.quantized.matrices import QuantizedExperts
from dgengine.quantized.nf4 import Nf4
from dgengine.quantized.nvfp4 import Nvfp4
from dgengine.weights import SeparateBranches
from dgkernels.moe.layout import Form, Packed, unpack
from dgkernels.tiles import MoeTiles

if TYPE_CHECKING:
    from dgkernels.moe.native import Stack


@dataclass(frozen=True, slots=True, eq=False)
class PackedExperts:
    """A `dgengine.moe.Experts` as the kernels read it; for anything else a matrix is unpacked, slowly."""

    packed: Packed
    tiles: MoeTiles

    @property
    def width(self) -> int:
        """O."""
        return self.packed.shape[0]

    @property
    def form(self) -> Form:
        """How they are coded."""
        return self.packed.form

    def __len__(self) -> int:
        return self.packed.experts

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        one = self.packed.holding(tuple(tensor[expert : expert + 1] for tensor in self.packed.tensors()))
        codes, scales = unpack(one)
        if self.packed.form == "nf4":
            return Nf4(codes[0], scales[0]).dense(dtype).t()
        return Nvfp4(codes[0], scales[0], one.global_scales[0]).dense(dtype).t()

    def tensors(self) -> tuple[Tensor, ...]:
        return self.packed.tensors()

    def holding(self, tensors: Sequence[Tensor]) -> PackedExperts:
        return PackedExperts(self.packed.holding(tuple(tensors)), self.tiles)


@dataclass(frozen=True, slots=True, eq=False)
class NativeExperts:
    """A `dgengine.moe.Experts` in NVFP4 as checkpoints have it, which is how FP4 tensor cores want it."""

    experts: QuantizedExperts
    tiles: MoeTiles

    @property
    def width(self) -> int:
        """O."""
        return self.experts.width

    @property
    def form(self) -> Form:
        """How they are coded."""
        return "nvfp4"

    @property
    def stack(self) -> Stack:
        """As the kernels read them."""
        from dgkernels.moe.native import Stack

        return Stack(*self.tensors())

    def __len__(self) -> int:
        return len(self.experts)

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        return self.experts.matrix(expert, dtype)

    def tensors(self) -> tuple[Tensor, ...]:
        return self.experts.tensors()

    def holding(self, tensors: Sequence[Tensor]) -> NativeExperts:
        return NativeExperts(self.experts.holding(tensors), self.tiles)


KernelExperts: TypeAlias = PackedExperts | NativeExperts
"""Experts that kernels compute."""


def mixture(w: SeparateBranches, residual: Tensor, inputs: Tensor, top_k: int, eps: float) -> Tensor:
    """Routing and experts of a layer whose experts are `KernelExperts`: [N, D] -> bfloat16 [N, D].

    Args:
        w: the layer's weights.
        residual: what the router norms and reads.
        inputs: what the experts read, normed already; bfloat16.
        top_k: experts a token.
        eps: of the router's norm.
    """
    from dgkernels.moe.routing import route

    factors, chosen = route(residual, w.pre_router, w.router, w.per_expert_scale, top_k, eps)
    return multiplied(w, inputs, factors, chosen)


def multiplied(w: SeparateBranches, inputs: Tensor, factors: Tensor, chosen: Tensor) -> Tensor:
    """The weighted sum of each token's experts, as `dgengine.moe.apply_experts`; `chosen` is int32 [N, K]."""
    gate_up, down = w.experts_gate_up, w.experts_down
    if isinstance(gate_up, NativeExperts) and isinstance(down, NativeExperts):
        from dgkernels.moe import native

        return native.experts(inputs, factors, chosen, gate_up.stack, down.stack, gate_up.tiles)
    from dgkernels.moe import products

    assert isinstance(gate_up, PackedExperts) and isinstance(down, PackedExperts)
    return products.experts(inputs, factors, chosen, gate_up.packed, down.packed, gate_up.tiles)
