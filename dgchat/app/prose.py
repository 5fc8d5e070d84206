"""Settled text that grows at its end."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

_CHUNK = 4_000  # characters of complete lines in one widget, and a block more
_LONGEST_LINE = 4_000  # characters of a line that is still drawn anew with each block


class Prose(Vertical):
    """Plain text that grows at its end. Lines that are complete are drawn once, and then left alone."""

    def __init__(self) -> None:
        super().__init__(classes="words")
        self._fixed = ""  # what is drawn for good
        self._chunk = 0  # where the last widget of it begins
        self.tail = ""  # the line that is not complete

    def compose(self) -> ComposeResult:
        yield Static("", markup=False, classes="tail")

    async def show(self, text: str, tail: bool = True) -> None:
        """Shows the text; without `tail` the line that is not complete is left to the canvas, which goes on with it."""
        if not text.startswith(self._fixed):
            await self.query(".fixed").remove()
            self._fixed, self._chunk = "", 0
        cut = _complete(text, len(self._fixed))
        if cut > len(self._fixed):
            await self._fix(text, cut)
        last = self.query_one(".tail", Static)
        if text[cut:] != self.tail:  # with each step of a canvas it is the same, and to update it lays out the screen
            self.tail = text[cut:]
            last.update(self.tail)
        last.display = tail and bool(self.tail)

    async def _fix(self, text: str, cut: int) -> None:
        """Draws the lines up to `cut` for good, in few widgets: one for each block would fill the memory."""
        begun = self.query(".fixed")
        if not begun or len(self._fixed) - self._chunk > _CHUNK:
            self._chunk = len(self._fixed)
            await self.mount(Static("", markup=False, classes="fixed"), before=self.query_one(".tail"))
        self.query(".fixed").last(Static).update(text[self._chunk : cut].removesuffix("\n"))
        self._fixed = text[:cut]


def _complete(text: str, start: int) -> int:
    """Where the complete lines from `start` on end; an endless line is complete at a space."""
    cut = text.rfind("\n", start) + 1
    if cut <= start and len(text) - start > _LONGEST_LINE:
        cut = text.rfind(" ", start) + 1
    return max(cut, start)
