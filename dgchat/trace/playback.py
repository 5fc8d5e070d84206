"""A place among the steps of a trace, and the canvas as it was there. Knows no screen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dgchat.canvas.state import Canvas
from dgchat.sanitize import clean
from dgchat.trace.steps import BlockTrace, StepTrace
from dgengine.events import Step

_NONE: Mapping[int, int] = MappingProxyType({})
_NO_TEXTS: Mapping[int, str] = MappingProxyType({})


class Playback:
    """Goes through the steps of all blocks, which count from 0. The trace may grow meanwhile.

    Attributes:
        index: the step that is shown.
    """

    def __init__(self, trace: StepTrace, motion: bool = True) -> None:
        """Begins at the last step; `motion`: whether noise looks different at each step.

        Raises:
            ValueError: the trace has no steps.
        """
        if not len(trace):
            raise ValueError("the trace has no steps")
        self.trace = trace
        self.index = len(trace) - 1
        self._motion = motion
        self._canvas: Canvas | None = None
        self._said = trace.parser()  # what stands before the block that is shown
        self._before = self._line = ""  # the answer in it, and the line that the canvas goes on; cleaned
        self._settled = (0, 0)  # and what it is of: place of the block, tokens before it
        self._held = False  # whether the canvas shows more pins than its step has
        self._drawn = (-1, 0)  # place of the block that the canvas is of, and how many of its steps it has taken

    def __len__(self) -> int:
        return len(self.trace)

    @property
    def at_end(self) -> bool:
        """Whether the newest step is shown."""
        return self.index >= len(self) - 1

    def locate(self) -> tuple[int, int]:
        """Place of the block among the blocks, from 0, and the number of its step, from 1."""
        rest = self.index
        for place, block in enumerate(self.trace.blocks):
            if rest < len(block):
                return place, rest + 1
            rest -= len(block)
        raise IndexError(f"the trace has {len(self)} steps, not {self.index}")

    @property
    def block(self) -> BlockTrace:
        """The block that is shown."""
        return self.trace.blocks[self.locate()[0]]

    @property
    def step(self) -> Step:
        """The step that is shown."""
        place, number = self.locate()
        return self.trace.blocks[place].step(number)

    def go(self, index: int) -> bool:
        """Goes to a step, or to the nearest there is; tells whether that is another one."""
        before, self.index = self.index, min(max(index, 0), len(self) - 1)
        return self.index != before

    def block_start(self, by: int) -> int:
        """The first step of the block after (1), or of this one and, from there, of the one before (-1)."""
        place, number = self.locate()
        wanted = place + by + (by < 0 and number > 1)
        wanted = min(max(wanted, 0), len(self.trace.blocks) - 1)
        return sum(len(block) for block in self.trace.blocks[:wanted])

    def before(self) -> str:
        """The settled answer in front of the block that is shown, without what the model thought; cleaned."""
        self._settle()
        return self._before

    def thinks(self) -> bool:
        """Whether the block that is shown begins in the middle of a thought."""
        self._settle()
        return self._said.inside

    def _settle(self) -> None:
        """Reads what stands before the block that is shown, or only what has come to that since the last time."""
        place, _ = self.locate()
        known, count = self._settled
        if self._settled == (place, self._tokens(place)):  # of a long answer it is long, and wanted for every frame
            return
        goes_on = known <= place and count == self._tokens(known)
        self._said = self._said.copy() if goes_on else self.trace.parser()
        for block in self.trace.blocks[known if goes_on else 0 : place]:
            self._said.feed(block.tokens.tolist())
        self._settled = (place, self._tokens(place))
        self._before = clean(self._said.answer)
        line = clean(self._said.thought) if self._said.inside else self._before
        self._line = line.rpartition("\n")[2]

    def _tokens(self, place: int) -> int:
        return sum(len(block.tokens) for block in self.trace.blocks[:place])

    def canvas(self, pins: Mapping[int, int] = _NONE, texts: Mapping[int, str] = _NO_TEXTS) -> Canvas:
        """The canvas after the step that is shown; its rows begin where they began before, if they can.

        Args:
            pins: tokens to show as held at these positions, whatever the step has there.
            texts: what these read.
        """
        place, number = self.locate()
        block = self.trace.blocks[place]
        if self._canvas is None or self._drawn[0] != place:
            self._settle()
            pieces, ends = self.trace.pieces, self.trace.about.ends
            self._canvas = Canvas(block.length, pieces, ends, self._line, self._motion)
            self._drawn = (place, 0)
        elif number < self._drawn[1] or self._held:
            self._canvas.rewind()
            self._drawn = (place, 0)
        for passed in range(self._drawn[1] + 1, number):
            self._canvas.pass_over(*block.decided(passed))
        if self._drawn[1] < number:
            self._canvas.take(block.step(number))
        self._drawn, self._held = (place, number), bool(pins)
        if pins:
            self._canvas.hold(pins, texts)
        return self._canvas
