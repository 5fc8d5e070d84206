"""The canvas that one can point into: rows of tokens, a cursor, and a gutter that marks rows with pins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from dgchat.canvas.layout import Row, Span
from dgchat.canvas.looks import Styles

if TYPE_CHECKING:
    from dgchat.canvas.state import Canvas

GUTTER: Final = 1  # cells before each row
_CURSOR = Style(reverse=True)


@dataclass(frozen=True)
class Line:
    """One row as it is drawn.

    Attributes:
        row: its spans.
        pinned: whether something in it is held.
        cursor: columns and widths of the pieces that the cursor is on.
    """

    row: Row
    pinned: bool = False
    cursor: tuple[tuple[int, int], ...] = ()


def lines(canvas: Canvas, rows: Sequence[Row], cursor: int | None) -> list[Line]:
    """The rows that a canvas has just made, with the marks of what is pinned and the cursor on a position's token."""
    pieces = canvas.where(cursor) if cursor is not None else []
    pinned = canvas.pinned_rows()
    return [
        Line(row, y in pinned, tuple((column, width) for line, column, width in pieces if line == y))
        for y, row in enumerate(rows)
    ]


class Stage(Widget):
    """Lines of fixed places, of which only those that have changed are drawn anew."""

    @dataclass
    class Pointed(Message):
        """The mouse has clicked there, or rests there; in cells of the rows."""

        row: int
        column: int
        clicked: bool

    def __init__(self, styles: Styles, pin: Span) -> None:
        """`pin`: the mark in the gutter, with its look."""
        super().__init__()
        self._styles = styles
        self._pin = pin
        self._lines: list[Line] = []
        self._base: Style | None = None  # the widget's own style, which takes long to find out
        self._inks: dict[Style, Style] = {}  # a span's style over it

    @property
    def room(self) -> int:
        """Cells that a row has."""
        return max(1, (self.size.width or self.app.size.width - 6) - GUTTER)

    def restyle(self, styles: Styles) -> None:
        """Draws everything in other colours, if they are others."""
        if styles is not self._styles:
            self._styles = styles
            self._base = None
            self.refresh()

    def draw(self, lines: Sequence[Line]) -> None:
        """Shows these lines."""
        old, self._lines = self._lines, list(lines)
        self._base = None
        if len(old) != len(self._lines):
            self.refresh(layout=True)
            return
        width = self.size.width
        changed = [Region(0, y, width, 1) for y, line in enumerate(self._lines) if line != old[y]]
        if changed:
            self.refresh(*changed)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are rows."""
        return max(1, len(self._lines))

    def render_line(self, y: int) -> Strip:
        """One line, padded to the width."""
        width, base = self.size.width, self._ground()
        if y >= len(self._lines):
            return Strip.blank(width, base)
        line = self._lines[y]
        gutter = self._pin.text if line.pinned else ""
        segments = [Segment(gutter.ljust(GUTTER), self._ink(self._pin))]
        segments += [Segment(span.text, self._ink(span)) for span in line.row]
        strip = Strip(segments).adjust_cell_length(width, base)
        for column, cells in line.cursor:
            strip = _reversed(strip, column + GUTTER, cells)
        return strip

    def _ground(self) -> Style:
        if self._base is None:
            self._base = self.rich_style
            self._inks.clear()
        return self._base

    def _ink(self, span: Span) -> Style:
        style = self._styles.of(span)
        ink = self._inks.get(style)
        if ink is None:
            ink = self._inks[style] = self._ground() + style
        return ink

    def on_click(self, event: events.Click) -> None:
        """A token is chosen."""
        event.stop()
        self.post_message(self.Pointed(event.y, event.x - GUTTER, clicked=True))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """A token is looked at."""
        self.post_message(self.Pointed(event.y, event.x - GUTTER, clicked=False))


def _reversed(strip: Strip, column: int, cells: int) -> Strip:
    """The strip with some of its cells in reverse video."""
    end = min(column + cells, strip.cell_length)
    if column >= end:
        return strip
    parts = list(strip.divide([column, end, strip.cell_length]))
    parts[1] = parts[1].apply_style(_CURSOR)
    return Strip.join(parts)
