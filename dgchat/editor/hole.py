"""The place in a text that is being rewritten: where it lies on the screen, and what is drawn there.

Its room is given once, as it opens. From then on nothing around it moves: the text before it and the text behind it
keep their columns, and what is behind it is at most some rows lower than before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_ENDLESS: Final = 100_000
_SLACK: Final = 1.15  # rows are not filled to their ends, so that words may grow


@dataclass(frozen=True)
class Room:
    """Where the hole lies. Rows and columns are cells of the text, without line numbers; ends are exclusive.

    Attributes:
        top: the row in which it begins, at column `left`.
        bottom: the row in which the old text ended, at column `right`, without the hole.
        extra: rows that the hole has beyond those of the old text.
        shift: cells by which what follows in its row is further to the right than before.
        width: cells of a row.
    """

    top: int
    left: int
    bottom: int
    right: int
    extra: int
    shift: int
    width: int

    @property
    def rows(self) -> int:
        """Rows in which the hole has a part."""
        return self.bottom + self.extra - self.top + 1

    @property
    def last(self) -> int:
        """The row in which it ends."""
        return self.bottom + self.extra

    @property
    def end(self) -> int:
        """The column in which it ends there."""
        return self.right + self.shift

    @property
    def layout_width(self) -> int:
        """The cells that its text may fill in a row. In one row alone it is cut, and not wrapped out of sight."""
        return _ENDLESS if self.rows == 1 else self.width

    def part(self, number: int) -> tuple[int, int]:
        """The columns of its part in its row of this number, from 0."""
        return (self.left if number == 0 else 0), (self.end if number == self.rows - 1 else self.width)


@dataclass(frozen=True)
class Need:
    """What a new text may take.

    Attributes:
        cells: of its characters.
        breaks: its own line breaks.
        most_rows: how many rows it may take at most, beside those of the old text.
    """

    cells: int
    breaks: int
    most_rows: int


def make_room(
    start: tuple[int, int], end: tuple[int, int], width: int, tail: int, need: Need, widen: bool = True
) -> Room:
    """The room for a hole.

    Args:
        start: column and row in which the old text begins.
        end: column and row in which it ends.
        width: cells of a row.
        tail: cells of what follows it in its last row.
        need: what the new text may take.
        widen: whether what follows may be moved to the right, where it still fits into the row then.
    """
    (left, top), (right, bottom) = start, end
    width = max(width, right + 1, left + 1)
    more = math.ceil(max(1, need.cells) * _SLACK) - (right - left + (bottom - top) * width)
    rows = max(0, need.breaks - (bottom - top))
    if more <= 0 and not rows:
        return Room(top, left, bottom, right, 0, 0, width)
    if top == bottom and widen and not rows and right + more + tail <= width:
        return Room(top, left, bottom, right, 0, more, width)
    extra = min(max(rows, math.ceil(more / width)), max(1, need.most_rows))
    return Room(top, left, bottom, right, extra, 0, width)
