"""Steps whose records are read one late: the device has the next one to do before the host looks at this one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dgengine.errors import NumericsError
from dgengine.graphs.queue import StepQueue, Ticket
from dgengine.graphs.state import BlockState, Record
from dgengine.sampler import Draft, temperature_at
from dgengine.sampling import ResolvedSampling
from dgengine.stepping import Stepped


def _nothing() -> None:
    pass


class LateStepper:
    """A `Stepper` that keeps one step running ahead of the one that it gives.

    Pins go into steps as these are submitted: what is set after a step was given misses the one that is running by
    then, and holds from the one after. A step that ran ahead when a block ends has changed nothing that anyone reads.
    """

    def __init__(
        self,
        state: BlockState,
        run: Callable[[], None],
        queue: StepQueue,
        sampling: ResolvedSampling,
        give_back: Callable[[], None] = _nothing,
    ) -> None:
        """Goes on from a state that has begun.

        Args:
            state: of the block.
            run: takes a step, on the device.
            queue: where it is run.
            sampling: of the block.
            give_back: called when nobody needs the state any more.
        """
        self._state = state
        self._run = run
        self._queue = queue
        self._sampling = sampling
        self._give_back = give_back
        self._running: deque[Ticket] = deque()
        self._pins: Mapping[int, int] = {}  # of the step that was submitted last
        self.steps = 0
        self.converged = False
        self.draft: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    def advance(self, pins: Mapping[int, int], limit: int) -> Stepped:
        start = time.perf_counter()
        ahead = min(limit, self.steps + 2)
        while self.steps + len(self._running) < ahead:
            self._submit(pins)
        landed = self._running.popleft().wait()
        self.steps += 1
        # The longer one counts: of a device that waits for a slow host, the host's.
        seconds = max(landed.seconds, time.perf_counter() - start)
        return Stepped(self._read(Record.of(landed.record)), seconds)

    def close(self) -> None:
        self._running.clear()
        self._run = _nothing  # a step holds all buffers of a cache, which may have to grow before this is let go of
        give_back, self._give_back = self._give_back, _nothing
        give_back()

    def _submit(self, pins: Mapping[int, int]) -> None:
        changed, self._pins = pins != self._pins, dict(pins)
        self._running.append(self._queue.submit(lambda: self._step(pins if changed else None), self._state.record))

    def _step(self, pins: Mapping[int, int] | None) -> None:
        if pins is not None:
            self._state.pin(pins)
        self._run()

    def _read(self, record: Record) -> Draft:
        if record.failed:
            raise NumericsError("The logits hold NaN or infinity.")
        self.converged, self.draft = record.converged, record.draft
        temperature = temperature_at(self.steps, self._sampling)
        return Draft(
            temperature, record.draft, record.canvas, record.entropy, record.accepted, record.pinned, None, None
        )  # fmt: skip
