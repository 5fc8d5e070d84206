"""A screen that comes to rest at the size of the window."""

from __future__ import annotations

from typing import TypeVar

from textual import events, on
from textual.screen import Screen

Result = TypeVar("Result")


class Sized(Screen[Result]):
    """Passes over news of a size that is no longer the window's.

    A screen tells itself its size after each layout. With two sizes on their way at once, each would call for the
    layout that sends the other, and the screen would change between them for ever.
    """

    @on(events.Resize)
    def pass_over(self, resize: events.Resize) -> None:
        """Only the newest size counts."""
        if resize.size != self.app.size:
            resize.prevent_default()
