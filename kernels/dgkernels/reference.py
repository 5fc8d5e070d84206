"""What the kernels beside this file compute, in plain torch: the same names, float32 throughout, no shape but the math.

Results are float32; what a kernel rounds on the way, as a residual that it writes, is not rounded here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor | None, eps: float, factor: float = 1.0) -> Tensor:
    """As `dgkernels.norms.rms_norm`, of any last dimension."""
    x = x.float() * factor
    normed: Tensor = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)
    return normed if weight is None else normed * weight.float()


def quantise_rows(x: Tensor) -> Tensor:
    """As `dgkernels.eights.quantise_rows`, decoded again."""
    rows = x.float()
    scales = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / 448.0
    return (rows / scales).clamp(-448.0, 448.0).to(torch.float8_e4m3fn).float() * scales


def embed(ids: Tensor, embedding: Tensor, scale: float, signal: Tensor | None, eps: float) -> Tensor:
    """As `dgkernels.norms.embed`."""
    found = embedding[ids].float() * scale
    return rms_norm(found if signal is None else found + signal.float(), None, eps)


def add_norm(
    residual: Tensor, x: Tensor, weight: Tensor, eps: float, then: tuple[Tensor | None, Tensor | None]
) -> tuple[Tensor, Tensor, Tensor]:
    """As `dgkernels.norms.add_norm`."""
    total = residual.float() + rms_norm(x, weight, eps)
    return total, rms_norm(total, then[0], eps), rms_norm(total, then[1], eps)


def join_branches(
    residual: Tensor,
    branches: tuple[Tensor, Tensor],
    branch_weights: Tensor,
    weight: Tensor,
    scalar: float,
    eps: float,
    then: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As `dgkernels.norms.join_branches`."""
    both = rms_norm(branches[0], branch_weights[0], eps) + rms_norm(branches[1], branch_weights[1], eps)
    total = (residual.float() + rms_norm(both, weight, eps)) * scalar
    return total, rms_norm(total, then, eps)


def gelu_gate(gate_up: Tensor) -> Tensor:
    """As `dgkernels.gated.gelu_gate`."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    inner: Tensor = F.gelu(gate, approximate="tanh") * up
    return inner


def rotate_into(
    raw: Tensor, weights: Tensor, cosine: Tensor, signed_sine: Tensor, eps: float, kv_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `dgkernels.rotary.rotate_into`, of all tokens: queries [H, T, D], keys and values [KV, T, D]."""
    width = weights.shape[1]
    normed = rms_norm(raw.unflatten(1, (-1, width)), None, eps)
    weighted = normed[:, : weights.shape[0]] * weights
    turned = weighted * cosine.view(-1, 1, width) + weighted.roll(width // 2, -1) * signed_sine.view(-1, 1, width)
    queries, keys = turned.transpose(0, 1).split((weights.shape[0] - kv_heads, kv_heads))
    return queries, keys, normed[:, -kv_heads:].transpose(0, 1)


def attend_canvas(queries: Tensor, keys: Tensor, values: Tensor, start: int, end: int) -> Tensor:
    """As `dgkernels.attention.attend_canvas`."""
    group = queries.shape[0] // keys.shape[0]
    seen = [each[:, start:end].float().repeat_interleave(group, dim=0) for each in (keys, values)]
    out: Tensor = (queries.float() @ seen[0].transpose(1, 2)).softmax(-1) @ seen[1]
    return out.transpose(0, 1).flatten(1)
