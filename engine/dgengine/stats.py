"""Counts and times of one answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and times of one `Session.generate` call, as carried by `Done`.

    Attributes:
        tokens: tokens of the answer, the end-of-sequence id included.
        blocks: blocks of the answer.
        steps_per_block: denoising steps of each block, one that was cancelled halfway included.
        tokens_per_forward: tokens per denoising step; 0.0 when there was no step.
        ms_per_step: median wall-clock time of a denoising step, in milliseconds; 0.0 when there was no
            step.
        prefill_encoded: tokens that the encoder had to read in this call (prompt and earlier blocks).
        prefill_reused: prompt tokens that the cache held already.
        seconds: wall-clock time of the call, without the time that its consumer took or that it was paused.
        tokens_per_second: tokens over seconds; 0.0 when nothing was generated.
        peak_memory_bytes: the most memory held: on CUDA what torch allocated on the device during the call,
            on CPU the process's largest resident set so far; 0 where the platform does not tell.
        seed: the seed that repeats this answer, also where none was asked for.
    """

    tokens: int
    blocks: int
    steps_per_block: tuple[int, ...]
    tokens_per_forward: float
    ms_per_step: float
    prefill_encoded: int
    prefill_reused: int
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The same as plain numbers and lists, ready for `json.dumps`."""
        return {**asdict(self), "steps_per_block": list(self.steps_per_block)}


class Recorder:
    """Gathers the stats of a call while it runs.

    Attributes:
        encoded: tokens that the encoder read so far.
        reused: prompt tokens that the cache held.
        tokens: length of each block of the answer, by block number.
        steps: denoising steps of each block begun, by block number.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self.encoded = 0
        self.reused = 0
        self.tokens: dict[int, int] = {}
        self.steps: dict[int, int] = {}
        self._seconds = 0.0
        self._step_seconds: list[float] = []
        self._device = device
        self._seed = seed
        _reset_peak_memory(device)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time spent inside to the call's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - start

    def add_seconds(self, seconds: float) -> None:
        """Adds time to the call's."""
        self._seconds += seconds

    def add_step(self, block: int, seconds: float) -> None:
        """Counts a denoising step and its time."""
        self.steps[block] = self.steps.get(block, 0) + 1
        self._step_seconds.append(seconds)
        self._seconds += seconds

    def stats(self) -> Stats:
        """What was gathered so far."""
        tokens, steps = sum(self.tokens.values()), sum(self.steps.values())
        return Stats(
            tokens=tokens,
            blocks=len(self.tokens),
            steps_per_block=tuple(self.steps.values()),
            tokens_per_forward=tokens / steps if steps else 0.0,
            ms_per_step=1000 * statistics.median(self._step_seconds) if steps else 0.0,
            prefill_encoded=self.encoded,
            prefill_reused=self.reused,
            seconds=self._seconds,
            tokens_per_second=tokens / self._seconds if tokens and self._seconds else 0.0,
            peak_memory_bytes=peak_memory(self._device),
            seed=self._seed,
        )


def peak_memory(device: torch.device) -> int:
    """The most memory held, in bytes, as `Stats.peak_memory_bytes` defines it."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
