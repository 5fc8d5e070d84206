"""Rotary position embedding."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from dgengine.config import RopeConfig

_KEPT_RANGES = 8


class RotaryTable:
    """Cosines and sines of one kind of layer, made for ranges of positions and kept while they are in use.

    All steps of a block ask for the same range, so a handful of ranges is all that is ever worth keeping.
    """

    def __init__(self, config: RopeConfig, head_dim: int, device: torch.device) -> None:
        self._inverse_frequencies = inverse_frequencies(config, head_dim).to(device)
        self._ranges: OrderedDict[tuple[int, int], tuple[Tensor, Tensor]] = OrderedDict()

    def range(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Factors for `rotate` at the positions start .. start + count - 1: two of float32 [count, 1, head_dim]."""
        key = (start, count)
        if key not in self._ranges:
            self._ranges[key] = self._make(start, count)
            while len(self._ranges) > _KEPT_RANGES:
                self._ranges.popitem(last=False)
        return self._ranges[key]

    def _make(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        device = self._inverse_frequencies.device
        positions = torch.arange(start, start + count, device=device, dtype=torch.float32)
        angles = torch.outer(positions, self._inverse_frequencies)  # [count, head_dim / 2]
        sine = angles.sin()
        cosine = angles.cos()
        return (
            torch.cat((cosine, cosine), dim=-1).unsqueeze(1),
            torch.cat((-sine, sine), dim=-1).unsqueeze(1),
        )


def inverse_frequencies(config: RopeConfig, head_dim: int) -> Tensor:
    """Radians a position, float32 [head_dim / 2]; the share that does not turn is zero, at the end.

    Source: `_compute_proportional_rope_parameters` of transformers, of which the default rope is the case rotated = 1.
    """
    turning = int(config.rotated * head_dim // 2)
    exponents = torch.arange(0, 2 * turning, 2, dtype=torch.int64).to(torch.float32) / head_dim
    frequencies = torch.zeros(head_dim // 2)
    frequencies[:turning] = 1.0 / (config.theta**exponents)
    return frequencies / config.factor


def rotate(x: Tensor, cosine: Tensor, signed_sine: Tensor) -> Tensor:
    """Turns x [..., T, heads, D] by the factors of `RotaryTable.range`; pairs are (d, d + D / 2)."""
    return (x * cosine).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), signed_sine)
