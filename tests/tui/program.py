"""The real program in a process of its own, at the end of a pipe or of a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from fcntl import ioctl
from struct import pack
from termios import ECHO, TIOCSCTTY, TIOCSWINSZ, tcgetattr

WAIT = 300.0  # seconds; only a test that fails waits so long


class Terminal:
    """A program on a pseudo-terminal, with what it has written so far in `output`."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], columns: int = 80, lines: int = 24) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, TIOCSCTTY, 0),  # keys such as Ctrl-C become signals
        )
        os.close(slave)
        self._pieces: list[str] = []
        self._decode = getincrementaldecoder("utf-8")("replace").decode

    @property
    def output(self) -> str:
        """Everything so far. Joined when asked for: a text that grew with every read would be copied each time."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def resize(self, columns: int, lines: int) -> None:
        ioctl(self._master, TIOCSWINSZ, pack("HHHH", lines, columns, 0, 0))

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(tcgetattr(self._master)[3] & ECHO)

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, test: Callable[[str], object]) -> str:
        """Reads on until `test` holds of the output; returns the output."""
        end = time.monotonic() + WAIT
        while not test(self.output):
            assert time.monotonic() < end, f"never in {WAIT} s: {self.output[-2000:]!r}"
            if not self._read() and self.process.poll() is not None:
                assert test(self.output), f"ended with {self.process.returncode}: {self.output[-2000:]!r}"
        return self.output

    def close(self) -> int:
        """Reads to the end; returns the exit code (negative for a signal)."""
        end = time.monotonic() + WAIT
        while self._read() or self.process.poll() is None:
            if time.monotonic() > end:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise AssertionError(f"still running after {WAIT} s: {self.output[-2000:]!r}")
        self.echoed_at_end = self.echoes()
        os.close(self._master)
        return self.process.wait()

    def read_for(self, seconds: float) -> None:
        """Reads what comes in this time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(0.01)

    def kill(self) -> None:
        """Ends the program as a power cut does, and reads what it had still written."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.close()

    def hang_up(self) -> None:
        """Closes the terminal under the program, as a window that is shut does."""
        os.close(self._master)

    def _read(self, patience: float = 0.1) -> bool:
        return self._next(patience) is not None

    def _next(self, patience: float) -> str | None:
        """What comes next, which may be a part of a character only; None where nothing comes in so many seconds."""
        if not select.select([self._master], [], [], patience)[0]:
            return None
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the other end is closed
            return None
        if not data:
            return None
        self._pieces.append(self._decode(data))
        return self._pieces[-1]
