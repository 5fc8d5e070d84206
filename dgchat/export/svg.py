"""One frame as an SVG: a window of a terminal, with no font and no file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from dgchat.export.options import Options
from dgchat.export.scene import BACK, TEXT, Line, Scene, colors, placed, still
from dgchat.themes import Theme
from dgchat.trace.steps import StepTrace

CELL, LINE = 8.4, 20.0  # width of a cell and height of a line, in pixels
_SIZE = 14
_MARGIN, _TOP, _BOTTOM = 22.0, 46.0, 20.0
_FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
# What XML cannot hold, however it is written.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def export(trace: StepTrace, options: Options) -> bytes:
    """The frame of the step that the options name, or of the middle one.

    Raises:
        Failure: the trace has no such step (exit code 2).
    """
    scene = still(trace, options)
    body = "".join(texts(line, row) for row, line in enumerate(scene.shots[0].lines))
    return window(scene, options.dark, body).encode()


def texts(line: Line, row: int) -> str:
    """The runs of one line, each at its own columns: whatever font there is, they stand where they should."""
    return "".join(text(row, *place) for place in _pieces(line))


def _pieces(line: Line) -> Iterator[tuple[int, int, str, str]]:
    return ((column, cells, run.text, run.ink) for column, cells, run in placed(line))


def text(row: int, column: int, cells: int, words: str, ink: str) -> str:
    """One run, its first column and its width given in cells."""
    kind = "" if ink == TEXT else f' class="{ink}"'
    x, y = _short(_MARGIN + column * CELL), _short(_TOP + (row + 0.75) * LINE)
    shown = escape(_FORBIDDEN.sub("\ufffd", words), quote=False).replace("  ", "\u00a0\u00a0")
    return f'<text x="{x}" y="{y}" textLength="{_short(cells * CELL)}"{kind}>{shown}</text>'


def extent(scene: Scene) -> tuple[float, float]:
    """Width and height of the window, in pixels."""
    return 2 * _MARGIN + scene.width * CELL, _TOP + scene.height * LINE + _BOTTOM


def window(scene: Scene, theme: Theme, body: str, style: str = "") -> str:
    """The whole document: a window with `body` in it; `style` is more CSS."""
    width, height = extent(scene)
    size = f'width="{_short(width)}" height="{_short(height)}"'
    title = escape(_FORBIDDEN.sub("\ufffd", scene.title), quote=False)
    buttons = "".join(
        f'<circle cx="{24 + 20 * place}" cy="21" r="6" fill="{theme.colors[color]}" fill-opacity=".75"/>'
        for place, color in enumerate(("error", "warning", "success"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_short(width)} {_short(height)}" role="img">'
        f"<title>{title}</title><style>{_style(theme)}{style}</style>"
        f'<rect x=".5" y=".5" width="{_short(width - 1)}" height="{_short(height - 1)}" rx="10"'
        f' fill="{theme.colors["background"]}" stroke="{theme.colors["panel"]}"/>'
        f'{buttons}<text class="quiet title" x="{_short(width / 2)}" y="26">{title}</text>'
        f"{body}</svg>\n"
    )


def _style(theme: Theme) -> str:
    inks = colors(theme)
    rules = [f"text{{font:{_SIZE}px {_FONTS};fill:{inks[TEXT]};white-space:pre}}"]
    rules += [f".{ink}{{fill:{color}}}" for ink, color in inks.items() if ink != TEXT]
    return "".join([*rules, f".{BACK}{{text-decoration:underline}}", ".title{text-anchor:middle;font-size:13px}"])


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
