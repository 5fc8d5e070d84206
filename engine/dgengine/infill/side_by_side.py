"""Canvases of one document that are denoised side by side: as many at once as there is memory for."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from torch import Tensor

from dgengine.control import Control
from dgengine.errors import NumericsError, not_finite
from dgengine.events import Block, Event, Step
from dgengine.infill.canvas import HoleCanvas
from dgengine.infill.layout import Layout
from dgengine.infill.vocabulary import vocabulary
from dgengine.sampling import ResolvedSampling
from dgengine.stats import Recorder

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer
    from dgengine.session import Session

POOL_ELEMENTS: Final = 2**28  # logits that all candidates together may have: 1 GiB of float32


class SideBySide:
    """Makes the canvases of a request, and denoises them."""

    def __init__(
        self,
        session: Session,
        codec: ChatTokenizer,
        sampling: ResolvedSampling,
        control: Control,
        recorder: Recorder,
    ) -> None:
        """`session`: holds what stands before the canvases whenever they are stepped."""
        model = session.model
        self._session = session
        self._sampling = sampling
        self._control = control
        self._recorder = recorder
        self._size: tuple[int, int] = (model.config.canvas_length, model.config.vocab_size)
        self._words = vocabulary(codec, model.config.vocab_size, model.device)
        self._candidates = 0
        self._blocks = 0

    @property
    def width(self) -> int:
        """How many canvases are denoised at once."""
        return max(1, POOL_ELEMENTS // (self._size[0] * self._size[1]))

    def new_candidate(self) -> int:
        """The number of another candidate."""
        self._candidates += 1
        return self._candidates - 1

    def new_canvas(self, layout: Layout, candidate: int) -> HoleCanvas:
        """Another canvas of a candidate, which is a block of its own."""
        self._blocks += 1
        model = self._session.model
        return HoleCanvas(
            candidate, self._blocks, layout, self._size, self._sampling, self._words, model.dtype, model.device
        )  # fmt: skip

    def hold(self, canvases: Sequence[HoleCanvas]) -> bool:
        """Waits while paused; puts a person's pins on the canvases. Returns whether to go on."""
        if not canvases or self._control.orders(canvases[0].block).cancelled:
            return False
        for canvas in canvases:
            canvas.hold(self._control.pins(canvas.block))
        return True

    def denoised(self, canvases: list[HoleCanvas]) -> Generator[Event, None, list[HoleCanvas]]:
        """Steps until all canvases, which are at the same step, are finished; none where it is cancelled."""
        active = list(canvases)
        yield from self._settle(active)
        while active:
            if not self.hold(active):
                return []
            if self._control.orders(active[0].block).commit and active[0].sampler.steps:
                yield from map(self._finished, active)
                break
            yield from self.step(active)
            yield from self._settle(active)
        return canvases

    def _settle(self, active: list[HoleCanvas]) -> Iterator[Block]:
        """Takes the canvases out that have converged or may take no more steps."""
        limit = self._sampling.max_denoising_steps
        for canvas in list(active):
            if canvas.sampler.converged or canvas.sampler.steps >= limit:
                active.remove(canvas)
                yield self._finished(canvas)

    def _finished(self, canvas: HoleCanvas) -> Block:
        draft = canvas.draft
        self._recorder.tokens[canvas.block] = sum(map(len, canvas.filled))
        return Block(canvas.block, draft, canvas.sampler.steps, canvas.sampler.converged, canvas.candidate)

    def step(self, canvases: list[HoleCanvas]) -> Iterator[Step]:
        """One step of each canvas.

        Raises:
            NumericsError: the model gave NaN or infinity.
        """
        for begin in range(0, len(canvases), self.width):
            together = canvases[begin : begin + self.width]
            start = time.perf_counter()
            logits = self._session.denoise_side_by_side([canvas.sampler for canvas in together])
            shared = (time.perf_counter() - start) / len(together)
            for canvas, row in zip(together, logits, strict=True):
                yield self._stepped(canvas, row, shared)

    def _stepped(self, canvas: HoleCanvas, logits: Tensor, shared: float) -> Step:
        start = time.perf_counter()
        try:
            step = canvas.step(logits, 0.0)
        except NumericsError as error:
            self._session.reset()
            raise not_finite(f"step {canvas.sampler.steps} of an infill") from error
        seconds = shared + time.perf_counter() - start
        canvas.seconds += seconds
        self._recorder.add_step(canvas.block, seconds)
        return replace(step, seconds=seconds)
