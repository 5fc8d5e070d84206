"""The hole's rows, put between what stands before and behind it. Knows no screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from dgchat.app.stage import Line
from dgchat.canvas.layout import Look, Span
from dgchat.canvas.looks import Styles
from dgchat.editor.hole import Need, Room

Range: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

_CURSOR = Style(reverse=True)
_PIN = "▎"
_MORE = "…"


@dataclass
class HoleDrawing:
    """What the hole shows.

    Attributes:
        room: where it lies.
        lines: its rows, laid out from the left end of the text on.
        span, need: what it was opened with.
        styles: how looks are drawn.
    """

    room: Room
    lines: list[Line]
    span: Range
    need: Need
    styles: Styles | None = None

    def draw(self, lines: Sequence[Line]) -> list[int]:
        """Takes these lines; returns the numbers of the rows that look different now."""
        old, self.lines = self.lines, list(lines)
        rows = range(self.room.rows)
        changed = [number for number in rows if _at(old, number) != _at(self.lines, number)]
        last = self.room.rows - 1
        if (len(old) > self.room.rows) != (len(lines) > self.room.rows) and last not in changed:
            changed.append(last)
        return changed

    def strip(
        self, number: int, before: Strip, behind: Strip, gutter: int, scroll: int, base: Style, margin: Style
    ) -> Strip:
        """One row of the screen.

        Args:
            number: which of the hole's rows, from 0.
            before: the row of the text in which the hole begins, with its line number.
            behind: the row in which the old text ends.
            gutter: cells of the line number.
            scroll: cells that are scrolled out of sight to the left.
            base: the style of the text.
            margin: the style of the line numbers.
        """
        width = before.cell_length
        line, (start, end) = _at(self.lines, number), self.room.part(number)
        cut = number == self.room.rows - 1 and (len(self.lines) > self.room.rows or _cells(line) > end)
        inner = self._inner(line, start, end, base, cut).crop(max(0, scroll - start))
        parts = [before.crop(0, gutter) if number == 0 else Strip([Segment(" " * gutter, margin)])]
        if number == 0:
            parts.append(before.crop(gutter, max(gutter, gutter + start - scroll)))
        parts.append(inner)
        if number == self.room.rows - 1:
            parts.append(behind.crop(max(gutter, gutter + self.room.right - scroll)))
        strip = Strip.join(parts).adjust_cell_length(width, base).crop(0, width)
        return self._with_pin(strip, gutter) if line.pinned else strip

    def _inner(self, line: Line, start: int, end: int, base: Style, cut: bool) -> Strip:
        """The hole's own cells in a row."""
        assert self.styles is not None  # it is drawn before it is seen
        segments = [Segment(span.text, base + self.styles.of(span)) for span in line.row]
        strip = Strip(segments).adjust_cell_length(max(end, _cells(line)), base)
        for column, cells in line.cursor:
            strip = styled(strip, column, column + cells, _CURSOR)
        inner = strip.crop(start, end)
        if cut and end > start:
            inner = Strip.join([inner.crop(0, end - start - 1), Strip([Segment(_MORE, base + self.styles.quiet)])])
        return inner

    def _with_pin(self, strip: Strip, gutter: int) -> Strip:
        """The mark of a row in which something is held."""
        if not gutter or self.styles is None:
            return strip
        mark = Strip([Segment(_PIN, self.styles.of(Span(_PIN, Look.PINNED)))])
        return Strip.join([strip.crop(0, gutter - 1), mark, strip.crop(gutter)])


def _cells(line: Line) -> int:
    return sum(cell_len(span.text) for span in line.row)


def _at(lines: Sequence[Line], number: int) -> Line:
    return lines[number] if number < len(lines) else Line(())


def styled(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """The strip with some of its cells in another style, over their own."""
    start, end = max(0, start), min(end, strip.cell_length)
    if start >= end:
        return strip
    left, middle, right = strip.crop(0, start), strip.crop(start, end), strip.crop(end)
    over = Strip(list(Segment.apply_style(middle, post_style=style)), middle.cell_length)
    return Strip.join([left, over, right])
