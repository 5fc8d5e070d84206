"""How far a download is, and how fast it goes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_WINDOW = 10.0  # seconds over which the speed is measured: long enough that it does not jump about
_SHORTEST = 1.0  # seconds after which there is a speed at all


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a download is.

    Attributes:
        stage: "download", or "check" once all bytes are here and the last of them are compared with their hashes.
        done: bytes of `total` that are here, those of earlier runs counted; in "check", bytes compared.
        total: bytes of all files.
        speed: bytes a second over the last seconds; None while that is not known.
        seconds_left: at that speed.
    """

    stage: Literal["download", "check"]
    done: int
    total: int
    speed: float | None
    seconds_left: float | None


class Meter:
    """Counts bytes; several threads may add to it."""

    def __init__(self, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`done` of `total` bytes are here before it starts."""
        self.total = total
        self.fetched = 0
        self._done, self._compared = done, 0
        self._clock = clock
        self._lock = threading.Lock()
        self._past: deque[tuple[float, int]] = deque([(clock(), 0)])

    def fetch(self, count: int) -> None:
        """`count` bytes came from the hub."""
        with self._lock:
            self._done += count
            self.fetched += count

    def lose(self, count: int) -> None:
        """`count` bytes that were here have to come again."""
        with self._lock:
            self._done -= count

    def compare(self, count: int) -> None:
        """`count` bytes have been compared with their hash, or need not be."""
        with self._lock:
            self._compared += count

    def read(self) -> Transfer:
        """How far it is now."""
        with self._lock:
            done, compared, fetched = self._done, self._compared, self.fetched
        if done >= self.total:
            return Transfer("check", min(compared, self.total), self.total, None, None)
        speed = self._speed(fetched)
        return Transfer("download", done, self.total, speed, (self.total - done) / speed if speed else None)

    def _speed(self, fetched: int) -> float | None:
        now = self._clock()
        self._past.append((now, fetched))
        while self._past[0][0] < now - _WINDOW and len(self._past) > 2:
            self._past.popleft()
        then, before = self._past[0]
        return (fetched - before) / (now - then) if now - then >= _SHORTEST and fetched > before else None
