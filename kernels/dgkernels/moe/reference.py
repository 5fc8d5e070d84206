"""What each kernel of this package computes, in plain torch: the same names, float32 throughout, no shape but the math.

The matrices are dense here: float32 [E, O, I].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def align(chosen: Tensor, experts: int, block: int) -> tuple[Tensor, Tensor, int]:
    """As `dgkernels.moe.alignment.align`, of what is in use: rows int32, owners int32, and how many blocks."""
    flat = chosen.flatten()
    rows: list[Tensor] = []
    owners: list[int] = []
    for expert in range(experts):
        own = (flat == expert).nonzero().flatten().int()
        blocks = -(-own.numel() // block)
        rows.append(F.pad(own, (0, blocks * block - own.numel()), value=flat.numel()))
        owners += [expert] * blocks
    return torch.cat(rows), torch.tensor(owners, dtype=torch.int32), len(owners)


def route(
    residual: Tensor, scale: Tensor, projection: Tensor, per_expert_scale: Tensor, top_k: int, eps: float
) -> tuple[Tensor, Tensor]:
    """As `dgkernels.moe.routing.route`."""
    x = residual.float()
    normed = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)
    best, chosen = ((normed * scale) @ projection.float()).topk(top_k, dim=-1)
    return best.softmax(dim=-1) * per_expert_scale[chosen], chosen.int()


def quantise_blocks(x: Tensor) -> Tensor:
    """As `dgkernels.moe.native.quantise_blocks`, decoded again: float32 [N, D]."""
    rows = x.float()
    factors = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / (6.0 * 448.0)
    blocks = (rows / factors).unflatten(-1, (-1, 16))
    scales = (blocks.abs().amax(dim=-1, keepdim=True) / 6.0).to(torch.float8_e4m3fn).float()
    quotients = blocks / torch.where(scales > 0, scales, 1.0)
    # half steps up to 2, whole ones up to 4, and 6: `round` sends a tie to the even code
    size = quotients.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    rounded = torch.copysign((size / step).round() * step, quotients).clamp(-6.0, 6.0)
    decoded: Tensor = (rounded * scales).flatten(-2) * factors
    return decoded


def gate_up(x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    """[N, D], [E, 2X, D], int [N, K] -> float32 [N * K, X]."""
    own = weights[chosen.flatten().long()]  # [N * K, 2X, D]
    tokens = x.float().repeat_interleave(chosen.shape[1], dim=0)
    gate, up = torch.einsum("rod,rd->ro", own, tokens).chunk(2, dim=1)
    inner: Tensor = F.gelu(gate, approximate="tanh") * up
    return inner


def down(inner: Tensor, weights: Tensor, chosen: Tensor, factors: Tensor) -> Tensor:
    """[N * K, X], [E, D, X], int [N, K], float32 [N, K] -> float32 [N * K, D]."""
    own = weights[chosen.flatten().long()]
    outer: Tensor = torch.einsum("rdx,rx->rd", own, inner.float())
    return torch.mul(outer, factors.view(-1, 1))


def combine(rows: Tensor, top_k: int) -> Tensor:
    """[N * K, D] -> float32 [N, D]."""
    own: Tensor = rows.float().unflatten(0, (-1, top_k))
    return own.sum(dim=1)


def experts(x: Tensor, factors: Tensor, chosen: Tensor, gate_up_weights: Tensor, down_weights: Tensor) -> Tensor:
    """As `dgkernels.moe.products.experts`: [N, D] -> float32 [N, D]."""
    inner = gate_up(x, gate_up_weights, chosen)
    return combine(down(inner, down_weights, chosen, factors), chosen.shape[1])
