"""The second half of a layer: the dense MLP and the experts side by side, which read the same residual.

There are two ways to it. With many experts, of which a token takes few, every expert has its own product over its own
tokens. With few, it is sooner to compute them all, joined to one matrix with the dense MLP and the router, than to
sort the tokens. N is the number of tokens, D the hidden size, F the dense width, E the experts, X their width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dgengine.kernels.experts import KernelExperts, mixture
from dgengine.moe import apply_experts, route, route_all
from dgengine.norm import rms_norm
from dgengine.weights import JoinedBranches, SeparateBranches


def feed_forward(
    branches: SeparateBranches | JoinedBranches, residual: Tensor, top_k: int, eps: float, dtype: torch.dtype
) -> Tensor:
    """Both branches, each normed, and their sum: residual [N, D] -> [N, D], before the norm that follows it.

    Args:
        dtype: what the products are computed in.
    """
    if isinstance(branches, JoinedBranches):
        both = torch.stack(joined_outputs(branches, rms_norm(residual, None, eps, dtype), top_k))
    else:
        both = _separate(branches, residual, top_k, eps, dtype)
    normed = rms_norm(both, branches.post_norms, eps, residual.dtype)
    return normed[0].add_(normed[1])


def _separate(w: SeparateBranches, residual: Tensor, top_k: int, eps: float, dtype: torch.dtype) -> Tensor:
    """[2, N, D]: the dense MLP's output, and the experts'."""
    normed = rms_norm(residual, None, eps, torch.float32)
    dense = w.down(w.gate_up((normed * w.pre_dense).to(dtype))[0].to(dtype))
    inputs = (normed * w.pre_experts).to(dtype)
    if isinstance(w.experts_gate_up, KernelExperts):
        return torch.stack((dense, mixture(w, residual, inputs, top_k, eps)))
    weights, chosen = route((normed * w.pre_router).to(dtype) @ w.router, top_k, w.per_expert_scale)
    return torch.stack((dense, apply_experts(inputs, weights, chosen, w.experts_gate_up, w.experts_down)))


def joined_outputs(w: JoinedBranches, normed: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The dense MLP's output and the experts', [N, D] each, every expert computed; the weights of others are zero.

    Args:
        normed: the residual without a norm's weight, in the dtype of the products.
    """
    experts, dense_width = w.per_expert_scale.shape[0], w.dense_width
    inner, scores = w.entry(normed)  # [N, F + E X], [N, E + fill]
    weights = route_all(scores[:, :experts], top_k, w.per_expert_scale).to(inner.dtype)
    routed = (inner[:, dense_width:].unflatten(1, (experts, -1)) * weights.unsqueeze(-1)).flatten(1)
    return w.down(inner[:, :dense_width].to(normed.dtype)), w.experts_down(routed.to(normed.dtype))
