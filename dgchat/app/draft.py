"""An answer while it is being written: its tokens, its trace, and what there is to say of it. Knows no screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dgchat.thoughts import Blocks

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgchat.trace.steps import StepTrace
    from dgengine import Block, Done, Event, Step

_HISTORY = 48  # steps that the panel's curves show


@dataclass
class Curve:
    """The last values of something that changes with each step."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """Adds the newest, and forgets what is too old to be shown."""
        self.values = [*self.values[1 - _HISTORY :], value]


class Draft:
    """Takes the events of one answer.

    Attributes:
        trace: the steps.
        step: the newest one; None before the first, and between blocks.
        waiting: the block that did not settle and waits for a decision; None for none.
        open: the number of the block that is being denoised, or waits; None between blocks.
        accepted, entropy: the share of positions accepted, and the mean entropy in nats, over the last steps.
        seconds: how long the steps took that have come; not all need come.
    """

    def __init__(
        self, engine: Backend, trace: StepTrace, head: Sequence[Sequence[int]] = (), thinking: bool = False
    ) -> None:
        """Begins an answer.

        Args:
            engine: whose answer it is.
            trace: filled by others: here come only the steps that there is time to show.
            head: the tokens of the blocks that stay of an answer that forms anew.
            thinking: whether the model was asked to think first.
        """
        self._engine = engine
        self._blocks = Blocks(engine, thinking)
        for number, ids in enumerate(head, 1):
            self._blocks.take(number, ids)
        self.trace = trace
        self.step: Step | None = None
        self.waiting: Block | None = None
        self.open: int | None = None
        self.done: Done | None = None
        self.accepted, self.entropy = Curve(), Curve()
        self.seconds = 0.0
        self._seen = 0
        self._steps: dict[int, int] = {}  # of each block, so far

    def take(self, event: Event) -> None:
        """The next event."""
        from dgengine import Block, Done, Step

        match event:
            case Step():
                self._step(event)
            case Block():
                self._blocks.take(event.block, event.tokens.tolist())
                self._steps[event.block] = event.steps
                self.waiting = event if event.waiting else None
                self.open = event.block if event.waiting else None
                self.step = None
            case Done():
                self.done = event

    def _step(self, step: Step) -> None:
        self.step, self.waiting, self.open = step, None, step.block
        self._steps[step.block] = step.step
        self._seen += 1
        self.seconds += step.seconds
        settled = (step.accepted | step.pinned).mean()
        self.accepted.add(float(settled))
        self.entropy.add(float(step.entropy.mean()))

    @property
    def blocks(self) -> Mapping[int, Sequence[int]]:
        """The tokens of each block that has ended or waits, by its number."""
        return self._blocks.ids

    @property
    def steps(self) -> int:
        """Denoising steps so far, also those that have not come: of steps in a row only the newest need come."""
        return sum(self._steps.values())

    @property
    def ids(self) -> list[int]:
        """The tokens of the blocks that have ended; one that goes on after its limit has not."""
        return [id_ for number, ids in sorted(self.blocks.items()) if number != self._running for id_ in ids]

    @property
    def _running(self) -> int | None:
        return self.step.block if self.step is not None else None

    @property
    def text(self) -> str:
        """Their text, without what the model thought before."""
        return self._blocks.ended(self._running).answer

    @property
    def thought(self) -> str:
        """What the model thought before it answered; "" for nothing."""
        return self._blocks.ended(self._running).thought

    @property
    def thinks(self) -> bool:
        """Whether what has ended so far ends in the middle of a thought."""
        return self._blocks.so_far(self._running).inside

    def keep_what_stands(self) -> None:
        """After a stop in the middle of a block: takes over the beginning of its canvas that was accepted."""
        if self.step is None:
            return
        step, self.step = self.step, None
        settled = (step.accepted | step.pinned).tolist()
        count = settled.index(False) if False in settled else len(settled)
        ids = step.draft.tolist()[:count]
        end = next((place + 1 for place, id_ in enumerate(ids) if id_ in self._engine.eos_ids), count)
        if ids[:end]:
            self._blocks.take(step.block, ids[:end])

    @property
    def tokens_per_forward(self) -> float:
        """Tokens of the ended blocks by the steps so far; of the running block what is accepted counts."""
        running = int((self.step.accepted | self.step.pinned).sum()) if self.step is not None else 0
        block = self.step.block if self.step is not None else None
        ended = sum(len(ids) for number, ids in self.blocks.items() if number != block)
        return (ended + running) / self.steps if self.steps else 0.0

    @property
    def tokens_per_second(self) -> float:
        """The same by the time that a step takes."""
        return self.tokens_per_forward * self._seen / self.seconds if self.seconds else 0.0
