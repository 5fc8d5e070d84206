"""How each look of a token is drawn: rich styles from a palette."""

from __future__ import annotations

from rich.style import Style

from dgchat.canvas.layout import Look, Span
from dgchat.themes import Theme


class Styles:
    """The styles of one palette. Accepted and settled text has the screen's own colour."""

    def __init__(self, theme: Theme, marks: bool = False) -> None:
        """`marks`: looks are told apart by glyphs, not by colours."""
        canvas = theme.canvas
        self.plain = Style()
        self.quiet = Style(dim=True)
        self._ramp = [Style(dim=True) if marks else Style(color=color) for color in theme.ramp()]
        self._looks = {
            Look.NOISE: Style(dim=True) if marks else Style(color=canvas["canvas-noise"]),
            Look.ACCEPTED: self.plain,
            Look.SETTLED: self.plain,
            Look.BACK: Style(underline=True, color=None if marks else canvas["canvas-back"]),
            Look.PINNED: self.plain if marks else Style(color=canvas["canvas-pin"]),
        }

    def of(self, span: Span) -> Style:
        """The style of a span."""
        return self._ramp[span.shade] if span.look is Look.PROVISIONAL else self._looks[span.look]
