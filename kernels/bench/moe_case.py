"""A mixture of experts to be run: the weights in every form that is asked for, the tokens, and who takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.drawn import Experts, draw_chosen, draw_experts
from bench.sizes import MoeSize
from dgkernels import support
from dgkernels.moe import reference
from dgkernels.moe.layout import Form, Packed, Tile
from dgkernels.tiles import MoeTiles, moe_tiles, native_tiles

if TYPE_CHECKING:
    from dgkernels.moe.alignment import Alignment
    from dgkernels.moe.native import Stack


@dataclass(frozen=True, eq=False)
class Weights:
    """Of one layer. What is made of them is made when it is first asked for, and kept.

    Attributes:
        size: D, X, E and K.
        gate_up: E times [2X, D].
        down: E times [D, X].
        tiles: of the kernels on this device.
    """

    size: MoeSize
    gate_up: Experts
    down: Experts
    tiles: MoeTiles

    @property
    def form(self) -> Form:
        return self.gate_up.form

    @cached_property
    def packed(self) -> tuple[Packed, Packed]:
        """Gate and up, and down, as the kernels read them."""
        (rows, columns), tiles = self.tiles.gate_up, self.tiles
        return self.gate_up.packed(Tile(2 * rows, columns), paired=True), self.down.packed(Tile(*tiles.down), False)

    @property
    def native_tiles(self) -> MoeTiles | None:
        """Of products of NVFP4 by NVFP4; None where this device or this form has none."""
        device, size = self.gate_up.codes.device, self.size
        if self.form != "nvfp4" or support.why_not_native(device) is not None:
            return None
        return native_tiles(support.capability_of(device), size.hidden, size.width)

    @cached_property
    def stacks(self) -> tuple[Stack, Stack]:
        """Both as products of NVFP4 by NVFP4 read them."""
        from dgkernels.moe.native import Stack

        assert self.gate_up.global_scales is not None and self.down.global_scales is not None
        return (
            Stack(self.gate_up.codes, self.gate_up.scales, self.gate_up.global_scales),
            Stack(self.down.codes, self.down.scales, self.down.global_scales),
        )

    @cached_property
    def dense(self) -> tuple[Tensor, Tensor]:
        """Both in float32."""
        return self.gate_up.dense(), self.down.dense()


def draw_weights(size: MoeSize, form: Form, generator: torch.Generator) -> Weights:
    """Of one layer.

    Raises:
        ValueError: the kernels have no tiles for this size on this device.
    """
    tiles = moe_tiles(support.capability_of(generator.device), size.hidden, size.width, form)
    if tiles is None:
        raise ValueError(f"experts of {size.hidden} x {size.width} cannot be cut into tiles")
    gate_up = draw_experts(form, size.experts, 2 * size.width, size.hidden, 2, generator)
    return Weights(size, gate_up, draw_experts(form, size.experts, size.hidden, size.width, 1, generator), tiles)


@dataclass(frozen=True, eq=False)
class Case:
    """Tokens for a layer.

    Attributes:
        weights: of the layer.
        x: bfloat16 [N, D].
        chosen: int32 [N, K].
        factors: float32 [N, K].
        at_once: tokens that the reference takes together; it copies an expert for each.
    """

    weights: Weights
    x: Tensor
    chosen: Tensor
    factors: Tensor
    at_once: int

    @property
    def top_k(self) -> int:
        return self.weights.size.top_k

    @cached_property
    def aligned(self) -> Alignment:
        """The tokens sorted by expert, by the kernel."""
        return self.align()

    @cached_property
    def inner(self) -> Tensor:
        """bfloat16 [N * K, X]: what `down` is given, by the reference."""
        return self.reference_gate_up().bfloat16()

    @cached_property
    def outer(self) -> Tensor:
        """bfloat16 [N * K, D]: what `combine` is given, by the reference."""
        return self.reference_down().bfloat16()

    # the kernels

    def align(self) -> Alignment:
        from dgkernels.moe.alignment import align

        return align(self.chosen, self.weights.size.experts, self.weights.tiles.block)

    def gate_up(self) -> Tensor:
        from dgkernels.moe.products import gate_up

        launch = self.weights.tiles.gate_up_launch
        return gate_up(self.x, self.weights.packed[0], self.aligned, self.top_k, launch)

    def down(self) -> Tensor:
        from dgkernels.moe.products import down

        return down(self.inner, self.weights.packed[1], self.aligned, self.factors, self.weights.tiles.down_launch)

    def combine(self) -> Tensor:
        from dgkernels.moe.products import combine

        return combine(self.outer, self.top_k)

    def experts(self) -> Tensor:
        from dgkernels.moe.products import experts

        return experts(self.x, self.factors, self.chosen, *self.weights.packed, self.weights.tiles)

    def native(self) -> Tensor:
        from dgkernels.moe.native import experts

        tiles = self.weights.native_tiles
        assert tiles is not None
        return experts(self.x, self.factors, self.chosen, *self.weights.stacks, tiles)

    # their references

    def reference_native(self) -> Tensor:
        """Of the activations as they are rounded."""
        gate_up, down = self.weights.dense
        outputs = []
        parts = (each.split(self.at_once) for each in (reference.quantise_blocks(self.x), self.factors, self.chosen))
        for x, factors, chosen in zip(*parts, strict=True):
            inner = reference.quantise_blocks(reference.gate_up(x, gate_up, chosen).bfloat16())
            outputs.append(reference.combine(reference.down(inner, down, chosen, factors), self.top_k))
        return torch.cat(outputs)

    def reference_align(self) -> tuple[Tensor, Tensor, int]:
        return reference.align(self.chosen, self.weights.size.experts, self.weights.tiles.block)

    def reference_gate_up(self) -> Tensor:
        parts = zip(self.x.split(self.at_once), self.chosen.split(self.at_once), strict=True)
        return torch.cat([reference.gate_up(x, self.weights.dense[0], chosen) for x, chosen in parts])

    def reference_down(self) -> Tensor:
        inner, factors = self.inner.split(self.at_once * self.top_k), self.factors.split(self.at_once)
        parts = zip(inner, self.chosen.split(self.at_once), factors, strict=True)
        return torch.cat([reference.down(rows, self.weights.dense[1], chosen, own) for rows, chosen, own in parts])

    def reference_combine(self) -> Tensor:
        return reference.combine(self.outer, self.top_k)

    def reference_experts(self) -> Tensor:
        x, factors, chosen = (each.split(self.at_once) for each in (self.x, self.factors, self.chosen))
        parts = zip(x, factors, chosen, strict=True)
        return torch.cat([reference.experts(*part, *self.weights.dense) for part in parts])


def draw_case(
    weights: Weights,
    tokens: int,
    generator: torch.Generator,
    at_once: int,
    skew: float = 0.0,
    among: int | None = None,
) -> Case:
    """Tokens, and experts chosen for them at random.

    Args:
        at_once: see `Case`.
        skew: above zero, all tokens take the first expert.
        among: only so many of the experts are ever chosen.
    """
    size, device = weights.size, generator.device
    x = torch.randn(tokens, size.hidden, generator=generator, device=device).bfloat16()
    chosen = draw_chosen(tokens, among or size.experts, size.top_k, generator, skew)
    factors = torch.rand(tokens, size.top_k, generator=generator, device=device)
    return Case(weights, x, chosen, factors, at_once)


@dataclass(frozen=True, eq=False)
class Routing:
    """A router to be run: residual bfloat16 [N, D], scale float32 [D], projection bfloat16 [D, E], and K."""

    residual: Tensor
    scale: Tensor
    projection: Tensor
    per_expert_scale: Tensor
    top_k: int
    eps: float = 1e-6

    def route(self) -> tuple[Tensor, Tensor]:
        from dgkernels.moe.routing import route

        return self._call(route)

    def reference_route(self) -> tuple[Tensor, Tensor]:
        return self._call(reference.route)

    def _call(self, function: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return function(self.residual, self.scale, self.projection, self.per_expert_scale, self.top_k, self.eps)


def draw_routing(size: MoeSize, tokens: int, generator: torch.Generator) -> Routing:
    """A router whose scores are spread."""
    normal = partial(torch.randn, generator=generator, device=generator.device)
    scale = torch.rand(size.hidden, generator=generator, device=generator.device) + 0.5
    projection = normal(size.experts, size.hidden).bfloat16().t()  # a view, as the engine has it
    per_expert = torch.rand(size.experts, generator=generator, device=generator.device) + 0.5
    residual = (normal(tokens, size.hidden) * 3).bfloat16()
    return Routing(residual, scale * size.hidden**-0.5, projection, per_expert, size.top_k)
