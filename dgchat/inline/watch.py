"""An answer that resolves on the terminal, in place, and leaves only its text behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeAlias

from rich.console import Console
from rich.style import Style
from rich.text import Text

from dgchat.canvas.layout import Look, Row, Span
from dgchat.canvas.looks import Styles
from dgchat.canvas.marks import shown
from dgchat.canvas.state import Canvas
from dgchat.inline.answer import Answer
from dgchat.inline.live import LiveArea
from dgchat.inline.wrap import Wrapper
from dgchat.sanitize import Sanitizer
from dgchat.settings import Settings
from dgchat.themes import load
from dgchat.thoughts import Speller

if TYPE_CHECKING:
    from dgengine import Event, Prefill, Sampling, Step

Rows: TypeAlias = Callable[[int], list[Row]]
"""The rows of a canvas at a width in cells."""

_MAX_FPS = 30.0  # Frames that nobody would see are left out; the newest wins.
_OPENING = 4  # Beats that the noise at the beginning stays in sight, while the prompt is read.
_LONG_READ = 256  # Tokens to encode that take long enough for a word about it.
_OVERLAP = 2  # Decided rows that stay in sight above the first undecided one.


def can_animate(out: TextIO) -> bool:
    """Whether `out` is a terminal on which text can be redrawn."""
    console = Console(file=out)
    return console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows


class CanvasSource(Speller, Protocol):
    """What drawing a canvas takes of an engine, or of a saved trace."""

    def pieces(self, ids: Iterable[int], /) -> list[str]:
        """The text that each token adds."""

    @property
    def info(self) -> HasLength:
        """Of the model."""

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """The checkpoint's."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""


class HasLength(Protocol):
    """What `info` is read for."""

    @property
    def canvas_length(self) -> int:
        """Positions of a canvas."""


class Painter:
    """Draws one canvas after another in an area of the terminal, each frame for its time.

    Attributes:
        console: on the terminal.
        marks: whether looks are told apart by glyphs.
        styles: of the looks.
        area: where the canvas is drawn.
    """

    def __init__(self, settings: Settings, out: TextIO, style: Callable[[Span], Style] | None = None) -> None:
        """Takes the end of the terminal's text over, until `close`.

        Args:
            style: that of a piece, by default that of its look.
        """
        self.console = Console(file=out, highlight=False)
        self.marks = self.console.no_color or self.console.color_system is None
        self.styles = Styles(load(settings.theme), self.marks)
        self.area = LiveArea(self.console)
        self._style = style or self.styles.of
        self._pace = settings.pace
        self._top = 0  # first row of the canvas in sight
        self._last = 0.0  # when the last frame was drawn
        self._hold = 1  # for how many beats it stays
        self._open = ExitStack()
        self._open.enter_context(self.area)
        self._open.enter_context(self.area.stoppable())

    def close(self) -> None:
        """Wipes the canvas."""
        self._open.close()

    def open_with(self, rows: Rows, *status: str) -> None:
        """Draws the noise at the beginning, which stays in sight while the prompt is read."""
        self.draw(rows, *status)
        self._hold = _OPENING

    def begin(self, rows: Rows) -> None:
        """Draws a canvas before its first step, where there is time to see it."""
        self._top = 0
        if self._pace:
            self.draw(rows)

    def show(self, rows: Rows, *status: str) -> None:
        """Draws a step when its time has come; with no pace, when the last frame is old enough."""
        if self._pace:
            self.beat()
        elif time.monotonic() - self._last < 1 / _MAX_FPS:
            return
        self.draw(rows, *status)

    def beat(self) -> None:
        """Waits until the last frame has been on the screen for its time."""
        if self._pace:
            time.sleep(max(0.0, self._last + self._hold / self._pace - time.monotonic()))
            self._hold = 1

    def draw(self, rows: Rows, *status: str) -> None:
        """Draws the rows that the width gives, and below them as many of the parts of `status` as fit."""
        columns, height = self.area.room()
        seen = self._in_sight(rows(columns), max(1, height - 1))
        texts = [Text.assemble(*((span.text, self._style(span)) for span in row)) for row in seen]
        self.area.draw([*texts, Text(_fitting(status, columns), style=self.styles.quiet)])
        self._last = time.monotonic()

    def _in_sight(self, rows: list[Row], height: int) -> list[Row]:
        """Of a canvas taller than the screen the rows around its first undecided one; never back up."""
        if len(rows) <= height:
            return rows
        undecided = next((place for place, row in enumerate(rows) if _is_undecided(row)), 0)
        self._top = min(max(self._top, undecided - _OVERLAP), len(rows) - height)
        return rows[self._top : self._top + height]


