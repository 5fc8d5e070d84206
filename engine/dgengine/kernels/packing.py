"""Prepares the layers of a model for kernels, one after the other while they are loaded."""

from __future__ import annotations

from dataclasses import replace

import torch

from dgengine.config import ModelConfig
from dgengine.kernels.expert_packing import ExpertPacker
from dgengine.linear import JoinedGated, JoinedLinear, Linear
from dgengine.quantized.fp8_products import Fp8Linear, joined, why_not
from dgengine.quantized.matrices import QuantizedLinear
from dgengine.weights import LayerWeights, SeparateBranches


class Packer:
    """Packs the experts of layer after layer, and has projections in FP8 multiplied as they are, where that runs."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        """For one model: its dimensions, where it runs, and the dtype of its activations."""
        self._experts = ExpertPacker(config, device, dtype)
        self._projections = ProjectionPacker(dtype)

    @property
    def reasons(self) -> list[str]:
        """What is not done by kernels and why, in a few words each; none where all is, or there was nothing to do."""
        eights, fours = self._projections.reason, self._experts.native_reason
        reasons = [
            self._experts.reason,
            eights and f"products in FP8 are not used, {eights}",
            fours and f"products in FP4 are not used, {fours}",
        ]
        return [reason for reason in reasons if reason]

    def __call__(self, layer: LayerWeights) -> LayerWeights:
        """The layer as kernels want it, or as it is."""
        branches = layer.branches
        if not isinstance(branches, SeparateBranches):
            return layer
        project = self._projections
        gated = branches.gate_up
        if isinstance(gated, JoinedGated):
            gated = JoinedGated(project(gated.linear), gated.width)
        branches = replace(branches, gate_up=gated, down=project(branches.down))
        layer = replace(layer, qkv=project(layer.qkv), output=project(layer.output), branches=branches)
        return replace(layer, branches=self._experts(branches))


class ProjectionPacker:
    """Has projections that are stored in FP8 multiplied in FP8. Every shape is tried once.

    Attributes:
        reason: why that is not done, in a few words; None where it is, or where none came yet.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        """`dtype`: of the activations."""
        self.reason: str | None = None
        self._dtype = dtype
        self._tried: set[tuple[int, int]] = set()

    def __call__(self, linear: Linear) -> Linear:
        """The projection in FP8, or as it is."""
        matrix = None
        if isinstance(linear, QuantizedLinear):
            matrix = joined([linear.matrix])
        elif isinstance(linear, JoinedLinear):
            matrix = joined([part.matrix for part in linear.parts if isinstance(part, QuantizedLinear)])
            if matrix is not None and matrix.shape[0] != linear.width:
                return linear  # a part of it is stored otherwise
        if matrix is None or self.reason is not None:
            return linear
        if matrix.shape not in self._tried:
            self.reason = why_not(matrix, self._dtype)
            if self.reason is not None:
                return linear
            self._tried.add(matrix.shape)
        return Fp8Linear.of(matrix)
