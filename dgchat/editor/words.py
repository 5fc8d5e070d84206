"""The words of a selection, of which some are to be kept as they are. Knows no screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]+")


class Words:
    """The words of a text, which ones are kept, and which one is looked at.

    Attributes:
        ranges: where each lies in the text.
        kept: the numbers of those that are kept.
        now: the number of the one that is looked at.
    """

    def __init__(self, text: str) -> None:
        self.ranges: Sequence[Range] = [match.span() for match in _WORD.finditer(text)]
        self.kept: set[int] = set()
        self.now = 0
        self._text = text

    def move(self, by: int) -> None:
        """Looks at another word."""
        self.now = min(max(self.now + by, 0), max(0, len(self.ranges) - 1))

    def at(self, place: int) -> int | None:
        """The number of the word that stands at a place of the text."""
        return next((number for number, (start, end) in enumerate(self.ranges) if start <= place < end), None)

    def toggle(self, number: int | None = None) -> bool:
        """Keeps a word, by default the one looked at, or no longer does; False where there is none."""
        number = self.now if number is None else number
        if not 0 <= number < len(self.ranges):
            return False
        self.now = number
        self.kept ^= {number}
        return True

    def kept_ranges(self) -> list[Range]:
        """Where the words lie that are kept; neighbours, with the space between them, are one range."""
        found: list[Range] = []
        for number in sorted(self.kept):
            start, end = self.ranges[number]
            if found and number - 1 in self.kept:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
        return found


def without_ends(span: Range, keep: Sequence[Range]) -> tuple[Range, list[Range]]:
    """A span, and what is kept of it, without the kept parts that stand at its ends: there nothing is to be done."""
    (start, end), kept = span, list(keep)
    while kept and kept[0][0] <= start:
        start = kept.pop(0)[1]
    while kept and kept[-1][1] >= end:
        end = kept.pop()[0]
    return (start, max(start, end)), kept
