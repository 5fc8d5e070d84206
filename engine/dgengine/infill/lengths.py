"""How many tokens each candidate's holes get. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dgengine.infill.request import Length

SAME_INSERTED: Final = 16
LONGEST_INSERTED: Final = 64
BEGUN: Final = 4  # candidates that are begun at least, where all have one length
_DENSE = 16  # up to here every length is tried, beyond it one in eight of them
_STRETCH = 2.0  # the longest new text, in lengths of the old one


def pool(present: Sequence[int], wanted: Length, candidates: int, most: int) -> list[tuple[int, ...]]:
    """The lengths of each candidate's holes, the present ones first.

    A model that fills a hole of fixed length fits it only where the length is right to the token, and it tells so: of
    all lengths the right one is the least uncertain at the first step (`bench.infill_eval` measures it). So a search
    tries many lengths for one step, and goes on with a few.

    Args:
        present: tokens that stand in each hole now; 0 for an insertion.
        wanted: the request's `length`.
        candidates: how many results are asked for.
        most: the most tokens that all holes together may have.

    Returns:
        Equal entries are candidates that differ by their noise alone.
    """
    if isinstance(wanted, int):
        return [_fitted([wanted] * len(present), most)] * max(BEGUN, 2 * candidates)
    if wanted == "same":
        return [_fitted([count or SAME_INSERTED for count in present], most)] * max(BEGUN, 2 * candidates)
    tried = [_tried(count, most) for count in present]
    found: dict[tuple[int, ...], None] = {}
    for choice in range(max(map(len, tried))):
        found.setdefault(_fitted([each[choice * len(each) // max(map(len, tried))] for each in tried], most))
    lengths = sorted(found, key=lambda each: sum(abs(a - b) for a, b in zip(each, present, strict=True)))
    return (lengths * (1 + candidates // len(lengths)))[: max(candidates, len(lengths))]


def _tried(present: int, most: int) -> list[int]:
    """The lengths to try for a hole that holds `present` tokens, from short to long."""
    longest = min(most, LONGEST_INSERTED if not present else max(_DENSE, round(_STRETCH * present)))
    lengths, length = [], 1
    while length <= longest:
        lengths.append(length)
        length += 1 if length < _DENSE else max(1, length // 8)
    if present and present <= longest:
        lengths = sorted({*lengths, present})
    return lengths or [1]


def _fitted(lengths: Sequence[int], most: int) -> tuple[int, ...]:
    """The lengths, scaled down to `most` in all, at least one each."""
    total = sum(lengths)
    if total <= most:
        return tuple(lengths)
    scaled = [max(1, length * most // total) for length in lengths]
    while sum(scaled) > most and max(scaled) > 1:
        scaled[scaled.index(max(scaled))] -= 1
    return tuple(scaled)
