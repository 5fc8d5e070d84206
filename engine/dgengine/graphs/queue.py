"""Where steps are run: what is submitted is run in order, and its record is there when it is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Landed(NamedTuple):
    """A record, on the host.

    Attributes:
        record: int32 [n], the caller's own.
        seconds: from when the device began with the step until the record was there.
    """

    record: NDArray[np.int32]
    seconds: float


class Ticket(Protocol):
    """A step that was submitted."""

    def wait(self) -> Landed:
        """Its record, once it is there."""


class StepQueue(Protocol):
    """A device's queue."""

    def submit(self, work: Callable[[], None], record: Tensor) -> Ticket:
        """Has the device do `work` after all else, and then copy `record`, int32 [n], to the host.

        Any number of tickets may be open, of several blocks side by side too; not all of them need be waited for.
        """


class _Done(NamedTuple):
    landed: Landed

    def wait(self) -> Landed:
        return self.landed


class HostQueue:
    """A `StepQueue` of a device that works while it is told to: a CPU."""

    def submit(self, work: Callable[[], None], record: Tensor) -> Ticket:
        start = time.perf_counter()
        work()
        return _Done(Landed(record.numpy().copy(), time.perf_counter() - start))


class _OnItsWay(NamedTuple):
    record: Tensor
    begun: torch.cuda.Event
    ended: torch.cuda.Event

    def wait(self) -> Landed:
        self.ended.synchronize()
        return Landed(self.record.numpy().copy(), self.begun.elapsed_time(self.ended) / 1000)


class CudaQueue:
    """A `StepQueue` of a GPU's current stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def submit(self, work: Callable[[], None], record: Tensor) -> Ticket:
        stream = torch.cuda.current_stream(self._device)
        # a thread that waits for it sleeps: the app has better things to do with the core than spin on it
        begun, ended = (torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))
        begun.record(stream)
        work()
        # torch keeps pinned memory for the next of this size, and gives none out before the copy into it is done
        copied = torch.empty(record.shape, dtype=record.dtype, pin_memory=True)
        copied.copy_(record, non_blocking=True)
        ended.record(stream)
        return _OnItsWay(copied, begun, ended)
