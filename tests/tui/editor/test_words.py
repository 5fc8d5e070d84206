"""Words to keep."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.editor.words import Words, without_ends


def test_words_and_what_is_kept_of_them() -> None:
    text = "found a big lantern, don't"
    words = Words(text)
    assert [text[start:end] for start, end in words.ranges] == ["found", "a", "big", "lantern", ",", "don't"]
    assert words.at(0) == 0 and words.at(5) is None and words.at(8) == 2
    words.move(-1)
    assert words.now == 0
    words.move(2)
    assert words.toggle() and words.toggle(1) and words.toggle(5)
    assert [text[start:end] for start, end in words.kept_ranges()] == ["a big", "don't"]
    assert words.toggle(1) and [text[start:end] for start, end in words.kept_ranges()] == ["big", "don't"]
    assert not words.toggle(6)


def test_there_may_be_no_word() -> None:
    words = Words("  ")
    words.move(1)
    assert not words.toggle() and words.kept_ranges() == [] and words.at(0) is None


@pytest.mark.parametrize(
    ("keep", "span", "left"),
    [
        ([], (2, 20), []),
        ([(2, 5)], (5, 20), []),
        ([(2, 5), (6, 8), (15, 20)], (5, 15), [(6, 8)]),
        ([(2, 20)], (20, 20), []),
    ],
)
def test_what_is_kept_at_the_ends_is_left_alone(
    keep: list[tuple[int, int]], span: tuple[int, int], left: list[tuple[int, int]]
) -> None:
    assert without_ends((2, 20), keep) == (span, left)


@given(st.text(), st.sets(st.integers(0, 30)))
def test_what_is_kept_is_in_order_and_apart(text: str, numbers: set[int]) -> None:
    words = Words(text)
    for number in numbers:
        words.toggle(number)
    ranges = words.kept_ranges()
    assert all(start < end for start, end in ranges)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
