"""Words that a person wants at a place of the canvas, as tokens. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgchat.app.card import quoted
from dgchat.notes import plural

if TYPE_CHECKING:
    from dgbackends.protocol import Backend


class SteeringError(Exception):
    """The text cannot stand there; the text of the error is one sentence."""


@dataclass(frozen=True)
class Held:
    """Tokens to hold, and what they read, by position."""

    tokens: dict[int, int]
    texts: dict[int, str]

    @property
    def sentence(self) -> str:
        """What is held, in words."""
        pieces = " ".join(quoted(text) for text in self.texts.values())
        return f"held as {plural(len(self.tokens), 'token')}: {pieces}"


def place_text(engine: Backend, text: str, instead_of: str, place: int, length: int) -> Held:
    """The tokens of a text from a place on.

    Args:
        engine: whose tokenizer it is.
        text: what was typed.
        instead_of: the piece that stands there now: where it begins with a space, so does the text.
        place: the position, from 0.
        length: of the canvas.

    Raises:
        SteeringError: there is no text in it, or it takes more tokens than the canvas has left.
    """
    spaced = f" {text}" if instead_of.startswith(" ") and not text.startswith(" ") else text
    ids = [id_ for id_ in engine.encode(spaced) if engine.spell([id_])[0]]  # without what a tokenizer puts around
    if not ids:
        raise SteeringError("There is no text to put there.")
    room = length - place
    if len(ids) > room:
        raise SteeringError(
            f"{quoted(text)} takes {plural(len(ids), 'token')}, and the canvas has {room} from here on: "
            "choose a shorter text, or an earlier place."
        )
    pieces = engine.pieces(ids)
    return Held(dict(enumerate(ids, place)), dict(enumerate(pieces, place)))
