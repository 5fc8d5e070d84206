"""What stands where on the canvas of an infill, and what its tokens come to as text. Needs no torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dgengine.infill.passage import Opening, Passage


@dataclass(frozen=True, slots=True)
class Layout:
    """What a canvas holds.

    Attributes:
        pins: token id by position: both sides of the holes, and what lies between them.
        holes: (opening, first position, one past the last), in order.
    """

    pins: dict[int, int]
    holes: tuple[tuple[Opening, int, int], ...]


def kept_before(passage: Passage, canvas_length: int) -> int:
    """How many tokens before the first hole stand on the canvas, pinned; the others are in the cache."""
    return min(len(passage.before), 16, canvas_length // 5)


def most_open(passage: Passage, canvas_length: int) -> int:
    """How many open tokens a canvas has room for, beside what must be pinned around them; below 1 where none."""
    between = sum(len(passage.between(number)) for number in range(len(passage.openings) - 1))
    behind = min(len(passage.after) + 1, canvas_length // 8)
    return canvas_length - kept_before(passage, canvas_length) - between - behind


def lay_out(passage: Passage, lengths: Sequence[int], canvas_length: int, closing: tuple[int, int]) -> Layout:
    """The canvas of a candidate: some tokens before the holes, the holes, and as much behind them as there is room for.

    Args:
        closing: the id that ends the answer, and the one that fills the canvas behind it.
    """
    keep = kept_before(passage, canvas_length)
    pins = dict(enumerate(passage.before[len(passage.before) - keep :]))
    holes, place = [], keep
    for number, (opening, length) in enumerate(zip(passage.openings, lengths, strict=True)):
        holes.append((opening, place, place + length))
        place += length
        behind = passage.between(number)
        pins.update(zip(range(place, canvas_length), behind, strict=False))
        place += len(behind)
    if place < canvas_length:
        pins[place] = closing[0]
        pins.update(dict.fromkeys(range(place + 1, canvas_length), closing[1]))
    return Layout(pins, tuple(holes))


def open_layout(opening: Opening, canvas_length: int) -> Layout:
    """A canvas that is open from end to end: a stretch of a hole longer than a canvas."""
    return Layout({}, ((opening, 0, canvas_length),))


def remaining(
    present: Sequence[int], length: int, strength: float, shuffled: Callable[[int], Sequence[int]]
) -> dict[int, int]:
    """Which of the tokens `present` a hole of `length` begins with, by place: all but the share `strength` of them.

    In a hole of another length the first half stays at its beginning, the other at its end. `shuffled` gives the
    numbers below its argument in a random order.
    """
    count = min(length, len(present))
    head = (count + 1) // 2
    places = [*range(head), *range(length - (count - head), length)]
    tokens = [*present[:head], *present[len(present) - (count - head) :]]
    return {places[i]: tokens[i] for i in shuffled(count)[round(strength * count) :]}


def replacements(passage: Passage, filled: Sequence[Sequence[int]], spell: object) -> tuple[str, ...]:
    """What each span of a passage becomes, as text: its holes filled, without the bytes that lie outside it.

    Args:
        filled: tokens for each opening.
        spell: ids to their bytes.
    """
    texts = []
    given = dict(zip(passage.openings, filled, strict=True))
    for region in passage.regions:
        parts, end = [], region.first
        for opening in passage.openings:
            if opening.span == region.span:
                parts += [passage.ids[end : opening.first], given[opening]]
                end = opening.last
        ids = [int(i) for i in itertools.chain(*parts, passage.ids[end : region.last])]
        written = b"".join(spell(ids))  # type: ignore[operator]
        texts.append(_within(written, region).decode("utf-8", "ignore"))
    return tuple(texts)


def _within(written: bytes, region: Opening) -> bytes:
    """`written` without the bytes before and behind the span, which stay in the document as they are."""
    written = written.removeprefix(region.head)
    return written.removesuffix(region.tail) if region.tail else written
