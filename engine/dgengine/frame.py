"""Where a canvas lies in a cache, said in the device's memory: what a denoising step does never depends on the length.

A step that is captured as a graph reads and writes at fixed addresses. So the canvas' keys and values go to rows that
an index tensor names, attention goes over the whole of a layer's buffers, with bounds or a mask that tell what is seen,
and the rotary factors lie in buffers of their own. All of it is filled anew for each block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.cache import Buffers, KVCache
from dgengine.config import LayerKind, ModelConfig
from dgengine.rope import RotaryTable


class Seen(NamedTuple):
    """Which rows of a layer's buffers the canvas sees: the same for every position. S is the buffers' capacity.

    Attributes:
        first: int32 [1].
        end: int32 [1], one past the last.
        bias: [1, 1, 1, S] in the buffers' dtype: 0 where a row is seen, and else minus infinity.
    """

    first: Tensor
    end: Tensor
    bias: Tensor


CanvasAttention: TypeAlias = Callable[[Tensor, Tensor, Tensor, Seen], Tensor]
"""Grouped-query attention with scale 1 over what is seen of queries [H, T, D], keys [KV, S, D] and values [KV, S, D]:
-> [T, H * D] in the keys' dtype. Consecutive query heads share a K/V head."""


def attend_masked(queries: Tensor, keys: Tensor, values: Tensor, seen: Seen) -> Tensor:
    """A `CanvasAttention` of torch's: it reads all rows, seen or not."""
    heads, count, width = queries.shape
    # heads that share keys as more queries of one head; as a bias of one row, the mask is never made larger
    grouped = keys.new_empty(queries.shape).copy_(queries).view(keys.shape[0], -1, width)
    out = F.scaled_dot_product_attention(
        grouped.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0), attn_mask=seen.bias, scale=1.0
    )
    return out.view(heads, count, width).transpose(0, 1).reshape(count, -1)


class Frame:
    """The place of a canvas in the buffers of one cache, until one of these grows.

    Attributes:
        rotary: for each layer, the factors of `dgengine.rope.rotate`.
    """

    def __init__(
        self, cache: KVCache, config: ModelConfig, tables: Sequence[RotaryTable], attention: CanvasAttention
    ) -> None:
        """Makes one for a canvas of the configuration's length, for which `cache` has room.

        Args:
            tables: the rotary factors of each layer.
            attention: over what is seen.
        """
        self._set: tuple[int, ...] = ()  # for which length, and where the buffers begin
        self._count = config.canvas_length
        self._window = config.sliding_window
        self._heads = config.num_attention_heads
        self._kinds: list[LayerKind] = [layer.kind for layer in config.layers]
        self._attention = attention
        self._buffers = [cache.buffers(layer) for layer in range(len(config.layers))]
        # layers of one kind are asked for the same room, and so begin with the same position
        self._places = {kind: _Place(self._buffers[self._kinds.index(kind)], self._count) for kind in set(self._kinds)}
        self._factors = {table: _copies(*table.range(0, self._count)) for table in dict.fromkeys(tables)}
        self.rotary = [self._factors[table] for table in tables]

    def set(self, cache: KVCache) -> None:
        """Moves the canvas to behind what the cache holds; no graph need be made anew for that."""
        start = cache.length
        offsets = {kind: cache.buffers(self._kinds.index(kind)).start for kind in self._places}
        if (now := (start, *offsets.values())) == self._set:
            return
        self._set = now
        for kind, place in self._places.items():
            first = max(0, start - (self._window - 1)) if kind == "sliding" else 0
            place.set(first - offsets[kind], start - offsets[kind], self._count)
        for table, factors in self._factors.items():
            for own, value in zip(factors, table.range(start, self._count), strict=True):
                own.copy_(value)

    def attend(self, layer: int, queries_keys: Tensor, values: Tensor) -> Tensor:
        """Puts the canvas' keys and values where they belong, and attends: -> [C, H * d].

        Args:
            queries_keys: [C, H + KV, d], rotated.
            values: [C, KV, d].
        """
        own, rows = self._buffers[layer], self.rows(layer)
        for buffer, new in ((own.keys, queries_keys[:, self._heads :]), (own.values, values)):
            buffer.index_copy_(1, rows, new.transpose(0, 1).to(buffer.dtype))
        return self.attend_from(layer, queries_keys[:, : self._heads].transpose(0, 1))

    def buffers(self, layer: int) -> Buffers:
        """Of the cache, for a layer whose canvas' keys and values are put into them by whoever asks."""
        return self._buffers[layer]

    def rows(self, layer: int) -> Tensor:
        """Where the canvas lies in a layer's buffers, int64 [C]."""
        return self._places[self._kinds[layer]].rows

    def attend_from(self, layer: int, queries: Tensor) -> Tensor:
        """Attends where the canvas' keys and values are in their place: [H, C, d] -> [C, H * d]."""
        own = self._buffers[layer]
        return self._attention(queries, own.keys, own.values, self._places[self._kinds[layer]].seen)


class _Place:
    """Where layers of one kind have the canvas, and what they see."""

    def __init__(self, buffers: Buffers, count: int) -> None:
        keys = buffers.keys
        self.rows = torch.zeros(count, dtype=torch.int64, device=keys.device)
        bounds = torch.zeros(2, 1, dtype=torch.int32, device=keys.device)
        self.seen = Seen(bounds[0], bounds[1], keys.new_zeros(1, 1, 1, keys.shape[1]))

    def set(self, first: int, start: int, count: int) -> None:
        end = start + count
        self.rows.copy_(torch.arange(start, end, device=self.rows.device))
        self.seen.first.fill_(first)
        self.seen.end.fill_(end)
        self.seen.bias.fill_(float("-inf"))
        self.seen.bias[..., first:end] = 0.0


def _copies(cosine: Tensor, signed_sine: Tensor) -> tuple[Tensor, Tensor]:
    return cosine.clone(), signed_sine.clone()
