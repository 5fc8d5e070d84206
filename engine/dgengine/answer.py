"""One answer: the prompt is read, and canvas after canvas is denoised and committed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dgengine import prompts
from dgengine.chat import EncodedChat
from dgengine.control import Control
from dgengine.errors import NumericsError, not_finite
from dgengine.events import Block, Done, Event, Notice, Prefill, Reason, Step
from dgengine.sampler import with_pins
from dgengine.sampling import ResolvedSampling
from dgengine.stats import Recorder
from dgengine.vision import spans
from dgengine.vision.spans import ImageSpan

if TYPE_CHECKING:
    from dgengine.session import Session

CHUNK = 512
"""Prompt tokens per encode: how often progress is reported and a cancel is heard."""


@dataclass(slots=True)
class Answer:
    """One call of `Session.generate`: the block loop of the reference, as a generator."""

    session: Session
    prompt: EncodedChat
    sampling: ResolvedSampling
    control: Control

    def events(self) -> Generator[Event, None, None]:
        """In the order that `dgengine.events` gives."""
        model = self.session.model
        recorder = Recorder(model.device, self.sampling.seed)
        generator = torch.Generator(device=model.device).manual_seed(self.sampling.seed)
        if dropped := self.prompt.dropped:
            yield Notice(prompts.dropped_text(dropped), "dropped", dropped)
        yield from self._prefill(recorder)
        reason: Reason = "length"
        pending: list[int] = []  # the canvas before, encoded only when another block really follows
        for number in range(1, self.sampling.blocks(model.config.canvas_length) + 1):
            if self.control.cancelled:
                reason = "cancelled"
                break
            self._encode(pending, recorder)
            with recorder.timed():  # a graph may have to be made
                block = BlockRun(self, number, generator, recorder)
            yield from block.events()
            if block.ended != "committed":
                reason = "eos" if block.ended == "eos" else "cancelled"
                break
            pending = block.canvas
        yield Done(reason, recorder.stats())

    def _prefill(self, recorder: Recorder) -> Iterator[Event]:
        """Brings the cache to the prompt; stops between chunks when cancelled."""
        images, end = self.prompt.images, len(self.prompt)
        with recorder.timed():
            recorder.reused = self.session.rewind(self.prompt, images)
        new = end - recorder.reused
        # The reference encodes a prompt in one piece; other pieces round differently in the last bits.
        chunk = new if self.sampling.reference else CHUNK
        yield Prefill(0, new, recorder.reused)
        for begin, after in spans.batches(recorder.reused, end, chunk, images):
            if self.control.orders(1).cancelled:
                return
            self._encode(self.prompt[begin:after], recorder, images)
            yield Prefill(recorder.encoded, new, recorder.reused)

    def _encode(self, ids: list[int], recorder: Recorder, images: Sequence[ImageSpan] = ()) -> None:
        if not ids:
            return
        with recorder.timed():
            self.session.encode(ids, images)
        recorder.encoded += len(ids)


class BlockRun:
    """The denoising of one block.

    Attributes:
        ended: "committed", "eos" or "cancelled", once the events have run out.
        canvas: the whole committed canvas, as the next block must see it.
    """

    def __init__(self, answer: Answer, number: int, generator: torch.Generator, recorder: Recorder) -> None:
        self._answer = answer
        self._control = answer.control
        self._number = number
        self._recorder = recorder
        self._limit = answer.sampling.max_denoising_steps
        self._room = answer.sampling.room(number, answer.session.model.config.canvas_length)
        self._stepper = answer.session.stepper(answer.sampling, number, generator)
        self._draft = self._stepper.draft
        self.ended = ""
        self.canvas: list[int] = []

    def events(self) -> Iterator[Event]:
        """Steps until the canvas is committed, or the answer is cancelled."""
        try:
            yield from self._events()
        finally:
            self._stepper.close()

    def _events(self) -> Iterator[Event]:
        while not self._stepper.converged:
            orders = self._control.orders(self._number)
            if orders.cancelled:
                self.ended = "cancelled"
                return
            if orders.commit and self._stepper.steps:
                break
            if self._stepper.steps < self._limit:
                yield self._step(orders.pins)
                continue
            more = self._control.take_extension()
            if not more and self._answer.sampling.on_limit == "ask":
                yield self._finish(waiting=True)
                more = self._control.wait_for_decision()
                if not more and not self._pinned_since():
                    self._close()
                    return
            if not more:
                break
            self._limit = self._stepper.steps + more
        if self._control.orders(self._number).cancelled:  # paused after the last step, a token may still be held
            self.ended = "cancelled"
            return
        yield self._finish()
        self._close()

    def _close(self) -> None:
        """Ends the block with the draft that its last `Block` gave."""
        _, ends = self._cut()
        self.ended = "cancelled" if self._control.cancelled else "eos" if ends else "committed"
        self.canvas = self._draft.tolist()
        self._control.end_block(self._number)

    def _cut(self) -> tuple[NDArray[np.int32], bool]:
        """What the answer takes of the draft, and whether the model ended it there."""
        tokens, ends = self._answer.session.cut(self._draft)
        return (tokens, ends) if len(tokens) <= self._room else (tokens[: self._room], False)

    def _pinned_since(self) -> bool:
        """Whether pins that were set after the last `Block` change what is committed."""
        return not np.array_equal(self._draft, self._pinned_draft())

    def _pinned_draft(self) -> NDArray[np.int32]:
        """The draft with the pins of this moment."""
        return with_pins(self._stepper.draft, self._control.pins(self._number))

    def _step(self, pins: Mapping[int, int]) -> Step:
        try:
            draft, seconds = self._stepper.advance(pins, self._limit)
        except NumericsError as error:
            self._answer.session.reset()
            raise not_finite(f"block {self._number}, step {self._stepper.steps}") from error
        self._recorder.add_step(self._number, seconds)
        return Step(self._number, self._stepper.steps, seconds=seconds, **draft._asdict())

    def _finish(self, waiting: bool = False) -> Block:
        self._draft = self._pinned_draft()
        tokens, _ = self._cut()
        self._recorder.tokens[self._number] = len(tokens)
        return Block(self._number, tokens, self._stepper.steps, self._stepper.converged, waiting=waiting)
