"""What the player tells the screen that it is on. Apart from it, so that a screen need not load it for these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from dgchat.app.player import Player


@dataclass
class PlayerFreeze(Message):
    """The answer is to be held, or to go on."""

    player: Player
    hold: bool


@dataclass
class PlayerHold(Message):
    """A token is to be held at a position of a block; None frees it."""

    player: Player
    place: int
    token: int | None


@dataclass
class PlayerRetype(Message):
    """A text is to stand at a position of a block, and to be held there."""

    player: Player
    place: int
    text: str


@dataclass
class PlayerReform(Message):
    """The rest of a finished answer is to form anew around what is held."""

    player: Player


@dataclass
class PlayerExport(Message):
    """The trace is to be written to a file."""

    player: Player


@dataclass
class PlayerNextMode(Message):
    """Another meaning of the colours is wanted."""


@dataclass
class PlayerLeft(Message):
    """Out of here."""

    player: Player
