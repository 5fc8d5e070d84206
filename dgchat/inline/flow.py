"""Text that grows at its end, written to a stream as it comes."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

from dgchat.inline.wrap import Wrapper
from dgchat.sanitize import Sanitizer

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"


class Flow:
    """One text on a stream, cleaned; on a terminal wrapped at its width."""

    def __init__(self, out: TextIO, aside: bool = False) -> None:
        """`aside`: what is only said beside the answer: dim on a terminal, and nobody need be there to read it."""
        self._out = out
        self._aside = aside
        self._dim = aside and out.isatty() and os.environ.get("TERM") != "dumb"
        self._sanitizer = Sanitizer()
        self._wrapper = Wrapper(shutil.get_terminal_size().columns) if out.isatty() else None
        self._read = 0  # characters of the text so far
        self._at_line_start = True

    def show(self, text: str) -> None:
        """Writes what the text has more than the last time; all of that still stands at its beginning."""
        safe = self._sanitizer.feed(text[self._read :])
        self._read = len(text)
        self._put(self._wrapper.feed(safe) if self._wrapper else safe)

    def close(self) -> None:
        """The text is at its end, or something else comes next: the line is completed."""
        self._put(self._wrapper.close() if self._wrapper else "")
        if not self._at_line_start:
            self._write("\n")
            self._at_line_start = True
        if not self._aside:
            self._out.flush()

    def _put(self, text: str) -> None:
        if text:
            self._write(f"{_DIM}{text}{_PLAIN}" if self._dim else text)
            self._at_line_start = text.endswith("\n")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            if not self._aside:
                raise
