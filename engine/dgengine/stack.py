"""The stack of layers, which a pass of tokens runs through: what `Model.encode` and `Model.denoise` have in common.

D is the hidden size, H the query heads, KV the K/V heads, d a head's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from dgengine.attention import Visibility, attend
from dgengine.cache import KVCache
from dgengine.config import LayerKind, ModelConfig
from dgengine.feed_forward import feed_forward
from dgengine.frame import Frame
from dgengine.kernels.layers import KernelLayers
from dgengine.norm import add_rms_norm, rms_norm
from dgengine.rope import rotate
from dgengine.streaming import ExpertStream
from dgengine.weights import JoinedBranches, LayerWeights, SeparateBranches


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """What one pass through the stack runs over: `batch` sequences of `count` tokens at `start` and after.

    Attributes:
        committed: the cache's length. Positions below it are in the cache already and are not written again.
        encoding: causal with the encoder's layer scalars, or else everything sees everything, with the decoder's.
        visible: what the queries see, by kind of layer.
        rotary: the rotary factors of each layer.
        frame: where keys and values go, and what is seen, in place of `start`, `committed` and `visible`; denoising by
            kernels only.
    """

    batch: int
    start: int
    count: int
    committed: int
    encoding: bool
    visible: dict[LayerKind, Visibility]
    rotary: list[tuple[Tensor, Tensor]]
    frame: Frame | None = None


class Stack:
    """The layers of a model.

    Attributes:
        stream: brings the experts that stay in the host's memory; None where all are on the device.
        kernels: what lies between the products of layers; None where torch computes it.
    """

    kernels: KernelLayers | None = None

    def __init__(
        self,
        config: ModelConfig,
        layers: Sequence[LayerWeights],
        device: torch.device,
        dtype: torch.dtype,
        streamed: Sequence[int] = (),
    ) -> None:
        """Takes the layers, of which the experts of those `streamed` are in the host's memory.

        Args:
            config: the model's.
            layers: all of them, in order.
            device: where they are computed.
            dtype: of products.
            streamed: numbers of layers.

        Raises:
            CheckpointError: the streamed ones are not stored alike.
        """
        self._config = config
        self._layers = layers
        self._dtype = dtype
        self.stream = ExpertStream(layers, streamed, device) if streamed else None

    def __len__(self) -> int:
        return len(self._layers)

    def normed(self, hidden: Tensor, weight: Tensor | None) -> Tensor:
        """[N, D] -> [N, D], in the dtype of products."""
        if self.kernels is not None:
            return self.kernels.norm(hidden, weight)
        return rms_norm(hidden, weight, self._config.rms_norm_eps, self._dtype)

    def through(self, layers: int, hidden: Tensor, cache: KVCache | None, span: Span) -> Tensor:
        """[N, D] -> [N, D], N = batch * count, through the first `layers` of the stack."""
        if self.kernels is not None:
            return self._through_by_kernels(self.kernels, layers, hidden, cache, span)
        for index in range(layers):
            hidden = self._layer(index, hidden, cache, span)
        return hidden

    def _through_by_kernels(
        self, kernels: KernelLayers, layers: int, hidden: Tensor, cache: KVCache | None, span: Span
    ) -> Tensor:
        """The same; what ends a layer norms the next one's input as well."""
        stack = self._layers[:layers]
        if not stack:
            return hidden
        following = [layer.input_norm for layer in stack[1:]] + [None]
        x = kernels.norm(hidden, stack[0].input_norm)
        for index, (layer, then) in enumerate(zip(stack, following, strict=True)):
            attended = self._attention(index, layer, x, cache, span)
            hidden, dense, experts = kernels.after_attention(layer, hidden, attended)
            with self._branches(index, layer) as branches:
                outputs = kernels.branches(branches, hidden, dense, experts)
            scalar = layer.encoder_scalar if span.encoding else layer.decoder_scalar
            hidden, x = kernels.after_branches(layer, hidden, outputs, scalar, then)
        return hidden

    def _layer(self, index: int, hidden: Tensor, cache: KVCache | None, span: Span) -> Tensor:
        """[N, D] -> [N, D], N = batch * count."""
        layer = self._layers[index]
        eps = self._config.rms_norm_eps
        attended = self._attention(index, layer, self.normed(hidden, layer.input_norm), cache, span)
        hidden = add_rms_norm(hidden, attended, layer.post_attention_norm, eps)
        hidden = add_rms_norm(hidden, self._feed_forward(index, layer, hidden), layer.post_feedforward, eps)
        scalar = layer.encoder_scalar if span.encoding else layer.decoder_scalar
        return hidden if scalar == 1.0 else hidden.mul_(scalar)

    def _feed_forward(self, index: int, layer: LayerWeights, hidden: Tensor) -> Tensor:
        """[N, D] -> [N, D], both branches."""
        top_k, eps = self._config.top_k_experts, self._config.rms_norm_eps
        with self._branches(index, layer) as branches:
            return feed_forward(branches, hidden, top_k, eps, self._dtype)

    def _branches(self, index: int, layer: LayerWeights) -> AbstractContextManager[SeparateBranches | JoinedBranches]:
        """A layer's second half, on the device while this is entered."""
        if self.stream is None or index not in self.stream:
            return nullcontext(layer.branches)
        return self.stream.on_device(index)

    def _attention(self, index: int, layer: LayerWeights, x: Tensor, cache: KVCache | None, span: Span) -> Tensor:
        """[N, D], normed -> [N, D]; leaves the new keys and values in the cache's room."""
        if self.kernels is not None:
            return layer.output(self._attended_by_kernels(self.kernels, index, layer.qkv(x), cache, span))
        heads = self._config.num_attention_heads
        queries_keys, values = self._project(index, layer, layer.qkv(x), span)
        if span.frame is not None:
            return layer.output(span.frame.attend(index, queries_keys[0], values[0]))
        assert cache is not None
        visible = span.visible[layer.config.kind]
        known = max(0, span.committed - span.start)
        room = cache.room(index, visible.first, span.start + known, span.start + span.count)
        outputs = []
        # a batch shares the prefix: each canvas takes its turn in the room after it
        for qk, v in zip(queries_keys, values, strict=True):
            room.new_keys.copy_(qk[known:, heads:])
            room.new_values.copy_(v[known:])
            outputs.append(attend(qk[:, :heads].transpose(0, 1), room.keys, room.values, visible))
        return layer.output(outputs[0] if len(outputs) == 1 else torch.cat(outputs))

    def _attended_by_kernels(
        self, kernels: KernelLayers, index: int, raw: Tensor, cache: KVCache | None, span: Span
    ) -> Tensor:
        """What the fused projection made, [N, heads * d] -> [N, H * d]; likewise."""
        layer, factors = self._layers[index], span.rotary[index]
        if span.frame is not None:
            buffers, rows = span.frame.buffers(index), span.frame.rows(index)
            queries = kernels.rotate(layer, raw, factors, buffers.keys, buffers.values, rows)
            return span.frame.attend_from(index, queries)
        assert cache is not None
        visible = span.visible[layer.config.kind]
        known = max(0, span.committed - span.start)
        room = cache.room(index, visible.first, span.start + known, span.start + span.count)
        new_keys, new_values = room.new_keys.transpose(0, 1), room.new_values.transpose(0, 1)
        outputs = []
        for own in raw.split(span.count):
            queries = kernels.rotate(layer, own, factors, new_keys, new_values, known=known)
            outputs.append(attend(queries, room.keys, room.values, visible))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _project(self, index: int, layer: LayerWeights, raw: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        """Norms and rotates what the fused projection made, [N, heads * d], which may be without the queries.

        Returns [B, T, queries and keys, d] and values [B, T, KV, d]. The last KV heads of `raw` become the values: V's
        own, or in full layers K's, normed without weight and not rotated. All are float32.
        """
        own = layer.config
        normed = rms_norm(raw.float().view(span.batch, span.count, -1, own.head_dim), None, self._config.rms_norm_eps)
        rotated = normed.shape[2] - (own.num_key_value_heads if own.kind == "sliding" else 0)
        weighted = normed[:, :, :rotated] * layer.qk_norm[-rotated:]
        return rotate(weighted, *span.rotary[index]), normed[:, :, -own.num_key_value_heads :]

    def keys_and_values_only(self, index: int, hidden: Tensor, cache: KVCache, span: Span) -> None:
        """Writes keys and values of the layer `index`, which reads `hidden` [N, D], and computes nothing else."""
        layer = self._layers[index]
        x = self.normed(hidden, layer.input_norm)
        queries = self._config.num_attention_heads * layer.config.head_dim
        raw = layer.qkv.columns_from(queries, x)
        if self.kernels is not None:
            room = cache.read(index, span.start, span.start + span.count)
            self.kernels.rotate(layer, raw, span.rotary[index], *room)
            return
        keys, values = self._project(index, layer, raw, span)
        cache.write(index, span.start, keys[0].transpose(0, 1), values[0].transpose(0, 1))
