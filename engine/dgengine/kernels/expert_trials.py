"""Experts by kernels against the same ones by torch, on tokens drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from dgengine.config import ModelConfig
from dgengine.kernels.experts import multiplied
from dgengine.kernels.trials import relative_error
from dgengine.moe import apply_experts, route
from dgengine.norm import gated_gelu, rms_norm
from dgengine.weights import SeparateBranches

TOLERANCE: Final = 0.02
"""Of `errors`. Relative, of the root mean square; bfloat16 alone makes 0.004."""
NATIVE_TOLERANCE: Final = 0.04
"""Of `native_errors`: of numbers that lie between two codes, either may be taken for the nearer."""

_TRIED: Final = 40  # tokens
_NATIVE_TRIED: Final = 3  # each of which has its experts decoded
_ROUTING: Final = 0.1  # of scores that are all but equal, another may be the last that is chosen


def errors(
    config: ModelConfig, device: torch.device, plain: SeparateBranches, packed: SeparateBranches
) -> Iterator[float]:
    """Relative errors of routing and products, of one token and of several.

    Args:
        config: the model's.
        device: where they are computed; experts of a streamed layer are copied there.
        plain: a layer with its experts as torch takes them.
        packed: the same, packed for kernels.
    """
    from dgkernels.moe.routing import route as route_by_kernels

    plain, packed = _on(device, plain), _on(device, packed)
    top_k, eps = config.top_k_experts, config.rms_norm_eps
    for count in (1, _TRIED):
        generator = torch.Generator().manual_seed(count)
        tokens = torch.randn(count, config.hidden_size, generator=generator).to(device, torch.bfloat16)
        scores = (rms_norm(tokens, None, eps, torch.float32) * plain.pre_router).to(tokens.dtype) @ plain.router
        factors, chosen = route(scores, top_k, plain.per_expert_scale)
        wanted = apply_experts(tokens, factors, chosen, plain.experts_gate_up, plain.experts_down).float()
        yield relative_error(multiplied(packed, tokens, factors, chosen.int()), wanted)
        own, found = route_by_kernels(tokens, plain.pre_router, plain.router, plain.per_expert_scale, top_k, eps)
        shares, others = _spread(factors, chosen, scores), _spread(own, found.long(), scores)
        yield relative_error(others, shares) * _ROUTING


def native_errors(
    config: ModelConfig, device: torch.device, plain: SeparateBranches, native: SeparateBranches
) -> Iterator[float]:
    """The relative error of products in FP4, of what torch makes of the rounded activations; arguments as above."""
    from dgkernels.moe.reference import quantise_blocks

    plain, native = _on(device, plain), _on(device, native)
    generator = torch.Generator().manual_seed(0)
    size = (_NATIVE_TRIED, config.hidden_size)
    tokens = torch.randn(size, generator=generator).to(device, torch.bfloat16)
    scores = torch.rand(_NATIVE_TRIED, len(plain.experts_down), generator=generator).to(device)
    factors, chosen = scores.topk(config.top_k_experts, dim=-1)
    wanted = torch.zeros(size, device=device)
    for token, rounded in enumerate(quantise_blocks(tokens)):
        for factor, expert in zip(factors[token], chosen[token].tolist(), strict=True):
            inner = gated_gelu(rounded @ plain.experts_gate_up.matrix(expert, torch.float32)).bfloat16()
            outer = quantise_blocks(inner.unsqueeze(0)) @ plain.experts_down.matrix(expert, torch.float32)
            wanted[token] += factor * outer[0]
    yield relative_error(multiplied(native, tokens, factors, chosen.int()), wanted)


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
