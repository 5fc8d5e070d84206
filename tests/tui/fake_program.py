"""The whole program but for the model: `python -m tests.tui.fake_program`, with the arguments of dgchat.

FAKE_ENGINE holds, as JSON, what the engine is like:

    steps, delay    denoising steps of a block, and the seconds that each one takes
    stuck           the block of the first answer that never settles, until it is stopped
    noise           a text that the engine's thread writes to the descriptors 1 and 2, as C libraries do
"""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

import dgengine
from tests.tui.fakes import FakeEngine


class EchoEngine(FakeEngine):
    """Answers with the question."""

    def __init__(self, stuck: int = 0, noise: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.stuck = stuck
        self._noise = noise

    def next_answer(self) -> str:
        if len(self.asked) > 1:
            self.stuck = 0
        if self._noise:
            os.write(2, self._noise.encode())
            os.write(1, self._noise.encode())
            ctypes.CDLL(None).puts(self._noise.encode())
            ctypes.CDLL(None).fflush(None)
        return f"Echo: {self.asked[-1][-1]['content']}"


class Loader:
    """In the place of `dgengine.Engine`."""

    @staticmethod
    def load(name: str, **_: object) -> EchoEngine:
        return EchoEngine(name=name, **json.loads(os.environ.get("FAKE_ENGINE", "{}")))


if __name__ == "__main__":
    dgengine.Engine = Loader  # type: ignore[misc, assignment]
    from dgchat.cli import main

    main()
