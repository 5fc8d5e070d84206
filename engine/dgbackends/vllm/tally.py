"""Counts and times of one answer of a server."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

from dgengine.stats import Stats

T = TypeVar("T")
R = TypeVar("R")


class Tally:
    """Gathers what `Stats` tells, while an answer comes. A server tells neither its steps nor its memory.

    Attributes:
        tokens: of each block, by its number.
        prompt: tokens of the prompt.
        reused: those of them that the server had in its cache.
        seed: what the answer was drawn with; 0 where a server has drawn it.
    """

    def __init__(self, prompt: int, seed: int = 0) -> None:
        self.tokens: dict[int, int] = {}
        self.prompt = prompt
        self.reused = 0
        self.seed = seed
        self._seconds = 0.0

    def timed(self, events: Generator[T, None, R]) -> Generator[T, None, R]:
        """The same events; counts the time that is waited for each, and not that of their consumer."""
        while True:
            start = time.perf_counter()
            try:
                event = next(events)
            except StopIteration as end:
                self._seconds += time.perf_counter() - start
                result: R = end.value
                return result
            self._seconds += time.perf_counter() - start
            yield event

    @property
    def seconds(self) -> float:
        """Time so far."""
        return self._seconds

    def stats(self) -> Stats:
        """What was gathered so far; nothing is known of steps."""
        tokens = sum(self.tokens.values())
        return Stats(
            tokens=tokens,
            blocks=len(self.tokens),
            steps_per_block=(),
            tokens_per_forward=0.0,
            ms_per_step=0.0,
            prefill_encoded=max(0, self.prompt - self.reused),
            prefill_reused=self.reused,
            seconds=self._seconds,
            tokens_per_second=tokens / self._seconds if tokens and self._seconds else 0.0,
            peak_memory_bytes=0,
            seed=self.seed,
        )
