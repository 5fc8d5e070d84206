"""The K/V cache of one conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dgengine.config import LayerConfig, ModelConfig

if TYPE_CHECKING:
    from dgengine.frame import Frame

_FIRST_CAPACITY = 256
# A buffer that is too small doubles, but not beyond this many tokens more: half of a long context's would lie idle.
_LARGEST_GROWTH = 8192


class Room(NamedTuple):
    """Views of one layer's buffers, for a pass that writes some positions and sees those and some before.

    Attributes:
        new_keys: [T, KV heads, head_dim], where the pass writes.
        new_values: the same.
        keys: [KV heads, S, head_dim], what it sees.
        values: the same.
    """

    new_keys: Tensor
    new_values: Tensor
    keys: Tensor
    values: Tensor


class Buffers(NamedTuple):
    """All of one layer's buffers, to be used until room is next reserved.

    Attributes:
        keys: [KV heads, capacity, head_dim]; finite wherever nothing was written.
        values: the same.
        start: the position that they begin with.
    """

    keys: Tensor
    values: Tensor
    start: int


class KVCache:
    """Keys and values of the committed tokens, per layer, in buffers with room for what comes next.

    The room after the committed part is scratch: a decode pass writes the canvas there, so that attention reads one
    contiguous view and nothing is ever concatenated. Full layers keep every token. Sliding layers keep `window` tokens
    plus `slack`, or a little more; older ones are dropped when the buffer is full, and only a roll-back can miss them.

    A cache belongs to one conversation and is not safe to use from two threads at once.

    Attributes:
        length: number of committed tokens.
        frame: where a canvas lies in the buffers, of `Model.frame`; None until it is asked for, and whenever a buffer
            has grown.
    """

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype, slack: int) -> None:
        if slack < 0:
            raise ValueError(f"slack must not be negative, but is {slack}")
        self.length = 0
        self.frame: Frame | None = None
        self._window = config.sliding_window
        # one more than attention needs: scoring runs the last committed token once more
        keep = self._window + slack
        self._layers = [
            LayerCache(layer, None if layer.kind == "full" else keep, device, dtype) for layer in config.layers
        ]
        self._ids = torch.empty(0, dtype=torch.int64, device=device)

    @property
    def ids(self) -> Tensor:
        """The committed token ids, int64 [length]; a view."""
        return self._ids[: self.length]

    def reserve(self, extra: int) -> None:
        """Makes room for `extra` tokens after the committed ones."""
        if any(layer.is_outgrown(self.length, extra) for layer in self._layers):
            self.frame = None  # it would hold all old buffers, until the last of them has been copied
        for layer in self._layers:
            layer.reserve(self.length, extra)

    def write(self, layer: int, position: int, keys: Tensor, values: Tensor) -> None:
        """Puts keys and values [KV heads, T, head_dim] at `position` and after; the room must have been reserved."""
        self._layers[layer].write(position, keys, values)

    def read(self, layer: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the positions first .. last - 1: two views [KV heads, last - first, head_dim]."""
        return self._layers[layer].read(first, last)

    def room(self, layer: int, first: int, start: int, end: int) -> Room:
        """The room of a pass that writes the positions start .. end - 1, which must have been reserved, and sees first
        .. end - 1.

        All steps of a canvas ask for the same room, so that of the last call is kept.
        """
        return self._layers[layer].room(first, start, end)

    def buffers(self, layer: int) -> Buffers:
        """All that one layer holds. The tensors are the same until its capacity changes."""
        return self._layers[layer].buffers()

    def commit(self, ids: Tensor) -> None:
        """Counts as committed the tokens `ids` [T], whose keys and values have been written after the others."""
        end = self.length + ids.shape[0]
        if end > self._ids.shape[0]:
            grown = self._ids.new_empty(max(end, 2 * self._ids.shape[0], _FIRST_CAPACITY))
            grown[: self.length] = self._ids[: self.length]
            self._ids = grown
        self._ids[self.length : end] = ids
        self.length = end

    def rollback(self, length: int) -> int:
        """Forgets all but the first `length` tokens.

        Returns the number really kept: `length`, or the present length if that is less, or 0 when a sliding layer no
        longer holds what the tokens after `length` will need. The caller encodes again from there.

        Raises:
            ValueError: a negative length.
        """
        if length < 0:
            raise ValueError(f"cannot roll back to a length of {length}")
        kept = min(length, self.length)
        if any(layer.start > max(0, kept - self._window) for layer in self._layers):
            kept = 0
        if kept == 0:
            for layer in self._layers:
                layer.start = 0
        self.length = kept
        return kept

    def nbytes(self) -> int:
        """Bytes held by the buffers."""
        return sum(layer.nbytes() for layer in self._layers) + self._ids.nbytes


