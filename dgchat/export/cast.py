"""asciicast v2, what asciinema plays: a line of JSON for the header, and one for each change of the screen."""

from __future__ import annotations

import json

from dgchat.export.options import Options
from dgchat.export.scene import BACK, TEXT, Line, Scene, Shot, colors, film
from dgchat.themes import Theme
from dgchat.trace.steps import StepTrace

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CLEAR, _PLAIN = "\x1b[2K", "\x1b[0m"
# The sixteen colours of a terminal, of a palette's own names; only text that is not dgchat's would use them.
_SIXTEEN = ("background", "error", "success", "warning", "primary", "accent", "secondary", "foreground")


def export(trace: StepTrace, options: Options) -> bytes:
    """The film in a terminal just large enough for it."""
    scene, theme = film(trace, options), options.dark
    lines = [json.dumps(_header(scene, theme))]
    inks = {ink: f"\x1b[38;2;{_channels(color)}m" for ink, color in colors(theme).items() if ink != TEXT}
    before: tuple[Line, ...] | None = None
    for shot in scene.shots:
        data = (_HIDE if before is None else "") + _redraw(shot, before, inks)
        lines.append(json.dumps([round(shot.start, 3), "o", data]))
        before = shot.lines
    lines.append(json.dumps([round(scene.seconds, 3), "o", "\r\n" + _SHOW]))
    return ("\n".join(lines) + "\n").encode()


def _header(scene: Scene, theme: Theme) -> dict[str, object]:
    palette = ":".join(theme.colors[name] for name in _SIXTEEN)
    return {
        "version": 2,
        "width": scene.width,
        "height": scene.height + 1,  # the cursor ends on a line of its own
        "duration": round(scene.seconds, 3),
        "title": scene.title,
        "env": {"TERM": "xterm-256color"},
        "theme": {"fg": theme.colors["foreground"], "bg": theme.colors["background"], "palette": palette},
    }


def _redraw(shot: Shot, before: tuple[Line, ...] | None, inks: dict[str, str]) -> str:
    """From the start of the last line back to the first, and down again; lines that stay as they were are passed."""
    if before is None:
        rows = [_ansi(line, inks) for line in shot.lines]
    else:
        pairs = zip(shot.lines, before, strict=True)
        rows = ["" if line == old else _CLEAR + _ansi(line, inks) for line, old in pairs]
    up = f"\x1b[{len(rows) - 1}A" if before is not None and len(rows) > 1 else ""
    return up + "\r\n".join(rows) + "\r"


def _ansi(line: Line, inks: dict[str, str]) -> str:
    parts = []
    for run in line:
        style = inks.get(run.ink, "") + ("\x1b[4m" if run.ink == BACK else "")
        parts.append(style + run.text + (_PLAIN if style else ""))
    return "".join(parts)


def _channels(color: str) -> str:
    return ";".join(str(int(color[place : place + 2], 16)) for place in (1, 3, 5))
