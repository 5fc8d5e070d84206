"""A rewrite that resolves on the terminal, in place, between the text that stands on both sides of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TextIO

import numpy as np
from rich.style import Style

from dgchat.canvas.layout import NEWLINE, Atom, Layout, Look, Row, Span, split, words
from dgchat.canvas.state import Canvas
from dgchat.inline.watch import CanvasSource, Painter, reading_note
from dgchat.sanitize import strip_controls
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgengine import Event, Hole, InfillRequest, Step

_AROUND: Final = 160  # characters of the text around that are shown, on each side
_LINES: Final = 2  # line ends behind the hole up to which it is shown
_SNAPPED: Final = 16  # characters by which a hole may begin before its span: at the edge of a token


@dataclass
class _Forming:
    """A canvas that is being denoised: its last step, and how much of it is shown."""

    number: int
    first: int
    last: int
    span: int
    canvas: Canvas | None = None
    length: int = 0
    step: int = 0
    nats: float = float("inf")
    finished: bool = False


class HoleWriter:
    """Draws the candidate that is most confident now. Leaves nothing behind: the result is printed by others."""

    def __init__(self, engine: CanvasSource, request: InfillRequest, settings: Settings, out: TextIO) -> None:
        """`out`: a terminal on which text can be redrawn."""
        self._engine, self._request, self._motion = engine, request, settings.motion
        self._forming: dict[int, _Forming] = {}  # by canvas
        self._shown: _Forming | None = None
        self._painter = Painter(settings, out, self._style)

    def take(self, event: Event) -> None:
        """Draws what the event brings."""
        from dgengine import Block, Hole, Prefill, Step

        match event:
            case Prefill():
                if self._shown is None:
                    self._painter.open_with(self._still, reading_note(event))
            case Hole():
                self._open(event)
            case Step():
                self._step(event)
            case Block() if event.block in self._forming:
                self._forming[event.block].finished = True

    def close(self) -> None:
        """Wipes what is drawn, once it has been seen."""
        try:
            if self._shown is not None and self._shown.finished:
                self._painter.beat()
        finally:
            self._painter.close()

    def _open(self, hole: Hole) -> None:
        first, last = min(place[1] for place in hole.places), max(place[2] for place in hole.places)
        self._forming[hole.block] = _Forming(hole.candidate, first, last, min(place[0] for place in hole.places))

    def _step(self, step: Step) -> None:
        forming = self._forming.get(step.block)
        if forming is None:
            return
        if forming.canvas is None:
            self._lay_out(forming, step)
        assert forming.canvas is not None
        free = ~step.pinned
        forming.step, forming.nats = step.step, float(step.entropy[free].mean()) if free.any() else 0.0
        forming.canvas.take(self._visible(step, forming.length))
        if self._choose(forming):
            self._painter.show(
                self._rows,
                f"candidate {forming.number + 1}, step {step.step}",
                f"accepted {int(step.accepted[free].sum())} of {int(free.sum())}",
                f"T {step.temperature:.2f}",
            )

    def _choose(self, stepped: _Forming) -> bool:
        """Whether the candidate that has made a step is to be shown.

        Another one takes the place of the one shown when it is more confident, or when that one makes no more steps:
        it is done, or was given up.
        """
        now = self._shown
        running = [forming for forming in self._forming.values() if not forming.finished]
        gone = now is None or now.finished or now not in running or now.step < stepped.step - 1
        if gone or (now is not stepped and now is not None and stepped.nats < now.nats):
            self._shown = stepped
        return self._shown is stepped

    def _lay_out(self, forming: _Forming, step: Step) -> None:
        """Decides how much of the fixed text is shown before and behind the hole."""
        pieces = self._engine.pieces(step.draft.tolist())
        shown, ends = "", 0
        forming.length = forming.last
        for piece in pieces[forming.last :]:
            shown += piece
            ends = shown.count("\n")
            if ends >= _LINES or len(shown) > _AROUND:
                break
            forming.length += 1
        head = self._before(self._request.spans[forming.span][0], "".join(pieces[: forming.first]))
        forming.canvas = Canvas(forming.length, self._engine.pieces, head=strip_controls(head), motion=self._motion)

    def _before(self, place: int, on_canvas: str) -> str:
        """What the document has before the fixed text that the canvas begins with, back to the start of its line."""
        text = self._request.text
        start = text.rfind(on_canvas, max(0, place - len(on_canvas) - _SNAPPED), place)
        if start < 0:
            return ""
        return text[max(text.rfind("\n", 0, start) + 1, start - _AROUND) : start]

    def _visible(self, step: Step, length: int) -> Step:
        """The part of a step's canvas that is shown. Without colours fixed text has no marks: it is plain text."""
        part = slice(0, length)
        accepted, pinned = step.accepted[part], step.pinned[part]
        if self._painter.marks:
            accepted, pinned = accepted | pinned, np.zeros_like(pinned)
        return replace(
            step, draft=step.draft[part], canvas=step.canvas[part], entropy=step.entropy[part], accepted=accepted,
            pinned=pinned, top_ids=None, top_probs=None,
        )  # fmt: skip

    def _style(self, span: Span) -> Style:
        """What is fixed is quiet, so that the hole stands out."""
        styles = self._painter.styles
        return styles.quiet if span.look in (Look.PINNED, Look.SETTLED) else styles.of(span)

    def _rows(self, columns: int) -> list[Row]:
        assert self._shown is not None and self._shown.canvas is not None
        return [_plain_end(row) for row in self._shown.canvas.rows(columns, self._painter.marks)]

    def _still(self, columns: int) -> list[Row]:
        """The first span as it stands, with its line: while the prompt is read."""
        text, (start, end) = self._request.text, self._request.spans[0]
        first = max(text.rfind("\n", 0, start) + 1, start - _AROUND)
        last = text.find("\n", end)
        shown = text[first : min(last if last >= 0 else len(text), end + _AROUND)]
        return Layout().rows(_atoms(strip_controls(shown)), columns)


def _plain_end(row: Row) -> Row:
    """A row without the sign of a newline that is fixed: there is nothing to be decided about it."""
    if row and row[-1].look is Look.PINNED and row[-1].text.endswith(NEWLINE):
        return (*row[:-1], row[-1].saying(row[-1].text[: -len(NEWLINE)]))
    return row


def _atoms(text: str) -> Iterable[Atom]:
    for place, word in enumerate(words(text)):
        yield from split(word, place, Span("", Look.SETTLED), breaks=True)
