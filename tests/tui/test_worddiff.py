"""What differs between two texts, by words."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat import worddiff
from dgchat.worddiff import diff

WORDS = st.sampled_from(["fox", "owl", " ", "  ", "\n", ".", "lantern", "e\u0301", "\r\n", "漢", "字", "-", "\t"])
TEXTS = st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=30)


def check(old: str, new: str) -> list[tuple[worddiff.Kind, str]]:
    parts = diff(old, new)
    assert "".join(text for kind, text in parts if kind != "added") == old
    assert "".join(text for kind, text in parts if kind != "removed") == new
    assert all(text for _, text in parts)
    kinds = [kind for kind, _ in parts]
    assert all(one != other for one, other in itertools.pairwise(kinds))
    assert ("added", "removed") not in itertools.pairwise(kinds)
    return parts


@given(TEXTS, TEXTS)
def test_the_parts_make_both_texts(old: str, new: str) -> None:
    check(old, new)


@given(TEXTS, TEXTS)
def test_and_so_they_do_where_there_are_too_many_words_or_lines(old: str, new: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(worddiff, "_MOST_WORDS", 5)
        check(old, new)
        patched.setattr(worddiff, "_MOST_LINES", 2)
        check(old, new)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("", "", []),
        ("a fox", "a fox", [("same", "a fox")]),
        ("", "a fox", [("added", "a fox")]),
        ("a fox", "", [("removed", "a fox")]),
        (
            "a red fox ran",
            "a grey fox ran",
            [("same", "a "), ("removed", "red"), ("added", "grey"), ("same", " fox ran")],
        ),
        (
            "one old kite", "two new kite",
            [("removed", "one old"), ("added", "two new"), ("same", " kite")],  # not: one, two, old, new
        ),
        ("cafe\u0301", "cafe", [("removed", "cafe\u0301"), ("added", "cafe")]),
        ("漢字", "漢語", [("same", "漢"), ("removed", "字"), ("added", "語")]),
    ],
)  # fmt: skip
def test_whole_words_are_compared(old: str, new: str, parts: list[tuple[str, str]]) -> None:
    assert check(old, new) == parts


@pytest.mark.parametrize("unit", ["the fox and the owl, ", "word{} ", "line {} of the text\n", "\n", " "])
def test_large_texts_take_no_time(unit: str) -> None:
    old = "".join(unit.format(number) for number in range(60_000))
    new = "".join(unit.format(number * 7 % 60_001) for number in range(60_000))
    began = time.process_time()
    check(old, new + "x")
    assert time.process_time() - began < 5
