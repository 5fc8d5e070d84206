"""What a model thought, told from what it answered, while its tokens come."""

from __future__ import annotations

import codecs
import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

HEADER: Final = "thought\n"  # what a channel of thoughts begins with


class ThoughtMarks(NamedTuple):
    """The ids of the tokens that a thought stands between."""

    opening: int
    closing: int


class ThoughtParser:
    """Takes the tokens of one answer, in pieces of any size, and gives thought and answer so far.

    A well-formed answer is `<|channel>thought`, a newline, the thought, `<channel|>`, and the answer. Of others nothing
    is lost either: a channel may come late, or several may, whose texts are then one thought with an empty line between
    them; of one with another header the header stays; a closing mark without an opening one is passed over.

    How the tokens are cut into pieces makes no difference, and what has been given once stays: `thought` and `answer`
    only grow, until `close`.

    Attributes:
        answer: text of the answer so far; an incomplete character at its end is left out.
        thought: text of the thoughts so far, without white space at either end.
        inside: whether a channel is open.
    """

    def __init__(
        self, spell: Callable[[Sequence[int]], list[bytes]], marks: tuple[int, int] | None, asked: bool = True
    ) -> None:
        """Begins an answer.

        Args:
            spell: the bytes of tokens, b"" for special ones: `Engine.spell`.
            marks: the ids around a thought; None where the model has none: all is answer then.
            asked: whether the model was to think. Where it was not, a channel that is never closed holds the answer,
                behind a header that has leaked into it.
        """
        self._spell = spell
        self._marks = ThoughtMarks(*marks) if marks is not None else None
        self._asked = asked
        self._decoder = _decoder()
        self.answer = self.thought = ""
        self.inside = False
        self._begun = False  # whether anything but white space has come in this channel
        self._header: str | None = None  # of the open channel, while it may become HEADER
        self._space = ""  # white space that the thought may end with
        self._start = 0  # where the text of this channel begins in the thought
        self._leading = False  # whether newlines that come now are those between thought and answer

    def feed(self, ids: Iterable[int]) -> None:
        """Takes the next tokens."""
        tokens = [int(i) for i in ids]
        run: list[bytes] = []
        for token, spelled in zip(tokens, self._spell(tokens), strict=True):
            if self._marks is None or token not in self._marks:
                run.append(spelled)
                continue
            self._put(self._decoder.decode(b"".join(run), final=True))
            run.clear()
            (self._open if token == self._marks.opening else self._end_channel)()
        self._put(self._decoder.decode(b"".join(run)))

    def close(self) -> None:
        """The answer is over: what is incomplete counts as it stands."""
        self._put(self._decoder.decode(b"", final=True))
        if not self.inside:
            return
        start = self._start
        self._end_channel()
        if not self._asked:
            self.thought, leaked = self.thought[:start], self.thought[start:].lstrip()
            between = "\n" if leaked and self.answer and not self.answer[-1].isspace() else ""
            self.answer += between + leaked

    def copy(self) -> ThoughtParser:
        """Another parser that goes on from here, by itself."""
        other = copy.copy(self)
        other._decoder = _decoder()
        other._decoder.setstate(self._decoder.getstate())
        return other

    def _open(self) -> None:
        """A channel begins; one that was not closed ends here."""
        if self.inside:
            self._end_channel()
        self.inside, self._begun, self._header = True, False, ""
        self._start = len(self.thought)

    def _end_channel(self) -> None:
        if not self.inside:
            return
        header, self._header = self._header, None
        if header and header != HEADER.rstrip():
            self._think(header)
        self.inside, self._space = False, ""
        self._leading = not self.answer

    def _put(self, text: str) -> None:
        if not text:
            return
        if self.inside:
            self._think(self._without_header(text))
            return
        if self._leading:
            text = text.lstrip("\n")
            self._leading = not text
        self.answer += text

    def _without_header(self, text: str) -> str:
        """What of the channel's next text is no header; "" while that is open."""
        if self._header is None:
            return text
        self._header += text
        if len(self._header) < len(HEADER) and HEADER.startswith(self._header):
            return ""
        text, self._header = self._header, None
        return text.removeprefix(HEADER)

    def _think(self, text: str) -> None:
        if not self._begun:
            text = text.lstrip()
            if not text:
                return
            self._begun = True
            self._space = "\n\n" if self.thought else ""
        text = self._space + text
        said = text.rstrip()
        self._space = text[len(said) :]
        self.thought += said


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")
