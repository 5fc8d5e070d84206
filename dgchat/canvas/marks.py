"""The tokens around a thought, which are no text, as one sees them on a canvas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

THINKING: Final = "⟨thinking⟩"
ANSWER: Final = "⟨answer⟩"


def shown(ids: Iterable[int], pieces: Sequence[str], marks: tuple[int, int] | None) -> list[str]:
    """The texts of tokens; of those that open and close a thought, what tells where it begins and where it ends.

    Args:
        ids: the tokens.
        pieces: the text of each of them.
        marks: the ids of the two; None for none.
    """
    if marks is None:
        return list(pieces)
    texts = dict(zip(marks, (THINKING, ANSWER), strict=True))
    return [texts.get(id_, piece) for id_, piece in zip(ids, pieces, strict=True)]
