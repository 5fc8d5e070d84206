"""The bar that finds words in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from dgchat.app.bindings import bind
from dgchat.app.screens import Line
from dgchat.editor.ask_bar import Pick

Location: TypeAlias = tuple[int, int]


class Searched(Line):
    """The line for the words. A line has keys of its own for scrolling, which would hide those of the bar."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "find(1)", "Next"),
        Binding("up", "find(-1)", "Previous"),
    ]

    def action_find(self, by: int) -> None:
        """Another place."""
        next(node for node in self.ancestors if isinstance(node, FindBar)).action_find(by)


class FindBar(Horizontal):
    """One line. The words are found as they are typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("find-next", "find(1)", priority=False),
        bind("find-previous", "find(-1)", priority=False),
        Binding("escape", "close", "Back"),
    ]

    @dataclass
    class Wanted(Message):
        """The next place is wanted, the one before (-1), or, as one types, this one or the next (0)."""

        words: str
        by: int

    @dataclass
    class Closed(Message):
        """Out of here."""

    def __init__(self, words: str) -> None:
        super().__init__(id="find", classes="row")
        self._words = words

    def compose(self) -> ComposeResult:
        yield Static("find ›", classes="label", markup=False)
        yield Searched(self._words, placeholder="words", id="words")
        yield Pick("‹", "previous")
        yield Pick("›", "next")

    def on_mount(self) -> None:
        """One writes at once."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def typed(self, changed: Input.Changed) -> None:
        """Finds what has been typed so far."""
        changed.stop()
        if changed.value != self._words:
            self._words = changed.value
            self.post_message(self.Wanted(changed.value, 0))

    @on(Input.Submitted)
    def submitted(self, submitted: Input.Submitted) -> None:
        """Enter: the next place."""
        submitted.stop()
        self.action_find(1)

    def action_find(self, by: int) -> None:
        """Another place."""
        self.post_message(self.Wanted(self.query_one(Input).value, by))

    def action_close(self) -> None:
        """Back to the text."""
        self.post_message(self.Closed())

    @on(Pick.Picked)
    def picked(self, picked: Pick.Picked) -> None:
        """The mouse's way to other places."""
        picked.stop()
        self.action_find(1 if picked.pick.name == "next" else -1)


def find(lines: Sequence[str], words: str, start: Location, by: int) -> Location | None:
    """Where the words stand next; behind the end it goes on from the beginning.

    Args:
        lines: the text.
        words: what to find; a capital letter in it makes capitals count.
        start: where to begin: at this place, for the place after it (1) or before it (-1).
        by: 1 or -1.
    """
    if not words:
        return None
    pattern = re.compile(re.escape(words), 0 if words != words.lower() else re.IGNORECASE)
    row, column = start
    count = len(lines)
    for step in range(count + 1):
        here = (row + by * step) % count
        places = [match.start() for match in pattern.finditer(lines[here])]
        if step == 0:
            places = [place for place in places if (place >= column if by > 0 else place < column)]
        if places:
            return here, places[0 if by > 0 else -1]
    return None
