"""dgchat with an engine that goes on for ever, and takes next to no time for it: `python -m tests.bench.endless ...`

ENDLESS holds, as JSON: `canvas`, `rate` (denoising steps a second; 0 for as many as there can be), and `steps` of a
block (0 for one block that never settles).
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

import dgengine
from dgengine import Block, Control, Done, Event, Prefill, Sampling
from tests.tui.fakes import FakeEngine, FakeSession, fake_stats, fake_steps

_PREPARED = 48  # steps that are made beforehand, and shown again and again
_TEXT = "The fox went on and on, by the river and to the lantern, and in the end it was quiet.\n\n"


class EndlessEngine(FakeEngine):
    """Never comes to an end."""

    def __init__(self, canvas: int, rate: float, steps: int) -> None:
        super().__init__(canvas=canvas, steps=steps or 10**9)
        self.rate = rate
        words = itertools.cycle(self.vocabulary.encode(_TEXT))
        self.block = list(itertools.islice(words, canvas))
        self.prepared = list(fake_steps(self.block, canvas, 1, _PREPARED, self.filler))

    def session(self) -> FakeSession:
        return EndlessSession(self)


class EndlessSession(FakeSession):
    """Block after block of the same text."""

    def __init__(self, engine: EndlessEngine) -> None:
        super().__init__(engine)
        self._endless = engine

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        engine = self._endless
        yield Prefill(len(ids), len(ids), 0)
        due = time.monotonic()
        for block in itertools.count(1):
            for number in range(1, engine.steps + 1):
                due = max(due + 1 / engine.rate, time.monotonic() - 0.1) if engine.rate else 0.0
                time.sleep(max(0.0, due - time.monotonic()))
                if control is not None and control.cancelled:
                    yield Done("cancelled", fake_stats(block, block, number))
                    return
                yield replace(engine.prepared[number % _PREPARED], block=block, step=number)
            yield Block(block, np.array(engine.block, np.int32), engine.steps, True)


class Loader:
    """In the place of `dgengine.Engine`."""

    @staticmethod
    def load(name: str, **_: object) -> EndlessEngine:
        return EndlessEngine(**json.loads(os.environ["ENDLESS"]))


if __name__ == "__main__":
    dgengine.Engine = Loader  # type: ignore[misc, assignment]
    from dgchat.cli import main

    main()
