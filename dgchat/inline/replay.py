"""A trace on the terminal: played in place as `--watch` plays an answer, or one step of it as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.text import Text

from dgchat.canvas.looks import Styles
from dgchat.inline.answer import TextWriter, Writer
from dgchat.settings import Settings
from dgchat.themes import load
from dgchat.trace.frames import Pace, View, frame_at
from dgchat.trace.steps import StepTrace

if TYPE_CHECKING:
    from dgengine import Event


@dataclass(frozen=True)
class _Info:
    canvas_length: int


class Recording:
    """A trace in the place of an engine, as the writers of an answer ask for it."""

    def __init__(self, trace: StepTrace) -> None:
        self._trace = trace
        self.info = _Info(trace.blocks[0].length if trace.blocks else 0)
        self.generation_config: dict[str, Any] = {}
        self.eos_ids = trace.about.ends
        self.thought_marks = trace.about.marks
        self.thinking = trace.about.thinking
        self.longest = max(1, *map(len, trace.blocks), 1)  # steps of a block

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text that each token adds."""
        return self._trace.pieces(list(ids))

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The bytes of each token."""
        return [self._trace.spelling.get(id_, b"") for id_ in ids]

    def events(self, in_time: bool) -> Iterator[Event]:
        """The events of the answer; with `in_time` each step comes after the time that it took."""
        from dgengine import Block, Prefill

        yield Prefill(0, 0)
        for block in self._trace.blocks:
            for number in range(1, len(block) + 1):
                step = block.step(number)
                if in_time:
                    time.sleep(Pace(steps=0).seconds(step.seconds))
                yield step
            yield Block(block.number, block.tokens, len(block), block.converged)


def play(trace: StepTrace, settings: Settings, out: TextIO) -> None:
    """Plays the trace at `ui.pace` steps a second (0: each step for as long as it took); into a pipe only the text."""
    recording = Recording(trace)
    writer, animated = _writer(recording, settings, out)
    try:
        for event in recording.events(animated and not settings.pace):
            writer.take(event)
    finally:
        writer.close()


def _writer(recording: Recording, settings: Settings, out: TextIO) -> tuple[Writer, bool]:
    if out.isatty():
        from dgchat.inline.watch import WatchWriter, can_animate
        from dgengine import Sampling

        if can_animate(out):
            sampling = Sampling(max_denoising_steps=recording.longest)
            return WatchWriter(recording, sampling, settings, out, recording.thinking, shows_thoughts=True), True
    return TextWriter(recording, out, recording.thinking), False


def print_step(trace: StepTrace, number: int, view: View, theme: str, out: TextIO) -> None:
    """Writes what is to be seen at step `number`, of all; in colour on a terminal, else with glyphs for the looks.

    Raises:
        IndexError: there is no such step.
    """
    console = Console(file=out, highlight=False, width=view.width)
    marks = console.no_color or console.color_system is None
    styles = Styles(load(theme), marks)
    frame = frame_at(trace, View(view.width, view.mode, marks, view.motion, view.pace), number)
    for row in frame.screen:
        text = Text.assemble(*((span.text, styles.of(span)) for span in row))
        console.print(text, soft_wrap=True)
    out.flush()
