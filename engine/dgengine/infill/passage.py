"""The part of a document that an infill works on, as tokens, with its holes at the edges of tokens. Needs no torch."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dgengine.errors import InfillError
from dgengine.infill.request import Range

_CHARACTERS_A_TOKEN = 12  # more than tokens have on average: what is cut for its length alone is cut again in tokens


class Text(Protocol):
    """What is needed of a tokenizer; `dgengine.chat.ChatTokenizer` is one."""

    def tokens(self, text: str) -> list[int]:
        """Raw text to ids, without control tokens."""

    def spell(self, ids: Sequence[int]) -> list[bytes]:
        """The UTF-8 bytes of each id."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One hole among a passage's tokens.

    Attributes:
        span: number of the request's span that it belongs to.
        first, last: the tokens first .. last - 1 are open; the two are equal where something is inserted.
        head, tail: bytes of the first and of the last open token that lie outside the span: what is written must begin
            and end with them.
    """

    span: int
    first: int
    last: int
    head: bytes = b""
    tail: bytes = b""

    @property
    def length(self) -> int:
        """Tokens that stand in it now."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document around some of its spans.

    Attributes:
        text: the stretch.
        spans: where the spans lie in it.
        ids: its tokens.
        regions: each span among the tokens, as one hole.
        openings: the holes, in order: the regions without what is kept in them.
        whole_before, whole_after: whether it begins where the document begins, and ends where it ends.
    """

    text: str
    spans: tuple[Range, ...]
    ids: tuple[int, ...]
    regions: tuple[Opening, ...]
    openings: tuple[Opening, ...]
    whole_before: bool
    whole_after: bool

    @property
    def before(self) -> tuple[int, ...]:
        """The tokens before the first hole."""
        return self.ids[: (self.openings or self.regions)[0].first]

    @property
    def after(self) -> tuple[int, ...]:
        """The tokens behind the last hole."""
        return self.ids[(self.openings or self.regions)[-1].last :]

    def between(self, number: int) -> tuple[int, ...]:
        """The tokens between the hole `number` and the next one; behind the last hole, those to the end."""
        end = self.openings[number + 1].first if number + 1 < len(self.openings) else len(self.ids)
        return self.ids[self.openings[number].last : end]


def cut_out(
    codec: Text, text: str, spans: Sequence[Range], keep: Sequence[Range], numbers: Sequence[int], room: tuple[int, int]
) -> Passage:
    """The passage around `spans`.

    Args:
        codec: the tokenizer.
        text: the document.
        spans: of the document, in characters.
        keep: parts of the spans that stay.
        numbers: the request's numbers of the spans.
        room: the most tokens before the first span, and behind the last one; a few more where the cut falls into a
            character or a word, which is then kept whole.

    Raises:
        InfillError: two spans share a token.
    """
    first = _begin(text, spans[0][0], room[0] * _CHARACTERS_A_TOKEN)
    last = _end(text, spans[-1][1], room[1] * _CHARACTERS_A_TOKEN)
    inside = _shifted(spans, first)
    passage = _tokenised(codec, text[first:last], inside, _shifted(keep, first), numbers)
    start, stop = _trimmed(codec, passage, room)
    if (start, stop) != (0, last - first):
        piece = text[first + start : first + stop]
        passage = _tokenised(codec, piece, _shifted(inside, start), _shifted(keep, first + start), numbers)
    whole = (first + start == 0, first + stop == len(text))
    return replace(passage, whole_before=whole[0], whole_after=whole[1])


def _shifted(ranges: Sequence[Range], by: int) -> tuple[Range, ...]:
    return tuple((start - by, stop - by) for start, stop in ranges)


def _begin(text: str, start: int, most: int) -> int:
    """Where a stretch of `most` characters before `start` may begin: behind a line's end or a blank, if one is near."""
    if start <= most:
        return 0
    low = start - most
    for blank in ("\n", " "):
        found = text.find(blank, low, low + most // 4)
        if found >= 0:
            return found + 1
    return low


def _end(text: str, stop: int, most: int) -> int:
    """Where a stretch of `most` characters behind `stop` may end."""
    if len(text) - stop <= most:
        return len(text)
    high = stop + most
    for blank in ("\n", " "):
        found = text.rfind(blank, high - most // 4, high)
        if found >= 0:
            return found + (blank == "\n")
    return high


def _trimmed(codec: Text, passage: Passage, room: tuple[int, int]) -> Range:
    """The characters of a passage that remain when it holds no more than `room` tokens on either side."""
    start, stop = 0, len(passage.text)
    if len(passage.before) > room[0]:
        extra = b"".join(codec.spell(passage.before[: len(passage.before) - room[0]]))
        start = min(len(extra.decode("utf-8", "ignore")), passage.spans[0][0])
        start = _begin(passage.text, passage.spans[0][0], passage.spans[0][0] - start)
    if len(passage.after) > room[1]:
        extra = b"".join(codec.spell(passage.after[room[1] :]))
        stop = max(stop - len(extra.decode("utf-8", "ignore")), passage.spans[-1][1])
        stop = _end(passage.text, passage.spans[-1][1], stop - passage.spans[-1][1])
    return start, stop


def _tokenised(
    codec: Text, text: str, spans: Sequence[Range], keep: Sequence[Range], numbers: Sequence[int]
) -> Passage:
    ids = codec.tokens(text)
    spelled = codec.spell(ids)
    if b"".join(spelled) == text.encode():
        edges = _Edges(text, spelled)
        regions = list(_aligned(edges, spans, numbers))
        kept = [edges.inward(edges.byte(start), edges.byte(stop)) for start, stop in keep]
        if not keep:  # what is kept is found by its tokens' numbers
            ids, regions = _healed(codec, ids, spelled, regions)
    else:  # a tokenizer that normalises: its tokens are cut at the spans, and fit no worse for it
        ids, regions = _in_pieces(codec, text, spans, numbers)
        kept = []
    openings = [opening for region in regions for opening in _split(region, kept)]
    return Passage(text, tuple(spans), tuple(ids), tuple(regions), tuple(openings), True, True)


class _Edges:
    """Where the characters and the tokens of a text lie in its bytes."""

    def __init__(self, text: str, spelled: Sequence[bytes]) -> None:
        self.spelled = spelled
        self.bytes = text.encode()
        self.token = [0, *itertools.accumulate(map(len, spelled))]
        self._text = text

    def byte(self, character: int) -> int:
        """The byte at which a character begins."""
        return len(self._text[:character].encode())

    def outward(self, start: int, stop: int) -> tuple[int, int]:
        """The tokens that share a byte with start .. stop - 1; of an empty range those that it falls into."""
        first = bisect.bisect_right(self.token, start) - 1
        if start == stop and self.token[first] == start:
            # tokens without bytes stand before the place, so that what is written comes behind them
            return first, first
        return first, max(bisect.bisect_left(self.token, stop), first + 1)

    def inward(self, start: int, stop: int) -> tuple[int, int]:
        """The tokens that lie wholly within start .. stop - 1, a blank before the first word aside."""
        first = bisect.bisect_left(self.token, start)
        if first and self.spelled[first - 1] and self.token[first] > start:
            word = self.spelled[first - 1]
            if word[:1] == b" " and self.token[first - 1] + 1 == start:
                first -= 1
        last = bisect.bisect_right(self.token, stop) - 1
        return first, max(first, last)


def _aligned(edges: _Edges, spans: Sequence[Range], numbers: Sequence[int]) -> Iterator[Opening]:
    """Each span as one hole, snapped outward to the edges of tokens."""
    end = 0
    for number, (start, stop) in zip(numbers, spans, strict=True):
        first_byte, last_byte = edges.byte(start), edges.byte(stop)
        first, last = edges.outward(first_byte, last_byte)
        if first < end:
            raise InfillError("Two of the spans share a token of the model: select them as one.")
        end = last
        head = edges.bytes[edges.token[first] : first_byte]
        tail = edges.bytes[last_byte : edges.token[last]] if last > first else b""
        yield Opening(number, first, last, head, tail)


def _healed(
    codec: Text, ids: Sequence[int], spelled: Sequence[bytes], regions: Sequence[Opening]
) -> tuple[list[int], list[Opening]]:
    """Takes a blank that stands alone before a hole into it: words bring their blank along.

    Where a span follows a blank and nothing of its token, the blank is a token of its own; what would be written behind
    it is a word without one, which a model hardly knows in the middle of a text.
    """
    healed: list[int] = []
    opened: list[Opening] = []
    end = 0
    for region in regions:
        healed += ids[end : region.first]
        head = region.head
        blanks = spelled[region.first - 1] if region.first > end else b""
        if not head and blanks and not blanks.strip(b" "):
            healed[-1:] = codec.tokens(" " * (len(blanks) - 1))
            head = b" "
        first = len(healed)
        inside = ids[region.first : region.last]
        if head != region.head and inside and (text := b"".join(codec.spell(inside))):
            inside = codec.tokens(" " + text.decode("utf-8", "ignore")) or inside
        healed += inside
        opened.append(Opening(region.span, first, len(healed), head, region.tail))
        end = region.last
    return [*healed, *ids[end:]], opened


def _split(whole: Opening, kept: Sequence[tuple[int, int]]) -> Iterator[Opening]:
    """A hole without the tokens `kept` in it: what is left of it, in order."""
    first, head = whole.first, whole.head
    for start, stop in kept:
        if start >= stop or start < first or stop > whole.last:
            continue
        if (start == first and head) or (stop == whole.last and whole.tail):
            continue  # the token reaches out of the span, so it cannot be held as it is
        if start > first:
            yield Opening(whole.span, first, start, head)
        first, head = stop, b""
    if first < whole.last or whole.first == whole.last:
        yield Opening(whole.span, first, whole.last, head, whole.tail)


def _in_pieces(
    codec: Text, text: str, spans: Sequence[Range], numbers: Sequence[int]
) -> tuple[list[int], list[Opening]]:
    ids: list[int] = []
    openings: list[Opening] = []
    end = 0
    for number, (start, stop) in zip(numbers, spans, strict=True):
        ids += codec.tokens(text[end:start])
        first = len(ids)
        ids += codec.tokens(text[start:stop])
        openings.append(Opening(number, first, len(ids)))
        end = stop
    return ids + codec.tokens(text[end:]), openings
