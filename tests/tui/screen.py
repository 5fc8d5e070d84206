"""A small terminal: takes what a program writes, and knows what stands on the screen then."""

from __future__ import annotations

import re

from rich.cells import cell_len

_TOKEN = re.compile(r"\x1b\[([?>]?)([\d;]*)([A-Za-z])|\x1b.|.", re.DOTALL)
_KNOWN = "ACHJKhlm"


class Screen:
    """Rows of text that scroll up; styles are dropped. Unknown sequences are an error."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.columns, self.lines = columns, lines
        self.history: list[str] = []
        self.cursor_shown = True
        self.wraps = True
        self._rows = [""]
        self._main: tuple[list[str], int, int] | None = None
        self._row = self._column = 0

    def feed(self, text: str) -> Screen:
        for match in _TOKEN.finditer(text):
            mark, numbers, letter = match[1] or "", match[2] or "", match[3] or ""
            if letter:
                assert letter in _KNOWN, f"unknown sequence {match[0]!r}"
                self._control(mark, numbers, letter)
            else:
                self._char(match[0])
        return self

    @property
    def alternate(self) -> bool:
        return self._main is not None

    def text(self) -> str:
        """What stands on the screen and above it, without blanks at the ends of lines and of the whole."""
        return "\n".join(row.rstrip() for row in [*self.history, *self._rows]).rstrip()

    def _char(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._column = 0  # as a terminal's driver does it for programs
            self._down()
        elif char >= " ":
            self._print(char)

    def _print(self, char: str) -> None:
        cells = cell_len(char)
        if self._column + cells > self.columns and self.wraps:
            self._column = 0
            self._down()
        row = self._rows[self._row].ljust(self._column)
        self._rows[self._row] = row[: self._column] + char + row[self._column + 1 :]
        self._column += cells if cell_len(row) == len(row) else 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append("")
        if len(self._rows) > self.lines:
            self.history.append(self._rows.pop(0))
            self._row -= 1

    def _control(self, mark: str, numbers: str, letter: str) -> None:
        if mark == "?" and letter in "hl":
            self._mode(int(numbers), letter == "h")
        elif letter == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif letter == "C":
            self._column = min(self.columns - 1, self._column + int(numbers or 1))
        elif letter == "H":
            self._row = self._column = 0
        elif letter == "J":
            if self._row == self._column == 0 and self.columns > 1 and not self.alternate and any(self._rows):
                self.history += self._rows  # as tmux does when all is cleared from the corner
            self._rows[self._row] = self._rows[self._row][: self._column]
            del self._rows[self._row + 1 :]
        elif letter == "K":
            self._rows[self._row] = ""

    def _mode(self, number: int, on: bool) -> None:
        if number == 25:
            self.cursor_shown = on
        elif number == 7:
            self.wraps = on
        elif number == 1049 and on:
            self._main = (self._rows, self._row, self._column)
            self._rows, self._row, self._column = [""], 0, 0
        elif number == 1049 and self._main is not None:
            (self._rows, self._row, self._column), self._main = self._main, None
