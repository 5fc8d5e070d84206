"""Matrices of experts in four bits, drawn at random, as checkpoints have them and dense."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dgkernels.moe.layout import Form, Packed, Tile, pack

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


@dataclass(frozen=True)
class Coded:
    """E matrices [O, I], and the same in float32."""

    codes: Tensor
    scales: Tensor
    global_scales: Tensor | None
    dense: Tensor
    form: Form

    def packed(self, tile: Tile, paired: bool = False) -> Packed:
        return pack(self.codes, self.scales, self.global_scales, tile, self.form, paired)


def draw(experts: int, rows: int, columns: int, form: Form = "nvfp4", parts: int = 1, seed: int = 0) -> Coded:
    """Codes of all kinds; scales such that products are of the size of what they are made of."""
    generator = torch.Generator().manual_seed(seed)
    nibbles = torch.randint(0, 16, (experts, rows, columns), generator=generator, dtype=torch.uint8)
    if form == "nf4":
        return _nf4(nibbles, generator)
    codes = nibbles[..., 0::2] | nibbles[..., 1::2] << 4
    spread = torch.rand(experts, rows, columns // 16, generator=generator) * 4 + 0.25
    scales = spread.to(torch.float8_e4m3fn)
    factors = (torch.rand(experts, parts, generator=generator) + 0.5) * columns**-0.5 / 6
    each = factors.repeat_interleave(rows // parts, dim=1).unsqueeze(-1)
    numbers = E2M1[nibbles.long()] * scales.float().repeat_interleave(16, dim=2)
    return Coded(codes, scales, factors, numbers * each, form)


def _nf4(nibbles: Tensor, generator: torch.Generator) -> Coded:
    from dgkernels.moe.numbers import NF4

    experts, rows, columns = nibbles.shape
    codes = nibbles[..., 0::2] << 4 | nibbles[..., 1::2]
    scales = (torch.rand(experts, rows, columns // 64, generator=generator) + 0.5) * columns**-0.5
    dense = torch.tensor(NF4)[nibbles.long()] * scales.repeat_interleave(64, dim=2)
    return Coded(codes, scales, None, dense, "nf4")


def every_code_and_scale() -> Coded:
    """An NVFP4 matrix in which each code stands beside each scale that is positive and finite: [1, 128, 256]."""
    scales = torch.arange(128, dtype=torch.uint8).clamp(1, 126).view(1, 128, 1).expand(1, 128, 16).contiguous()
    nibbles = torch.arange(16, dtype=torch.uint8).repeat(16).view(1, 1, 256).expand(1, 128, 256)
    codes = (nibbles[..., 0::2] | nibbles[..., 1::2] << 4).contiguous()
    e4m3 = scales.view(torch.float8_e4m3fn)
    dense = E2M1[nibbles.long()] * e4m3.float().repeat_interleave(16, dim=2)
    return Coded(codes, e4m3, torch.ones(1, 1), dense, "nvfp4")
