"""A screen that may hold work that is not saved."""

from __future__ import annotations

from typing import TypeVar

from dgchat.app.sized import Sized

Result = TypeVar("Result")


class Asking(Sized[Result]):
    """Is asked before the app quits."""

    def may_quit(self) -> bool:
        """Whether nothing would be lost. Where something would, the screen asks, and quits itself after that."""
        raise NotImplementedError
