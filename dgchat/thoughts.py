"""What a model thinks before it answers, told from the answer, block by block. Knows no screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgengine.thinking import ThoughtParser


class Speller(Protocol):
    """What it takes of an engine, or of a saved trace."""

    @property
    def thought_marks(self) -> tuple[int, int] | None:
        """The token ids around a thought; None for none."""

    def spell(self, ids: Iterable[int], /) -> list[bytes]:
        """The bytes of each token."""


class Blocks:
    """The blocks of one answer as thought and answer. Each is read once; the last one may come again, and then holds.

    Attributes:
        ids: the tokens of each block, by its number.
    """

    def __init__(self, speller: Speller, thinking: bool = False) -> None:
        """`thinking`: whether the model was asked to think first; see `ThoughtParser`."""
        from dgengine.thinking import ThoughtParser

        self.ids: dict[int, list[int]] = {}
        self._before = ThoughtParser(speller.spell, speller.thought_marks, thinking)  # without the last block
        self._with = self._before.copy()

    def take(self, number: int, ids: Sequence[int]) -> None:
        """A block has ended, or has come again."""
        if number not in self.ids:
            self._before = self._with
        self.ids[number] = list(ids)
        self._with = self._before.copy()
        self._with.feed(ids)

    def so_far(self, without: int | None = None) -> ThoughtParser:
        """Thought and answer, of which more may come; `without` the last block where that has this number."""
        return self._before if self.ids and without == max(self.ids) else self._with

    def ended(self, without: int | None = None) -> ThoughtParser:
        """Thought and answer, of which no more will come."""
        parser = self.so_far(without).copy()
        parser.close()
        return parser


def why_not_think(engine: Backend) -> str | None:
    """Why the model cannot think first, in one sentence; None where it can."""
    from dgengine import EngineError

    try:
        return engine.capabilities.reason("thinking")
    except EngineError as error:  # its tokenizer cannot be read, or its template refuses to be tried
        return str(error)


def words(thought: str) -> str:
    """How long a thought is: "1 word", "12 words"."""
    from dgchat.notes import plural

    return plural(len(thought.split()), "word")