class LayerCache:
    """The buffers of one layer: keys and values [KV heads, capacity, head_dim] of the positions from `start` on."""

    def __init__(self, layer: LayerConfig, keep: int | None, device: torch.device, dtype: torch.dtype) -> None:
        shape = (layer.num_key_value_heads, 0, layer.head_dim)
        self.start = 0
        self._keep = keep
        self._keys = torch.empty(shape, device=device, dtype=dtype)
        self._values = torch.empty(shape, device=device, dtype=dtype)
        self._room: tuple[tuple[int, ...], Room] | None = None

    def reserve(self, length: int, extra: int) -> None:
        """Makes room for `extra` positions after the first `length`: drops old ones (sliding layers) or grows."""
        capacity = self._keys.shape[1]
        if length + extra - self.start <= capacity:
            return
        first = self._first_kept(length)
        if self.is_outgrown(length, extra):
            capacity = max(length + extra - first, capacity + min(capacity, _LARGEST_GROWTH), _FIRST_CAPACITY)
        self._keys = self._moved(self._keys, first, length, capacity)
        self._values = self._moved(self._values, first, length, capacity)
        self.start = first
        self._room = None

    def is_outgrown(self, length: int, extra: int) -> bool:
        """Whether dropping old positions is not enough for that."""
        return length + extra - self._first_kept(length) > self._keys.shape[1]

    def _first_kept(self, length: int) -> int:
        return self.start if self._keep is None else max(self.start, length - self._keep)

    def _moved(self, buffer: Tensor, first: int, last: int, capacity: int) -> Tensor:
        """A buffer of `capacity` that begins with the positions first .. last - 1 of `buffer`: the same one if it can.

        What has nothing yet is zero: a mask does not hide what is not finite.
        """
        kept = buffer[:, first - self.start : last - self.start]
        if capacity == buffer.shape[1]:  # a graph goes by its address
            buffer[:, : last - first] = kept.clone()  # they may overlap
            return buffer
        moved = buffer.new_zeros((buffer.shape[0], capacity, buffer.shape[2]))
        moved[:, : last - first] = kept
        return moved

    def write(self, position: int, keys: Tensor, values: Tensor) -> None:
        """See `KVCache.write`."""
        begin, count = position - self.start, keys.shape[1]
        self._keys.narrow(1, begin, count).copy_(keys)
        self._values.narrow(1, begin, count).copy_(values)

    def read(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """See `KVCache.read`."""
        begin, count = first - self.start, last - first
        return self._keys.narrow(1, begin, count), self._values.narrow(1, begin, count)

    def room(self, first: int, start: int, end: int) -> Room:
        """See `KVCache.room`."""
        key = (self.start, first, start, end)
        if self._room is None or self._room[0] != key:
            new_keys, new_values = self.read(start, end)
            self._room = (key, Room(new_keys.transpose(0, 1), new_values.transpose(0, 1), *self.read(first, end)))
        return self._room[1]

    def buffers(self) -> Buffers:
        """See `KVCache.buffers`."""
        return Buffers(self._keys, self._values, self.start)

    def nbytes(self) -> int:
        """Bytes held."""
        return self._keys.nbytes + self._values.nbytes
