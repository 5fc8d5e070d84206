"""Frames as they stand on a screen of their own: the question, the answer, and a line that tells the step.

A scene knows no format: `svg`, `anim`, `cast` and `gif` draw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size

from dgchat.canvas.layout import Look, Row
from dgchat.export.options import Options
from dgchat.notes import plural
from dgchat.sanitize import clean_line
from dgchat.themes import Theme
from dgchat.trace.frames import Frame, frame_at, frames, opening
from dgchat.trace.steps import StepTrace

# Inks: names for colours. Those of shades are "s0" (most uncertain) to "s15".
TEXT, NOISE, BACK, PIN, QUIET, ASKED = "text", "noise", "back", "pin", "quiet", "asked"
_INKS = {Look.NOISE: NOISE, Look.ACCEPTED: TEXT, Look.SETTLED: TEXT, Look.BACK: BACK, Look.PINNED: PIN}
_PROMPT = "› "
_NOISE_SECONDS = 0.8
_MOST_LINES = 100  # of an answer; a longer one moves up, as on a terminal


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one colour; BACK is underlined as well."""

    text: str
    ink: str


Line: TypeAlias = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """What stands on the screen for `duration` seconds from `start` on; the last line is the status."""

    lines: tuple[Line, ...]
    start: float
    duration: float


@dataclass(frozen=True)
class Scene:
    """A film, or with one shot a picture; every shot has `height` lines of at most `width` cells."""

    title: str
    width: int
    height: int
    shots: tuple[Shot, ...]

    @property
    def seconds(self) -> float:
        """From the start of the first to the end of the last shot."""
        return self.shots[-1].start + self.shots[-1].duration


def film(trace: StepTrace, options: Options) -> Scene:
    """All frames, after a moment of noise: that is where the model begins."""
    noise = opening(trace, options.view, _NOISE_SECONDS)
    if noise is None:
        return _scene(trace, options, frames(trace, options.view))
    later = (replace(frame, start=frame.start + _NOISE_SECONDS) for frame in frames(trace, options.view))
    return _scene(trace, options, chain([noise], later))


def still(trace: StepTrace, options: Options) -> Scene:
    """One frame.

    Raises:
        Failure: the trace has no such step (exit code 2).
    """
    return _scene(trace, options, [frame_at(trace, options.view, options.still(trace))])


def _scene(trace: StepTrace, options: Options, shown: Iterable[Frame]) -> Scene:
    width = options.view.width
    head = _head(trace.about.prompt, width)
    bodies = [(frame, [*head, *map(_line, frame.last_rows(_MOST_LINES))]) for frame in shown]
    height = max(len(body) for _, body in bodies) + 2
    shots = [
        Shot(
            (*body, *[()] * (height - 1 - len(body)), (Run(_status(frame, width), QUIET),)),
            frame.start,
            frame.duration,
        )
        for frame, body in bodies
    ]
    model = clean_line(trace.about.model)
    return Scene(" · ".join(["dgchat", *([model] if model else [])]), width, height, tuple(shots))


def _head(prompt: str, width: int) -> list[Line]:
    """The question on one line, and an empty one; nothing where it is not known."""
    asked = clean_line(prompt[: 8 * width])
    if not asked:
        return []
    if cell_len(_PROMPT + asked) > width or len(prompt) > 8 * width:
        asked = set_cell_size(asked, max(1, width - cell_len(_PROMPT) - 1)).rstrip() + "…"
    return [(Run(_PROMPT, QUIET), Run(asked, ASKED)), ()]


def _line(row: Row) -> Line:
    return tuple(Run(span.text, _INKS.get(span.look) or f"s{span.shade}") for span in row if span.text)


def _status(frame: Frame, width: int) -> str:
    """As much of what there is to say as fits."""
    if frame.settled:
        parts = [f"settled · {plural(frame.number - 1, 'step')}"]
    elif not frame.step:
        parts = [f"block {frame.block} · noise"]
    else:
        parts = [f"block {frame.block} · step {frame.step} of {frame.steps}"]
        parts += [f"accepted {frame.accepted} of {frame.length}", f"T {frame.temperature:.2f}"]
    text = ""
    for part in parts:
        longer = f"{text}   {part}" if text else part
        text = longer if len(longer) <= width else text
    return text


def colors(theme: Theme) -> Mapping[str, str]:
    """The colour of every ink, "#rrggbb"."""
    canvas = theme.canvas
    return {
        TEXT: theme.colors["foreground"],
        NOISE: canvas["canvas-noise"],
        BACK: canvas["canvas-back"],
        PIN: canvas["canvas-pin"],
        QUIET: theme.colors["secondary"],
        ASKED: theme.colors["accent"],
        **{f"s{shade}": color for shade, color in enumerate(theme.ramp())},
    }


def placed(line: Line) -> Iterator[tuple[int, int, Run]]:
    """The runs of a line, each without blanks at its ends, with its first column and its width in cells."""
    column = 0
    for run in line:
        width = cell_len(run.text)
        text = run.text.strip(" ")
        if text:
            indent = len(run.text) - len(run.text.lstrip(" "))
            yield column + indent, cell_len(text), Run(text, run.ink)
        column += width
