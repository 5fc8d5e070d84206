"""A whole terminal, for the full-screen app: what stands on its screen, and which modes a program has left on."""

from __future__ import annotations

import re
from typing import Final

import pyte

_MODES = re.compile(r"\x1b\[\?([\d;]+)([hl])")
_PRIVATE = re.compile(r"\x1b\[[<>=][\d;]*[A-Za-z]|\x1b\[\?[\d;]*\$p")  # pyte would print the end of some of them
_UNFINISHED = re.compile(r"\x1b(\[[^@-~]*)?\Z")
_RESTING: Final = frozenset({7, 25})  # lines wrap, the cursor shows: what a shell expects to find


class Display:
    """Takes what a program writes."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        self._rest = ""

    def feed(self, text: str) -> None:
        text = self._rest + text
        cut = found.start() if (found := _UNFINISHED.search(text)) else len(text)
        text, self._rest = text[:cut], text[cut:]
        self._stream.feed(_PRIVATE.sub("", text))

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)

    @property
    def rows(self) -> list[str]:
        """The lines of the screen, without blanks at their ends."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.rows)

    @property
    def coloured(self) -> bool:
        """Whether any cell has a colour of its own."""
        cells = [cell for row in self._screen.buffer.values() for cell in row.values()]
        return any((cell.fg, cell.bg) != ("default", "default") for cell in cells)


def modes_left(output: str) -> set[int]:
    """The private modes that are not as a shell expects them after all of this was written."""
    on = set(_RESTING)
    for numbers, letter in _MODES.findall(output):
        for number in numbers.split(";"):
            (on.add if letter == "h" else on.discard)(int(number))
    return on ^ _RESTING
