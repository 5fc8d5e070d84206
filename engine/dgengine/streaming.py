"""Experts that stay in the host's memory and are copied to the device ahead of use.

Two buffers on the device take turns: while one layer reads its experts from the one, those of the next such layer are
copied to the other, and what lies between, the layers whose experts are on the device, hides some of the copy's time.
After the last streamed layer the first one's experts are next. Of two streamed layers or one, the experts stay in the
buffers once they are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from dgengine.errors import CheckpointError
from dgengine.weights import LayerWeights, SeparateBranches

BUFFERS = 2
Tensors: TypeAlias = tuple[Tensor, ...]


def spread(layers: int, streamed: int) -> tuple[int, ...]:
    """Which layers' experts are streamed: as evenly over the depth as can be, so that each copy has time.

    The last layer is among them only where all are: encoding has no use for its experts.

    Raises:
        ValueError: `streamed` is not within 0 and `layers`.
    """
    if not 0 <= streamed <= layers:
        raise ValueError(f"the experts of {streamed} of {layers} layers cannot be streamed")
    return tuple(place * layers // streamed for place in range(streamed))


class Copier(Protocol):
    """Fills buffers. A *place* is the number of a streamed layer among the streamed ones."""

    def copy(self, place: int, buffer: int) -> None:
        """Begins to copy the experts of a place into a buffer, as soon as all that was `read` there has been done."""

    def arrive(self, buffer: int) -> None:
        """What is computed from here on waits until the buffer is filled."""

    def read(self, buffer: int) -> None:
        """All that reads the buffer has been asked for."""


class Rotation:
    """Which experts lie in which buffer: every copy is begun as soon as a buffer is free, and none before."""

    def __init__(self, places: int, copier: Copier) -> None:
        """Rotates among `places`, of which none is in a buffer yet."""
        self._places = places
        self._copier = copier
        self._held: list[int | None] = [None] * min(BUFFERS, places)

    @contextmanager
    def reading(self, place: int) -> Iterator[int]:
        """The buffer with the experts of `place`, which stay there within the context.

        Places may come in any order; those in turn come without waiting for more than their copy.
        """
        following = (place + 1) % self._places
        buffer = self._fetch(place, following)
        self._fetch(following, place)
        self._copier.arrive(buffer)
        try:
            yield buffer
        finally:
            self._copier.read(buffer)
        self._fetch((place + 2) % self._places, following)

    def _fetch(self, place: int, kept: int) -> int:
        """The buffer of `place`; where there is none, one is filled that does not hold the place `kept`."""
        if place in self._held:
            return self._held.index(place)
        buffer = next(number for number, held in enumerate(self._held) if held != kept)
        self._held[buffer] = None  # in case that the copy fails
        self._copier.copy(place, buffer)
        self._held[buffer] = place
        return buffer


class HostCopier:
    """A `Copier` between tensors of the host: a copy is done when it has begun."""

    def __init__(self, sources: Sequence[Tensors], buffers: Sequence[Tensors]) -> None:
        """Copies from `sources`, one for each place, to `buffers`."""
        self._sources = sources
        self._buffers = buffers

    def copy(self, place: int, buffer: int) -> None:
        for room, tensor in zip(self._buffers[buffer], self._sources[place], strict=True):
            room.copy_(tensor, non_blocking=True)

    def arrive(self, buffer: int) -> None:
        pass

    def read(self, buffer: int) -> None:
        pass


class CudaCopier(HostCopier):
    """A `Copier` from pinned memory to a GPU, on a stream of its own; events keep it and the computing in order."""

    def __init__(self, sources: Sequence[Tensors], buffers: Sequence[Tensors], device: torch.device) -> None:
        """Copies from `sources`, one for each place, to `buffers` on `device`."""
        super().__init__(sources, buffers)
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))  # what had the buffers' memory before
        self._filled = [torch.cuda.Event() for _ in buffers]
        self._done = [torch.cuda.Event() for _ in buffers]
        for tensor in (tensor for buffer in buffers for tensor in buffer):
            tensor.record_stream(self._stream)  # freed with the model, it is not given away under a copy

    def copy(self, place: int, buffer: int) -> None:
        self._stream.wait_event(self._done[buffer])
        with torch.cuda.stream(self._stream):
            super().copy(place, buffer)
        self._filled[buffer].record(self._stream)

    def arrive(self, buffer: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._filled[buffer])

    def read(self, buffer: int) -> None:
        self._done[buffer].record(torch.cuda.current_stream(self._device))


class ExpertStream:
    """The experts of some layers, which are in the host's memory, for use on a device.

    One pass over the layers at a time.
    """

    def __init__(self, layers: Sequence[LayerWeights], streamed: Sequence[int], device: torch.device) -> None:
        """Makes the buffers.

        Args:
            layers: all of the model.
            streamed: which of them have their experts in the host's memory, in order; at least one.
            device: where everything else is.

        Raises:
            CheckpointError: the experts of these layers are not all stored in the same form.
        """
        parts = [_separate(layers[index]) for index in streamed]
        self._sources = [_experts(part) for part in parts]
        _check_alike(streamed, self._sources)
        self._buffers = [
            tuple(torch.empty_like(tensor, device=device) for tensor in self._sources[0])
            for _ in range(min(BUFFERS, len(streamed)))
        ]
        self._branches = {
            (index, number): _reading_from(part, buffer)
            for index, part in zip(streamed, parts, strict=True)
            for number, buffer in enumerate(self._buffers)
        }
        self._places = {index: place for place, index in enumerate(streamed)}
        copier = HostCopier(self._sources, self._buffers)
        if device.type == "cuda":
            copier = CudaCopier(self._sources, self._buffers, device)
        self._rotation = Rotation(len(streamed), copier)

    def __contains__(self, layer: int) -> bool:
        return layer in self._places

    @contextmanager
    def on_device(self, layer: int) -> Iterator[SeparateBranches]:
        """The branches of a streamed layer with the experts in a buffer, to be used within the context only."""
        with self._rotation.reading(self._places[layer]) as buffer:
            yield self._branches[layer, buffer]

    def buffer_bytes(self) -> int:
        """Bytes that the buffers take on the device."""
        return sum(tensor.nbytes for buffer in self._buffers for tensor in buffer)

    def host_bytes(self) -> int:
        """Bytes of the experts in the host's memory."""
        return sum(tensor.nbytes for source in self._sources for tensor in source)


def _separate(layer: LayerWeights) -> SeparateBranches:
    if not isinstance(layer.branches, SeparateBranches):
        raise TypeError("experts that are joined with the dense MLP cannot be streamed")  # the reader keeps them apart
    return layer.branches


def _experts(branches: SeparateBranches) -> Tensors:
    return (*branches.experts_gate_up.tensors(), *branches.experts_down.tensors())


def _reading_from(branches: SeparateBranches, buffer: Tensors) -> SeparateBranches:
    """The same branches with their experts in a buffer."""
    count = len(branches.experts_gate_up.tensors())
    return replace(
        branches,
        experts_gate_up=branches.experts_gate_up.holding(buffer[:count]),
        experts_down=branches.experts_down.holding(buffer[count:]),
    )


def _check_alike(streamed: Sequence[int], sources: Sequence[Tensors]) -> None:
    forms = [[(tensor.shape, tensor.stride(), tensor.dtype) for tensor in source] for source in sources]
    for layer, form in zip(streamed, forms, strict=True):
        if form != forms[0]:
            raise CheckpointError(
                f"The experts of layer {layer} are stored in another form than those of layer {streamed[0]}: they "
                "cannot take turns on the device, and there is no room for all of them."
            )
