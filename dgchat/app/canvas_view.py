"""The live canvas on the screen: rows of fixed places, of which only those that have changed are drawn anew."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from dgchat.canvas.layout import Row
from dgchat.canvas.looks import Styles


class CanvasView(Widget):
    """Rows of spans. Its height is that of the rows, and never less than it was: text around it stays where it is."""

    def __init__(self, styles: Styles) -> None:
        super().__init__()
        self._styles = styles
        self._rows: list[Row] = []

    def restyle(self, styles: Styles) -> None:
        """Draws everything in other colours."""
        self._styles = styles
        self.refresh()

    def draw(self, rows: Sequence[Row]) -> None:
        """Shows these rows."""
        old, self._rows = self._rows, list(rows)
        if len(old) != len(self._rows):
            self.refresh(layout=True)
            return
        width = self.size.width
        changed = [Region(0, y, width, 1) for y, row in enumerate(self._rows) if row != old[y]]
        if changed:
            self.refresh(*changed)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are rows."""
        return max(1, len(self._rows))

    def render_line(self, y: int) -> Strip:
        """One row, padded to the width."""
        width, base = self.size.width, self.rich_style
        if y >= len(self._rows):
            return Strip.blank(width, base)
        segments = [Segment(span.text, self._styles.of(span)) for span in self._rows[y]]
        return Strip(segments).apply_style(base).adjust_cell_length(width, base)
