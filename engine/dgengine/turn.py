"""One answer at a time: what the sessions of all engines keep to."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from typing import Any

from dgengine.errors import SessionBusyError
from dgengine.events import Event


class Turn:
    """Whose turn it is in a session: the answer that was begun last, as long as anybody holds it."""

    def __init__(self) -> None:
        self._active: weakref.ref[Generator[Event, None, Any]] | None = None

    def take(self, run: Generator[Event, None, Any]) -> None:
        """Gives the turn to `run`, which has not begun; an answer that was left half-way is closed.

        Raises:
            SessionBusyError: that one is running, in another thread.
        """
        previous = self._active() if self._active is not None else None
        if previous is not None:
            try:
                previous.close()
            except ValueError as error:  # what a generator says that is running
                raise SessionBusyError(
                    "This session is still writing an answer: cancel it first, or use another session."
                ) from error
        self._active = weakref.ref(run)
