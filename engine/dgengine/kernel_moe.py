"""The mixture of experts by the kernels of `dgkernels`, on devices that run them.

Before a model's first experts are packed for them, the kernels are tried on these: what a GPU, a driver or a compiler
makes of them that is not the torch path's result, within what bfloat16 can tell, is not used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor

from dgengine.config import ModelConfig
from dgengine.errors import described
from dgengine.linear import JoinedGated, JoinedLinear, Linear
from dgengine.moe import apply_experts, route
from dgengine.norm import gated_gelu, rms_norm
from dgengine.quantized.fp8_products import Fp8Linear, joined, why_not
from dgengine.quantized.matrices import QuantizedExperts, QuantizedLinear
from dgengine.quantized.nf4 import Nf4
from dgengine.quantized.nvfp4 import Nvfp4
from dgengine.trials import relative_error
from dgengine.weights import LayerWeights, SeparateBranches
from dgkernels.moe.layout import Form, Packed, Tile, pack, unpack
from dgkernels.tiles import MoeTiles, moe_tiles, native_tiles

if TYPE_CHECKING:
    from dgengine.quantized.base import Quantized
    from dgkernels.moe.native import Stack

NATIVE: Final = "DGENGINE_FP4"
"""The environment variable that, if 1, has experts in NVFP4 multiplied by tensor cores as they are, where these can:
activations are rounded to four bits then."""

_TRIED: Final = 40  # tokens
_NATIVE_TRIED: Final = 3  # each of which has its experts decoded
_ROUTING: Final = 0.1  # of scores that are all but equal, another may be the last that is chosen
_NATIVE_TOLERANCE: Final = 0.04  # of numbers that lie between two codes, either may be taken for the nearer
_TOLERANCE: Final = 0.02  # relative, of the root mean square; bfloat16 alone makes 0.004


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
    return _multiplied(w, inputs, factors, chosen)


def _multiplied(w: SeparateBranches, inputs: Tensor, factors: Tensor, chosen: Tensor) -> Tensor:
    gate_up, down = w.experts_gate_up, w.experts_down
    if isinstance(gate_up, NativeExperts) and isinstance(down, NativeExperts):
        from dgkernels.moe import native

        return native.experts(inputs, factors, chosen, gate_up.stack, down.stack, gate_up.tiles)
    from dgkernels.moe import products

    assert isinstance(gate_up, PackedExperts) and isinstance(down, PackedExperts)
    return products.experts(inputs, factors, chosen, gate_up.packed, down.packed, gate_up.tiles)


class Packer:
    """Prepares layer after layer for kernels, where they run: experts are packed, FP8 is multiplied as it is."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        """Makes a packer for one model.

        Args:
            config: its dimensions.
            device: where it runs.
            dtype: of its activations.
        """
        self._config = config
        self._device = device
        self._reasons: list[str] = []
        self._used = True  # until the experts are refused
        self._native: bool | None = None  # whether they are multiplied in FP4; None until that has been tried
        self._fp8_refused = False
        self._fp8_tried: set[tuple[int, int]] = set()
        self._tried = False
        self._dtype = dtype

    @property
    def reason(self) -> str | None:
        """Why they do not, in a few words; None where they do, or where there was nothing to pack."""
        return "; ".join(self._reasons) or None

    def __call__(self, layer: LayerWeights) -> LayerWeights:
        """The layer with its experts packed and its projections multiplied in FP8, or as it is."""
        if not isinstance(layer.branches, SeparateBranches):
            return layer
        return self._with_experts(self._with_fp8(layer, layer.branches))

    def _with_fp8(self, layer: LayerWeights, branches: SeparateBranches) -> LayerWeights:
        """With products in FP8 where the projections are stored so, and where this works."""
        gated = branches.gate_up
        if isinstance(gated, JoinedGated):
            gated = JoinedGated(self._fp8_or(gated.linear), gated.width)
        branches = replace(branches, gate_up=gated, down=self._fp8_or(branches.down))
        return replace(layer, qkv=self._fp8_or(layer.qkv), output=self._fp8_or(layer.output), branches=branches)

    def _fp8_or(self, linear: Linear) -> Linear:
        if isinstance(linear, QuantizedLinear):
            matrix = joined([linear.matrix])
        elif isinstance(linear, JoinedLinear):
            matrix = joined([part.matrix for part in linear.parts if isinstance(part, QuantizedLinear)])
            if matrix is not None and matrix.shape[0] != linear.width:
                return linear  # a part of it is stored otherwise
        else:
            return linear
        if matrix is None or self._fp8_refused:
            return linear
        if matrix.shape not in self._fp8_tried:
            refusal = why_not(matrix, self._dtype)
            if refusal is not None:
                self._fp8_refused = True
                self._reasons.append(f"products in FP8 are not used, {refusal}")
                return linear
            self._fp8_tried.add(matrix.shape)
        return Fp8Linear.of(matrix)

    def _with_experts(self, layer: LayerWeights) -> LayerWeights:
        branches = layer.branches
        if not self._used or not isinstance(branches, SeparateBranches):
            return layer
        gate_up, down = branches.experts_gate_up, branches.experts_down
        if not isinstance(gate_up, QuantizedExperts) or not isinstance(down, QuantizedExperts):
            return layer
        if self._dtype != torch.bfloat16:
            self._refuse("they compute in bfloat16")
            return layer
        if gate_up.stack.form != down.stack.form:
            self._refuse(f"experts in {gate_up.stack.form} and {down.stack.form} are not mixed")
            return layer
        tiles = self._tiles(gate_up.stack)
        if tiles is None:
            return layer
        if (native := self._in_fp4(branches, gate_up, down)) is not None:
            return replace(layer, branches=native)
        packed = replace(
            branches,
            experts_gate_up=self._packed(gate_up.stack, tiles, paired=True),
            experts_down=self._packed(down.stack, tiles, paired=False),
        )
        if not self._tried:
            self._try(branches, packed)
        return replace(layer, branches=packed) if self._used else layer

    def _in_fp4(
        self, branches: SeparateBranches, gate_up: QuantizedExperts, down: QuantizedExperts
    ) -> SeparateBranches | None:
        """With the experts as FP4 tensor cores take them, where that is wished and comes out right."""
        if os.environ.get(NATIVE) != "1" or self._native is False:
            return None
        from dgkernels import support

        hidden, width = self._config.hidden_size, self._config.moe_intermediate_size
        tiles = native_tiles(support.capability_of(self._device), hidden, width)
        if tiles is None:
            reason = support.why_not_native(self._device)
            self._refuse_fp4(reason or f"experts of {hidden} x {width} cannot be cut into tiles")
            return None
        native = replace(
            branches, experts_gate_up=NativeExperts(gate_up, tiles), experts_down=NativeExperts(down, tiles)
        )
        if self._native is None:
            self._try_fp4(branches, native, gate_up.stack.form)
        return native if self._native else None

    def _refuse_fp4(self, reason: str) -> None:
        self._native = False
        self._reasons.append(f"products in FP4 are not used, {reason}")

    def _try_fp4(self, plain: SeparateBranches, native: SeparateBranches, form: str) -> None:
        """Whether they can be had, and give what torch makes of the rounded activations."""
        from dgkernels import support

        if form != "nvfp4":
            self._refuse_fp4(f"there are none for {form}")
        elif (reason := support.why_not_native(self._device)) is not None:
            self._refuse_fp4(reason)
        else:
            self._native = True
            try:
                with torch.inference_mode():
                    error = self._native_difference(_on(self._device, plain), _on(self._device, native))
            except Exception as failure:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
                self._refuse_fp4(f"they fail here ({described(failure)})")
                return
            if not error < _NATIVE_TOLERANCE:  # NaN as well
                self._refuse_fp4(f"their results differ from torch's by {error:.1%} here")

    def _native_difference(self, plain: SeparateBranches, native: SeparateBranches) -> float:
        """The relative error of the kernels, of what torch makes of the rounded activations."""
        from dgkernels.moe.reference import quantise_blocks

        generator = torch.Generator().manual_seed(0)
        size = (_NATIVE_TRIED, self._config.hidden_size)
        tokens = torch.randn(size, generator=generator).to(self._device, torch.bfloat16)
        scores = torch.rand(_NATIVE_TRIED, len(plain.experts_down), generator=generator).to(self._device)
        factors, chosen = scores.topk(self._config.top_k_experts, dim=-1)
        wanted = torch.zeros(size, device=self._device)
        for token, rounded in enumerate(quantise_blocks(tokens)):
            for factor, expert in zip(factors[token], chosen[token].tolist(), strict=True):
                inner = gated_gelu(rounded @ plain.experts_gate_up.matrix(expert, torch.float32)).bfloat16()
                outer = quantise_blocks(inner.unsqueeze(0)) @ plain.experts_down.matrix(expert, torch.float32)
                wanted[token] += factor * outer[0]
        found = _multiplied(native, tokens, factors, chosen.int())
        return relative_error(found, wanted)

    def _refuse(self, reason: str) -> None:
        self._used = False
        self._reasons.append(reason)

    def _tiles(self, stack: Quantized) -> MoeTiles | None:
        """The tiles for experts in this form; None where the kernels do not take them."""
        from dgkernels import support

        if stack.form not in ("nvfp4", "nf4"):
            self._refuse(f"there are none for {stack.form}")
            return None
        reason = support.why_not(self._device)
        if reason is not None:
            self._refuse(reason)
            return None
        config = self._config
        capability = support.capability_of(self._device)
        tiles = moe_tiles(capability, config.hidden_size, config.moe_intermediate_size, stack.form)
        if tiles is None:
            self._refuse(f"experts of {config.hidden_size} x {config.moe_intermediate_size} cannot be cut into tiles")
        return tiles

    def _packed(self, stack: Quantized, tiles: MoeTiles, paired: bool) -> PackedExperts:
        rows, columns = tiles.gate_up if paired else tiles.down
        tile = Tile(2 * rows if paired else rows, columns)
        codes, scales, *rest = stack.tensors()
        form: Form = "nf4" if stack.form == "nf4" else "nvfp4"
        packed = pack(codes, scales, rest[0] if rest else None, tile, form, paired, worker=self._device)
        if codes.is_pinned():  # what is streamed from the host's memory is so from where a GPU reads by itself
            packed = packed.holding(tuple(tensor.pin_memory() for tensor in packed.tensors()))
        return PackedExperts(packed, tiles)

    def _try(self, plain: SeparateBranches, packed: SeparateBranches) -> None:
        """Whether both give the same; if not, the kernels are not used."""
        self._tried = True
        try:
            error = self._difference(_on(self._device, plain), _on(self._device, packed))
        except Exception as failure:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
            self._refuse(f"they fail here ({described(failure)})")
            return
        if not error < _TOLERANCE:  # NaN as well
            self._refuse(f"their results differ from torch's by {error:.1%} here")

    def _difference(self, plain: SeparateBranches, packed: SeparateBranches) -> float:
        """The larger relative error of the kernels, of one token and of several, drawn at random."""
        with torch.inference_mode():
            return max(self._difference_on(count, plain, packed) for count in (1, _TRIED))

    def _difference_on(self, count: int, plain: SeparateBranches, packed: SeparateBranches) -> float:
        from dgkernels.moe.routing import route as route_by_kernels

        top_k, eps = self._config.top_k_experts, self._config.rms_norm_eps
        generator = torch.Generator().manual_seed(count)
        tokens = torch.randn(count, self._config.hidden_size, generator=generator).to(self._device, torch.bfloat16)
        scores = (rms_norm(tokens, None, eps, torch.float32) * plain.pre_router).to(tokens.dtype) @ plain.router
        factors, chosen = route(scores, top_k, plain.per_expert_scale)
        wanted = apply_experts(tokens, factors, chosen, plain.experts_gate_up, plain.experts_down).float()
        got = _multiplied(packed, tokens, factors, chosen.int())
        own, found = route_by_kernels(tokens, plain.pre_router, plain.router, plain.per_expert_scale, top_k, eps)
        shares, others = _spread(factors, chosen, scores), _spread(own, found.long(), scores)
        return max(relative_error(got, wanted), relative_error(others, shares) * _ROUTING)


def _spread(factors: Tensor, chosen: Tensor, scores: Tensor) -> Tensor:
    """Routing weights [N, K] as [N, E]."""
    return torch.zeros_like(scores, dtype=torch.float32).scatter_(1, chosen, factors)


def _on(device: torch.device, branches: SeparateBranches) -> SeparateBranches:
    """With the experts on the device, of a layer that may be streamed."""
    gate_up, down = branches.experts_gate_up, branches.experts_down
    return replace(
        branches,
        experts_gate_up=gate_up.holding(tuple(tensor.to(device) for tensor in gate_up.tensors())),
        experts_down=down.holding(tuple(tensor.to(device) for tensor in down.tensors())),
    )