class _Settled:
    """A text that grows. Its complete lines are printed above the canvas, the rest stays before it."""

    def __init__(self, painter: Painter, dim: bool = False) -> None:
        self.line = ""  # what is not complete
        self._painter = painter
        self._dim = dim
        self._sanitizer = Sanitizer()
        self._read = 0  # characters of the text that went through the sanitizer
        self._wrapper = Wrapper(80)

    def grow(self, text: str, complete: bool = False) -> None:
        """Takes what the text has more than the last time; with `complete` its last line is printed as well."""
        self.line += self._sanitizer.feed(text[self._read :])
        self._read = len(text)
        if complete and self.line:
            self.line += "\n"
        lines, newline, self.line = self.line.rpartition("\n")
        if newline:
            self._painter.area.print_above(self._printed(lines + newline))

    def rest(self) -> str:
        """The last line as it is to be printed; "" where there is none."""
        return self._printed(self.line + "\n") if self.line else ""

    def _printed(self, text: str) -> str:
        self._wrapper.width = self._painter.area.size()[0]
        wrapped = self._wrapper.feed(text)
        return f"\x1b[2m{wrapped}\x1b[22m" if self._dim else wrapped


class WatchWriter:
    """Draws every step. Lines that are settled are printed above the canvas, as they are; thoughts are dim.

    An engine faster than `ui.pace` steps a second is slowed down to it, so that its steps can be seen.
    """

    def __init__(
        self,
        engine: CanvasSource,
        sampling: Sampling,
        settings: Settings,
        out: TextIO,
        thinking: bool = False,
        shows_thoughts: bool = False,
    ) -> None:
        """`thinking`: whether the model was asked to think; `shows_thoughts`: whether what it thought stays printed."""
        self._engine = engine
        self._steps = sampling.resolve(engine.generation_config).max_denoising_steps
        self._answer = Answer(engine, thinking)
        self._painter = Painter(settings, out)
        self._said = _Settled(self._painter)
        self._thought = _Settled(self._painter, dim=True) if shows_thoughts else None
        self._canvas = self._new_canvas()

    def take(self, event: Event) -> None:
        """Draws what the event brings."""
        from dgengine import Block, Prefill, Step

        self._answer.take(event)
        match event:
            case Prefill():
                self._painter.open_with(self._rows, reading_note(event))
            case Step():
                if event.step == 1 and event.block > 1:
                    self._painter.begin(self._rows)
                self._canvas.take(event)
                self._show(event)
            case Block():
                self._painter.beat()
                self._settle(end=False)
                self._canvas = self._new_canvas()

    def close(self) -> None:
        """Wipes the canvas and writes the rest of the text."""
        with closing(self._painter):
            self._settle(end=True)
        out = self._painter.console.file
        out.write(self._said.rest())
        out.flush()

    def _new_canvas(self) -> Canvas:
        info, inside = self._engine.info, self._answer.thinks
        before = (self._thought.line if self._thought is not None else "") if inside else self._said.line
        return Canvas(info.canvas_length, self._pieces, self._engine.eos_ids, before)

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        return shown(ids, self._engine.pieces(ids), self._engine.thought_marks)

    def _rows(self, columns: int) -> list[Row]:
        return self._canvas.rows(columns, self._painter.marks)

    def _settle(self, end: bool) -> None:
        """Prints the lines that have become complete; the rest of the text stays before the canvas."""
        if self._thought is not None:
            self._thought.grow(self._answer.thought(end), complete=end or not self._answer.thinks)
        self._said.grow(self._answer.text(end))

    def _show(self, step: Step) -> None:
        self._painter.show(
            self._rows,
            f"block {step.block}, step {step.step} of {self._steps}",
            f"accepted {self._canvas.accepted} of {len(step.draft)}",
            f"T {step.temperature:.2f}",
        )


def reading_note(event: Prefill) -> str:
    """What is said of a prompt that takes long to read."""
    return f"reading {event.total:,} tokens" if event.total > _LONG_READ else ""


def _fitting(parts: Sequence[str], columns: int) -> str:
    line = ""
    for part in parts:
        longer = f"{line}   {part}" if line else part
        line = longer if len(longer) <= columns else line
    return line


def _is_undecided(row: Row) -> bool:
    return any(span.look in (Look.NOISE, Look.PROVISIONAL, Look.BACK) for span in row)
