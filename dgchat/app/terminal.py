"""How frames come to the terminal: whole, and no new one before the last has been taken.

Textual gives them to a thread that writes them, with room for ten: on a slow terminal a key's echo would stand behind
all of these. So what changes by itself waits until the terminal has nothing left to take.
"""

from __future__ import annotations

import sys
from typing import cast

from textual.driver import Driver

from dgchat.outlet import Outlet

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # of a frame, on terminals that are to show it at once


class _Whole(Driver):
    """Gives a frame to the thread in one piece: for each it has to wait until this one pauses."""

    _pieces: list[str] | None = None  # of a frame that has begun

    def write(self, data: str) -> None:
        """Takes what is to be written."""
        if data == _BEGIN:
            self._pieces = []
        if self._pieces is not None:
            self._pieces.append(data)
            if data != _END:
                return
            data, self._pieces = "".join(self._pieces), None
        if isinstance(sys.__stderr__, Outlet):
            sys.__stderr__.announce(data)
        super().write(data)  # type: ignore[safe-super]


def whole_frames(driver: type[Driver]) -> type[Driver]:
    """The driver, with frames in one piece."""
    return cast("type[Driver]", type("WholeFrames", (_Whole, driver), {}))


def behind() -> bool:
    """Whether the terminal has not taken yet all that was drawn."""
    return isinstance(sys.__stderr__, Outlet) and sys.__stderr__.behind
