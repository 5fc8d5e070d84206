"""The chat in a process of its own, at the end of a terminal whose screen can be read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests.tui.display import Display, modes_left
from tests.tui.program import Terminal

QUIT, ESCAPE = "\x11", "\x1b"
FAKE = (sys.executable, "-m", "tests.tui.fake_program")


class Chat(Terminal):
    """A chat, and its screen in `display`."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], columns: int = 80, lines: int = 24) -> None:
        self.display = Display(columns, lines)
        super().__init__(command, environment, columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        super().resize(columns, lines)
        self.display.resize(columns, lines)

    def shows(self, test: str | Callable[[str], object]) -> str:
        """Reads on until a text is on the screen, or a test holds of it; returns the screen."""

        def holds(_: str) -> bool:
            text = self.display.text
            return bool(test in text if isinstance(test, str) else test(text))

        self.until(holds)
        return self.display.text

    def ready(self) -> Chat:
        """Waits for the model."""
        self.shows("ready")
        return self

    def ask(self, question: str) -> str:
        """Asks, and reads on until the answer has settled; returns the screen."""
        self.send(question + "\r")
        return self.shows(lambda text: f"Echo: {question}" in text and "converged in" in text)

    def quit(self) -> None:
        """Ctrl+Q, after which all is as it was."""
        self.send(QUIT)
        code = self.close()
        assert code == 0, self.output[-2000:]
        self.left_in_order()

    def left_in_order(self) -> None:
        """The terminal is as a shell expects it, and nobody has seen a traceback."""
        assert modes_left(self.output) == set()
        assert self.echoed_at_end
        assert "Traceback" not in self.output

    def _read(self, patience: float = 0.1) -> bool:
        before = len(self.output)
        more = super()._read(patience)
        self.display.feed(self.output[before:])
        return more


def fake(environment: dict[str, str], *args: str, columns: int = 80, lines: int = 24, **engine: Any) -> Chat:
    """A chat with the engine of `fake_program`."""
    return Chat([*FAKE, *args], {**environment, "FAKE_ENGINE": json.dumps(engine)}, columns, lines)
