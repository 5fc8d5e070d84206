"""The rival of pinning: text that was written freely, cut where what follows the span begins. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dgengine.infill.passage import Passage, Text

_ANCHORS: Final = (24, 12, 6)  # characters of what follows that are looked for, the most telling first


class Anchor:
    """Finds where the text behind a span begins in what was written."""

    def __init__(self, codec: Text, passage: Passage, end: int) -> None:
        """Takes a passage with one span.

        Args:
            codec: the tokenizer.
            passage: with one span.
            end: the id that ends an answer.
        """
        self._codec = codec
        self._region = passage.regions[0]
        start, stop = passage.spans[0]
        self._span = passage.text[start:stop]
        self._after = passage.text[stop:]
        self._end = end

    def found(self, written: Sequence[int]) -> bool:
        """Whether what follows the span, or the end of the answer, stands in what was written."""
        return self._end in written or self._place(self._text(written), _ANCHORS[:1]) is not None

    def cut(self, written: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        """What takes the span's place, and its tokens.

        Where what follows the span does not come, as much as the span is long, to the end of a word.
        """
        ids = list(written[: written.index(self._end)] if self._end in written else written)
        text = self._text(ids)
        place = self._place(text, _ANCHORS)
        if place is None:
            place = len(text) if self._end in written and not self._after.strip() else self._word_end(text)
        kept = text[:place]
        return kept, tuple(self._codec.tokens(kept))

    def _text(self, ids: Sequence[int]) -> str:
        """The text of ids, without the bytes of the first one that lie before the span."""
        ids = ids[: list(ids).index(self._end)] if self._end in ids else ids
        spelled = b"".join(self._codec.spell(list(ids)))
        return spelled.removeprefix(self._region.head).decode("utf-8", "ignore")

    def _place(self, text: str, lengths: Sequence[int]) -> int | None:
        for length in lengths:
            anchor = self._after[:length]
            if anchor.strip() and (place := text.find(anchor)) >= 0:
                return place
        return None

    def _word_end(self, text: str) -> int:
        place = min(len(text), max(len(self._span), 1))
        while place < len(text) and not text[place].isspace():
            place += 1
        return place
