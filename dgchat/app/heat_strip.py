"""A block at a glance: its positions from left to right, its steps from top to bottom, the brighter the surer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from dgchat.canvas.layout import Look, Span
from dgchat.canvas.looks import Styles
from dgchat.canvas.state import NOISE_NATS
from dgchat.themes import SHADES
from dgchat.trace.steps import BlockTrace
from dgchat.trace.story import heat

ROWS = 4  # of the strip; each shows two slices of the steps
_SIGNS = " ░▒▓█"  # from unsure to sure, where there are no colours


class HeatStrip(Widget):
    """Entropy by position and step. A click goes to the step."""

    @dataclass
    class Chosen(Message):
        """The user wants the step at this share of the block, 0 to 1."""

        share: float

    def __init__(self, styles: Styles, marks: bool) -> None:
        """`marks`: signs in the place of colours."""
        super().__init__()
        self._styles, self._marks = styles, marks
        self._block: BlockTrace | None = None
        self._steps = 0
        self._number = 0
        self._grid: NDArray[np.float32] = np.zeros((2 * ROWS, 1), np.float32)

    def show(self, block: BlockTrace, number: int) -> None:
        """The block, and the step that is looked at, from 1."""
        columns = max(1, self.size.width - 2)
        if block is not self._block or len(block) != self._steps or self._grid.shape[1] != columns:
            self._block, self._steps = block, len(block)
            self._grid = heat(block, 2 * ROWS, columns)
        self._number = number
        self.refresh()

    def on_resize(self) -> None:
        """As many slices as there is room for now."""
        if self._block is not None and len(self._block):
            self.show(self._block, self._number)

    def restyle(self, styles: Styles) -> None:
        """Draws everything in other colours."""
        self._styles = styles
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Two slices of the steps in one row of cells, and a mark where the step is that is looked at."""
        here = self._steps and (self._number - 1) * ROWS // self._steps == y
        head = Segment("▸ " if here else "  ", self._styles.plain)
        upper, lower = self._grid[2 * y], self._grid[2 * y + 1]
        cells = [self._cell(float(a), float(b)) for a, b in zip(upper, lower, strict=True)]
        return Strip([head, *cells]).apply_style(self.rich_style).adjust_cell_length(self.size.width, self.rich_style)

    def _cell(self, upper: float, lower: float) -> Segment:
        if self._marks:
            sure = 1 - min(1.0, (upper + lower) / 2 / NOISE_NATS)
            return Segment(_SIGNS[round(sure * (len(_SIGNS) - 1))], self._styles.plain)
        return Segment("▀", Style.from_color(self._color(upper), self._color(lower)))

    def _color(self, nats: float) -> Color | None:
        if nats > NOISE_NATS:
            return self._styles.of(Span("", Look.NOISE)).color
        shade = round((SHADES - 1) * (1 - max(nats, 0.0) / NOISE_NATS))
        return self._styles.of(Span("", Look.PROVISIONAL, shade)).color

    def on_click(self, event: events.Click) -> None:
        """Goes to the step that was clicked."""
        event.stop()
        self.post_message(self.Chosen((event.y + 0.5) / ROWS))
