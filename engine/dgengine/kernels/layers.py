"""What lies between a layer's products, by the kernels of `dgkernels`, on devices that run them.

Norms, rotation, gates and residuals are nothing but bytes to move and launches to wait for: torch takes some thirty of
these in a layer, and they take four.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, Protocol

import torch
from torch import Tensor

from dgengine.config import ModelConfig
from dgengine.feed_forward import joined_outputs
from dgengine.kernels import trials
from dgengine.kernels.experts import KernelExperts, mixture
from dgengine.kernels.trials import relative_error
from dgengine.linear import Gated, JoinedGated
from dgengine.moe import apply_experts, route
from dgengine.weights import JoinedBranches, LayerWeights, SeparateBranches, Weights

_TRIED: Final = 24  # tokens
_TOLERANCE: Final = 0.01  # relative, of the root mean square; bfloat16 alone makes 0.003


class _Drawn(Protocol):
    def __call__(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor: ...


class KernelLayers:
    """The parts of a layer that are no products. N tokens, D hidden, H query heads, KV K/V heads of width d."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        """Makes them for one model, whose products are in `dtype`."""
        self._eps = config.rms_norm_eps
        self._top_k = config.top_k_experts
        self._dtype = dtype

    def norm(self, x: Tensor, weight: Tensor | None, factor: float = 1.0) -> Tensor:
        """The norm of `factor` * x, [N, D], in the dtype of products."""
        from dgkernels.norms import rms_norm

        return rms_norm(x, weight, self._eps, self._dtype, factor)

    def embed(self, ids: Tensor, embedding: Tensor, scale: float, signal: Tensor | None, dtype: torch.dtype) -> Tensor:
        """A canvas int64 [N] with what the step before thought of it, normed: [N, D] in `dtype`."""
        from dgkernels.norms import embed

        return embed(ids, embedding, scale, signal, self._eps, dtype)

    def gated(self, gated: Gated, x: Tensor) -> Tensor:
        """gelu(gate) * up of x: [N, F]."""
        from dgkernels.gated import gelu_gate

        if isinstance(gated, JoinedGated):
            return gelu_gate(gated.linear(x)[:, : 2 * gated.width])
        return gated(x)[0].to(self._dtype)

    def rotate(
        self,
        layer: LayerWeights,
        raw: Tensor,
        rotary: tuple[Tensor, Tensor],
        keys: Tensor,
        values: Tensor,
        rows: Tensor | None = None,
        known: int = 0,
    ) -> Tensor:
        """Norms and rotates what a layer's fused projection made, and puts keys and values where they are kept.

        Args:
            raw: [N, heads * d], with the queries or without.
            rotary: the factors of its tokens.
            keys: [KV, S, d].
            values: the same.
            rows: int64 [N], where in S; None for the first ones.
            known: tokens at the front that are there already.

        Returns:
            The queries [H, N, d]; without, [0, N, d].
        """
        from dgkernels.rotary import rotate_into

        own = layer.config
        heads = raw.shape[1] // own.head_dim - (own.num_key_value_heads if own.kind == "sliding" else 0)
        return rotate_into(raw, layer.qk_norm[-heads:], *rotary, self._eps, keys, values, rows, known)

    def after_attention(self, layer: LayerWeights, residual: Tensor, attended: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The new residual, and what the dense MLP and the experts read: all [N, D]."""
        from dgkernels.norms import add_norm

        w = layer.branches
        then = (w.pre_dense, w.pre_experts) if isinstance(w, SeparateBranches) else (None, None)
        return add_norm(residual, attended, layer.post_attention_norm, self._eps, then, self._dtype)

    def branches(
        self, w: SeparateBranches | JoinedBranches, residual: Tensor, dense: Tensor, experts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The outputs of the dense MLP and of the experts, of what `after_attention` gave."""
        if isinstance(w, JoinedBranches):
            return joined_outputs(w, dense, self._top_k)
        first = w.down(self.gated(w.gate_up, dense))
        if isinstance(w.experts_gate_up, KernelExperts):
            return first, mixture(w, residual, experts, self._top_k, self._eps)
        weights, chosen = route(self.norm(residual, w.pre_router) @ w.router, self._top_k, w.per_expert_scale)
        return first, apply_experts(experts, weights, chosen, w.experts_gate_up, w.experts_down)

    def after_branches(
        self, layer: LayerWeights, residual: Tensor, outputs: tuple[Tensor, Tensor], scalar: float, then: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The layer's result, and the next one's input, normed with the weight `then`: both [N, D]."""
        from dgkernels.norms import join_branches

        weights = layer.branches.post_norms, layer.post_feedforward
        return join_branches(residual, outputs, *weights, scalar, self._eps, then, self._dtype)


def kernel_layers(
    config: ModelConfig, weights: Weights, residual: torch.dtype
) -> tuple[KernelLayers | None, str | None]:
    """These where they run and give what torch does, and else why not, in a few words.

    Args:
        config: of the model.
        weights: of the model.
        residual: its dtype.
    """
    device, dtype = weights.embedding.device, weights.embedding.dtype
    if (reason := trials.why_not(device, dtype)) is not None:
        return None, reason
    own = KernelLayers(config, dtype)
    errors = partial(_errors, own, config, weights, residual)
    reason = trials.refusal("those between the products", errors, _TOLERANCE)
    return (own, None) if reason is None else (None, reason)


def _errors(own: KernelLayers, config: ModelConfig, weights: Weights, residual: torch.dtype) -> Iterator[float]:
    """The relative errors of all of them on the first layer of each kind, of numbers drawn at random."""
    from dgkernels import reference

    eps, embedding, layers = config.rms_norm_eps, weights.embedding, weights.layers
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.randn(shape, generator=generator).to(embedding.device, dtype)

    x, others = drawn(_TRIED, config.hidden_size, dtype=residual), [drawn(_TRIED, config.hidden_size) for _ in range(2)]
    ids = torch.randint(0, config.vocab_size, (_TRIED,), generator=generator).to(embedding.device)
    scale = config.hidden_size**0.5
    wanted = reference.embed(ids, embedding, scale, others[0], eps)
    yield relative_error(own.embed(ids, embedding, scale, others[0], residual), wanted)
    yield relative_error(own.norm(x, weights.norm, scale), reference.rms_norm(x, weights.norm, eps, scale))

    layer, w = layers[0], layers[0].branches
    then = (w.pre_dense, w.pre_experts) if isinstance(w, SeparateBranches) else (None, None)
    summed = reference.add_norm(x, others[0], layer.post_attention_norm, eps, then)
    yield from map(relative_error, own.after_attention(layer, x, others[0]), summed)
    last = layers[-1].input_norm
    found = own.after_branches(layer, x, (others[0], others[1]), 0.5, last)
    norms = w.post_norms.flatten(0, 1), layer.post_feedforward
    yield from map(relative_error, found, reference.join_branches(x, (others[0], others[1]), *norms, 0.5, eps, last))
    if isinstance(w, SeparateBranches) and isinstance(w.gate_up, JoinedGated):
        product = w.gate_up.linear(others[0])[:, : 2 * w.gate_up.width]
        yield relative_error(own.gated(w.gate_up, others[0]), reference.gelu_gate(product))
    for kind in dict.fromkeys(each.config for each in layers):
        yield from _rotation_errors(own, next(each for each in layers if each.config == kind), eps, drawn)


def _rotation_errors(own: KernelLayers, layer: LayerWeights, eps: float, drawn: _Drawn) -> Iterator[float]:
    from dgkernels import reference

    kv_heads, width = layer.config.num_key_value_heads, layer.config.head_dim
    heads = layer.qk_norm.shape[0] + (kv_heads if layer.config.kind == "sliding" else 0)
    raw, angles = drawn(_TRIED, heads * width), drawn(_TRIED, 1, width // 2, dtype=torch.float32)
    rotary = (torch.cat([angles.cos()] * 2, -1), torch.cat((-angles.sin(), angles.sin()), -1))
    keys, values = (raw.new_zeros(kv_heads, 2 * _TRIED, width) for _ in range(2))
    rows = torch.arange(_TRIED, device=raw.device) + 3
    queries = own.rotate(layer, raw, rotary, keys, values, rows)
    found = queries, keys.index_select(1, rows), values.index_select(1, rows)
    yield from map(relative_error, found, reference.rotate_into(raw, layer.qk_norm, *rotary, eps, kv_heads))
