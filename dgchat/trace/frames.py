"""A trace as the frames of a film: one for each step, and one of the settled text at the end.

The same trace and view always give the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.cells import chop_cells

from dgchat.canvas.layout import Look, Row, Span
from dgchat.canvas.state import Canvas, Mode
from dgchat.inline.wrap import wrap
from dgchat.sanitize import clean
from dgchat.trace.steps import BlockTrace, StepTrace

_SHORTEST, _LONGEST = 0.02, 5.0  # seconds of a frame that is shown for as long as its step took
_TAB: Final = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """How long frames stay.

    Attributes:
        steps: a second; 0 shows each step for as long as it took.
        first, last: seconds that the first and the last frame stay beyond their own.
    """

    steps: float = 12.0
    first: float = 0.4
    last: float = 3.0

    def seconds(self, took: float) -> float:
        """How long a step that took so many seconds is shown."""
        return 1 / self.steps if self.steps else min(max(took, _SHORTEST), _LONGEST)


@dataclass(frozen=True, slots=True)
class View:
    """How a trace is looked at.

    Attributes:
        width: of a row, in cells.
        mode: what the shades tell.
        marks: whether glyphs tell the looks apart.
        motion: whether noise looks different at each step.
    """

    width: int = 80
    mode: Mode = Mode.STATE
    marks: bool = False
    motion: bool = True
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Frame:
    """What there is to see at one step, or, where `settled`, when all is done.

    Attributes:
        number: of the frame, from 1; that of the settled one is the number of steps and one.
        block, step, steps: the step, of how many in its block; 0 where there is none.
        temperature, seconds: of the step.
        accepted, length: positions of the canvas that are accepted or pinned, and all of them.
        start, duration: when the frame is shown, and for how long, in seconds.
        before: the text that had settled before the block.
        above: its complete lines in rows.
        rows: the line that the canvas goes on, and the canvas; of the settled frame the whole text.
    """

    number: int
    block: int
    step: int
    steps: int
    temperature: float
    seconds: float
    accepted: int
    length: int
    start: float
    duration: float
    before: str
    above: tuple[Row, ...]
    rows: tuple[Row, ...]
    settled: bool = False

    @property
    def screen(self) -> tuple[Row, ...]:
        """All rows, from the first line of the answer on."""
        return self.above + self.rows

    def last_rows(self, count: int) -> tuple[Row, ...]:
        """The last of them."""
        rows = self.rows[-count:]
        missing = count - len(rows)
        return (self.above[-missing:] if missing else ()) + rows


def frames(trace: StepTrace, view: View) -> Iterator[Frame]:
    """All frames, in order: one more than the trace has steps."""
    clock = _clock(trace, view.pace)
    number = 0
    for block in trace.blocks:
        yield from _of_block(trace, block, view, clock[number : number + len(block)], number)
        number += len(block)
    yield _settled(trace, view, clock[-1])


def opening(trace: StepTrace, view: View, seconds: float) -> Frame | None:
    """The noise that the first step begins with, as a frame before all others; None where there is no step."""
    if not len(trace):
        return None
    block = next(block for block in trace.blocks if len(block))
    before, above, canvas = _ground(trace, block, view)
    rows = tuple(canvas.rows(view.width, view.marks, view.mode))
    return Frame(0, block.number, 0, len(block), 0.0, 0.0, 0, block.length, 0.0, seconds, before, above, rows)


def frame_at(trace: StepTrace, view: View, number: int) -> Frame:
    """Frame `number`, from 1; only the steps of its block are gone through.

    Raises:
        IndexError: there is no such frame.
    """
    if not 1 <= number <= len(trace) + 1:
        raise IndexError(f"there are frames 1 to {len(trace) + 1}, not {number}")
    clock = _clock(trace, view.pace)
    passed = 0
    for block in trace.blocks:
        if number <= passed + len(block):
            times = clock[passed : passed + len(block)]
            return next(f for f in _of_block(trace, block, view, times, passed) if f.number == number)
        passed += len(block)
    return _settled(trace, view, clock[-1])


def _clock(trace: StepTrace, pace: Pace) -> list[tuple[float, float]]:
    """Start and duration of every frame."""
    durations = [pace.seconds(took) for block in trace.blocks for took in block.seconds] + [pace.last]
    durations[0] += pace.first if len(trace) else 0.0
    clock, now = [], 0.0
    for duration in durations:
        clock.append((now, duration))
        now += duration
    return clock


def _of_block(
    trace: StepTrace, block: BlockTrace, view: View, clock: list[tuple[float, float]], passed: int
) -> Iterator[Frame]:
    """The frames of one block; `passed` frames came before it."""
    before, above, canvas = _ground(trace, block, view)
    for number, (start, duration) in enumerate(clock, 1):
        step = block.step(number)
        canvas.take(step)
        rows = tuple(canvas.rows(view.width, view.marks, view.mode))
        yield Frame(
            passed + number, block.number, number, len(block), step.temperature, step.seconds,
            canvas.accepted, block.length, start, duration, before, above, rows,
        )  # fmt: skip


def _ground(trace: StepTrace, block: BlockTrace, view: View) -> tuple[str, tuple[Row, ...], Canvas]:
    """What a block begins with: the text before it, its complete lines in rows, and a canvas of noise."""
    before = clean(trace.text(before=block.number))
    complete, newline, head = before.rpartition("\n")
    above = settled_rows(complete, view.width) if newline else ()
    return before, above, Canvas(block.length, trace.pieces, trace.about.ends, head, view.motion)


def _settled(trace: StepTrace, view: View, times: tuple[float, float]) -> Frame:
    text = clean(trace.text())
    last = trace.blocks[-1] if trace.blocks else BlockTrace(0, 0)
    steps, temperature = len(last), last.temperatures[-1] if len(last) else 0.0
    return Frame(
        len(trace) + 1, last.number, steps, steps, temperature, 0.0, last.length, last.length, *times,
        text, (), settled_rows(text.rstrip("\n"), view.width), settled=True,
    )  # fmt: skip


def settled_rows(text: str, width: int) -> tuple[Row, ...]:
    """Text that is settled in rows of at most `width` cells, as a terminal shows it."""
    lines = [chop_cells(line.expandtabs(_TAB), width) or [""] for line in wrap(text, width).split("\n")]
    return tuple((Span(row, Look.SETTLED),) if row else () for line in lines for row in line)
