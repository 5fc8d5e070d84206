"""How a canvas is drawn. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass

from dgchat.canvas.looks import Styles
from dgchat.canvas.state import Mode


@dataclass(frozen=True)
class Drawing:
    """How the canvas is drawn.

    Attributes:
        styles: the colours of the looks.
        marks: looks are told apart by glyphs, for screens without colour.
        mode: what the shades tell.
        motion: whether noise moves.
    """

    styles: Styles
    marks: bool
    mode: Mode
    motion: bool
