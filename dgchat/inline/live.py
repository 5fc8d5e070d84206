"""An area of the terminal that is redrawn in place, below what was printed before.

Unlike rich's `Live` it survives a terminal that becomes narrower: most terminals, and tmux, then wrap the old rows
anew, which moves the area's first row away from where it was drawn, and may push rows out of reach. So the area wipes
what the old rows have become, and goes on in the alternate screen, which nothing wraps anew. Rows never wrap of
themselves while they are drawn, whatever the terminal thinks of the width of a character.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from rich.console import Console
from rich.text import Text

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
# A frame shows at once where the terminal knows synchronized output, and its rows are cut, not wrapped.
_BEGIN, _END = "\x1b[?2026h\x1b[?7l", "\x1b[?7h\x1b[?2026l"
_ENTER_ALTERNATE, _LEAVE_ALTERNATE, _TOP = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"
_CLEAR_LINE = "\x1b[2K"
# From the second column on: where the whole screen is cleared from its corner, tmux keeps a copy in its history.
_CLEAR_BELOW = _CLEAR_LINE + "\x1b[C\x1b[J\r"


class LiveArea:
    """Rows at the end of the terminal's text. A context manager: leaving it wipes the rows and shows the cursor.

    After each draw the cursor is at the start of the last row.
    """

    def __init__(self, console: Console) -> None:
        """`console`: on a terminal that takes escape sequences."""
        self._console = console
        self._out: TextIO = console.file  # type: ignore[assignment]
        self._drawn: list[str] = []  # what stands in each row, with its styles
        self._cells: list[int] = []  # and its width
        self._columns = 0  # of the terminal, when they were drawn
        self._alternate = False

    def __enter__(self) -> LiveArea:
        _echo(self._out, False)
        self._emit(_HIDE)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._emit(self._wipe() + _SHOW)
        finally:
            _echo(self._out, True)

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        try:
            columns, lines = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):  # no descriptor of a terminal: rich knows what the environment says
            columns, lines = self._console.size
        return columns or 80, lines or 24

    def room(self) -> tuple[int, int]:
        """Columns and rows that `draw` can fill: one less each, so that nothing wraps and nothing scrolls away."""
        columns, lines = self.size()
        return max(1, columns - 1), max(1, lines - 1)

    def draw(self, rows: Sequence[Text]) -> None:
        """Replaces the area by `rows`; of more than the screen has, the last are shown."""
        columns, height = self.size()[0], self.room()[1]
        rows = rows[-height:]
        too_small = columns < max(self._cells, default=0) or height < len(self._cells)
        if too_small and not self._alternate:
            self._emit(self._wipe() + _ENTER_ALTERNATE)
            self._alternate = True
        texts = [self._render(row, columns - 1) for row in rows]
        same = len(texts) == len(self._drawn) and columns == self._columns
        frame = "\r\n".join(
            "" if same and text == old else (_CLEAR_LINE if same else "") + text
            for text, old in zip(texts, self._drawn if same else texts, strict=True)
        )
        self._emit(_BEGIN + self._home(columns) + ("" if same else _CLEAR_BELOW) + frame + "\r" + _END)
        self._drawn, self._cells, self._columns = texts, [row.cell_len for row in rows], columns

    def print_above(self, text: str) -> None:
        """Writes whole lines of text in the place of the area; the next draw begins below them."""
        self._emit(self._wipe() + text)

    def _wipe(self) -> str:
        """What clears the area, and leaves the cursor where it began; the next draw begins there."""
        wipe = _BEGIN + self._home(self.size()[0]) + _CLEAR_BELOW
        wipe += (_LEAVE_ALTERNATE if self._alternate else "") + _END
        self._alternate = False
        self.forget()
        return wipe

    def forget(self) -> None:
        """Leaves what is drawn as it is: the next draw begins at the cursor."""
        self._drawn, self._cells = [], []

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Shows the cursor while the user has stopped the program (Ctrl-Z), and draws anew when it goes on."""
        if not hasattr(signal, "SIGTSTP"):
            yield
            return

        def stop(number: int, _: FrameType | None) -> None:
            # os.write: the signal may have come in the middle of a write to the stream itself.
            os.write(
                self._out.fileno(), (_END + (_LEAVE_ALTERNATE if self._alternate else "") + _SHOW + "\r\n").encode()
            )
            _echo(self._out, True)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, stop)
            _echo(self._out, False)
            os.write(self._out.fileno(), _HIDE.encode())
            self._alternate = False
            self.forget()

        before = signal.signal(signal.SIGTSTP, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, before)

    def _home(self, columns: int) -> str:
        """The way from the start of the area's last row to that of its first, at the terminal's present width."""
        if self._alternate:
            return _TOP
        above = self._cells[:-1]
        narrower = columns < self._columns and not os.environ.get("XTERM_VERSION")  # xterm alone wraps nothing anew
        up = sum(max(1, -(-cells // columns)) for cells in above) if narrower else len(above)
        return "\r" + (f"\x1b[{up}A" if up else "")

    def _render(self, row: Text, columns: int) -> str:
        row.truncate(max(1, columns))
        with self._console.capture() as capture:
            self._console.print(row, end="", soft_wrap=True, highlight=False)
        return capture.get()

    def _emit(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _echo(out: TextIO, on: bool) -> None:
    """Whether the terminal shows what is typed: a typed newline would move the cursor away from the area.

    Nothing typed is lost: the shell gets it afterwards. Does nothing where `out` is no terminal, on Windows, and in
    the background, where a program that changes the terminal is stopped.
    """
    try:
        import termios
    except ImportError:
        return
    with suppress(OSError, ValueError, termios.error):
        number = out.fileno()
        if os.tcgetpgrp(number) != os.getpgrp():
            return
        modes = termios.tcgetattr(number)
        modes[3] = modes[3] | termios.ECHO if on else modes[3] & ~termios.ECHO
        termios.tcsetattr(number, termios.TCSANOW, modes)
