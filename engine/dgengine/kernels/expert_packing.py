"""Prepares the experts of layers for kernels, where these run."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import torch

from dgengine.config import ModelConfig
from dgengine.kernels import expert_trials
from dgengine.kernels.experts import NativeExperts, PackedExperts
from dgengine.kernels.trials import refusal
from dgengine.quantized.matrices import QuantizedExperts
from dgengine.weights import SeparateBranches
from dgkernels.moe.layout import Form, Tile, pack
from dgkernels.tiles import MoeTiles, moe_tiles, native_tiles

if TYPE_CHECKING:
    from dgengine.quantized.base import Quantized

NATIVE: Final = "DGENGINE_FP4"
"""The environment variable that, if 1, has experts in NVFP4 multiplied by tensor cores as they are, where these can:
activations are rounded to four bits then."""


class ExpertPacker:
    """Packs the experts of layer after layer. They are tried on those of the first.

    Attributes:
        reason: why kernels do not compute them, in a few words; None where they do, or where none came yet.
        native_reason: why products in FP4 are not used, which were wished for; else None.
    """

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        """For one model: its dimensions, where it runs, and the dtype of its activations."""
        self.reason: str | None = None
        self.native_reason: str | None = None
        self._config = config
        self._device = device
        self._dtype = dtype
        self._tried = self._native_tried = False

    def __call__(self, branches: SeparateBranches) -> SeparateBranches:
        """A layer with its experts packed, or as it is."""
        gate_up, down = branches.experts_gate_up, branches.experts_down
        if self.reason is not None:
            return branches
        if not isinstance(gate_up, QuantizedExperts) or not isinstance(down, QuantizedExperts):
            return branches
        self.reason = self._why_not(gate_up.stack, down.stack)
        tiles = self._tiles(gate_up.stack) if self.reason is None else None
        if tiles is None:
            return branches
        return self._native(branches, gate_up, down) or self._packed(branches, gate_up, down, tiles)

    def _why_not(self, gate_up: Quantized, down: Quantized) -> str | None:
        from dgkernels import support

        if self._dtype != torch.bfloat16:
            return "they compute in bfloat16"
        if gate_up.form != down.form:
            return f"experts in {gate_up.form} and {down.form} are not mixed"
        if gate_up.form not in ("nvfp4", "nf4"):
            return f"there are none for {gate_up.form}"
        return support.why_not(self._device)

    def _tiles(self, stack: Quantized) -> MoeTiles | None:
        from dgkernels import support

        hidden, width = self._config.hidden_size, self._config.moe_intermediate_size
        tiles = moe_tiles(support.capability_of(self._device), hidden, width, stack.form)
        if tiles is None:
            self.reason = f"experts of {hidden} x {width} cannot be cut into tiles"
        return tiles

    def _packed(
        self, branches: SeparateBranches, gate_up: QuantizedExperts, down: QuantizedExperts, tiles: MoeTiles
    ) -> SeparateBranches:
        packed = replace(
            branches,
            experts_gate_up=self._packed_stack(gate_up.stack, tiles, paired=True),
            experts_down=self._packed_stack(down.stack, tiles, paired=False),
        )
        if not self._tried:
            self._tried = True
            errors = partial(expert_trials.errors, self._config, self._device, branches, packed)
            self.reason = refusal("the experts' kernels", errors, expert_trials.TOLERANCE)
        return packed if self.reason is None else branches

    def _packed_stack(self, stack: Quantized, tiles: MoeTiles, paired: bool) -> PackedExperts:
        rows, columns = tiles.gate_up if paired else tiles.down
        tile = Tile(2 * rows if paired else rows, columns)
        codes, scales, *rest = stack.tensors()
        form: Form = "nf4" if stack.form == "nf4" else "nvfp4"
        packed = pack(codes, scales, rest[0] if rest else None, tile, form, paired, worker=self._device)
        if codes.is_pinned():  # what is streamed from the host's memory is so from where a GPU reads by itself
            packed = packed.holding(tuple(tensor.pin_memory() for tensor in packed.tensors()))
        return PackedExperts(packed, tiles)

    def _native(
        self, branches: SeparateBranches, gate_up: QuantizedExperts, down: QuantizedExperts
    ) -> SeparateBranches | None:
        """With the experts as FP4 tensor cores take them, where that is wished and comes out right."""
        if os.environ.get(NATIVE) != "1" or self.native_reason is not None:
            return None
        from dgkernels import support

        if gate_up.stack.form != "nvfp4":
            self.native_reason = f"there are none for {gate_up.stack.form}"
            return None
        hidden, width = self._config.hidden_size, self._config.moe_intermediate_size
        tiles = native_tiles(support.capability_of(self._device), hidden, width)
        if tiles is None:
            why = support.why_not_native(self._device)
            self.native_reason = why or f"experts of {hidden} x {width} cannot be cut into tiles"
            return None
        native = replace(
            branches, experts_gate_up=NativeExperts(gate_up, tiles), experts_down=NativeExperts(down, tiles)
        )
        if not self._native_tried:
            self._native_tried = True
            self.native_reason = self._try_native(branches, native)
        return native if self.native_reason is None else None

    def _try_native(self, plain: SeparateBranches, native: SeparateBranches) -> str | None:
        from dgkernels import support

        errors = partial(expert_trials.native_errors, self._config, self._device, plain, native)
        return support.why_not_native(self._device) or refusal("their kernels", errors, expert_trials.NATIVE_TOLERANCE)
