"""What is wanted with every frame, and is enough now and then: nobody reads a number sixty times a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.message_pump import MessagePump
from textual.timer import Timer


class Seldom:
    """Calls something at most once in so many seconds, however often it is wanted. The last wish is always granted."""

    def __init__(self, pump: MessagePump, seconds: float, call: Callable[[], None]) -> None:
        """`pump`: whose task calls it."""
        self._pump, self._seconds, self._call = pump, seconds, call
        self._next = 0.0  # not before
        self._wished: Timer | None = None

    def wish(self) -> None:
        """Calls it at once, or as soon as it may be called again."""
        wait = self._next - time.monotonic()
        if self._wished is None and wait > 0:
            self._wished = self._pump.set_timer(wait, self._grant)
        elif self._wished is None:
            self._grant()

    def settle(self) -> None:
        """Calls it at once, if it is still to be called."""
        if self._wished is not None:
            self._grant()

    def _grant(self) -> None:
        if self._wished is not None:
            self._wished.stop()
            self._wished = None
        self._next = time.monotonic() + self._seconds
        self._call()
