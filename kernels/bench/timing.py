"""Times on a GPU or a CPU, and the time that is left."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

Call: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Deadline:
    """So many seconds from when it was made."""

    seconds: float
    _start: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds; negative once it has passed."""
        return self._start + self.seconds - time.perf_counter()

    @property
    def passed(self) -> bool:
        return self.left <= 0


class Stopwatch:
    """Times single calls, each with a cold cache.

    On a GPU by events. Before each call a buffer many times the size of the L2 cache is read, which leaves there
    nothing of the last call's weights, and nothing that has yet to be written back. It also takes longer than a few
    launches, so that the time is the kernels' and not that of launching them.
    """

    def __init__(self, device: torch.device, flushed: int) -> None:
        """Makes one.

        Args:
            flushed: bytes that are read before each call.
        """
        self._device = device
        self._buffer = torch.zeros(flushed // 4, dtype=torch.int32, device=device)

    def median(self, call: Call, repeats: int, warm_ups: int = 2) -> float:
        """Seconds of a call."""
        for _ in range(warm_ups):
            call()
        times = self._on_gpu(call, repeats) if self._device.type == "cuda" else _by_clock(call, repeats)
        return statistics.median(times)

    def _on_gpu(self, call: Call, repeats: int) -> list[float]:
        pairs: list[tuple[Any, Any]] = [(_event(), _event()) for _ in range(repeats)]
        torch.cuda.synchronize(self._device)
        for start, end in pairs:
            self._buffer.amax()
            start.record()
            call()
            end.record()
        torch.cuda.synchronize(self._device)
        return [start.elapsed_time(end) / 1000 for start, end in pairs]


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)


def _by_clock(call: Call, repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def measure_copy(watch: Stopwatch, device: torch.device, size: int, repeats: int) -> float:
    """Bytes a second, read and written ones both counted, of a copy of `size` bytes on the device."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / watch.median(lambda: target.copy_(source), repeats)


def measure_products(watch: Stopwatch, device: torch.device, width: int, repeats: int) -> float:
    """Floating-point operations a second of a product of two square matrices in bfloat16, drawn at random."""
    left, right = (_matrix(width, device) for _ in range(2))
    return 2 * width**3 / watch.median(lambda: left @ right, repeats)


def _matrix(width: int, device: torch.device) -> Tensor:
    return torch.randn(width, width, dtype=torch.bfloat16, device=device)
