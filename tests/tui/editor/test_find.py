"""Finding words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.editor.find_bar import find

LINES = ["a fox and a Fox", "", "the fox"]


@pytest.mark.parametrize(
    ("words", "start", "by", "place"),
    [
        ("fox", (0, 0), 1, (0, 2)),
        ("fox", (0, 5), 1, (0, 12)),
        ("Fox", (0, 0), 1, (0, 12)),
        ("fox", (0, 13), 1, (2, 4)),
        ("fox", (2, 7), 1, (0, 2)),
        ("fox", (0, 2), -1, (2, 4)),
        ("fox", (2, 4), -1, (0, 12)),
        ("owl", (0, 0), 1, None),
        ("", (0, 0), 1, None),
        ("a .", (0, 0), 1, None),
    ],
)
def test_the_next_place(words: str, start: tuple[int, int], by: int, place: tuple[int, int] | None) -> None:
    assert find(LINES, words, start, by) == place


@given(st.lists(st.text("abA"), min_size=1), st.text("abA", min_size=1), st.integers(0, 5), st.sampled_from([1, -1]))
def test_what_stands_somewhere_is_found(lines: list[str], words: str, row: int, by: int) -> None:
    place = find(lines, words, (min(row, len(lines) - 1), 0), by)
    some = any(words.lower() in line.lower() if words == words.lower() else words in line for line in lines)
    assert (place is not None) is some
    if place is not None:
        assert lines[place[0]][place[1] :].lower().startswith(words.lower())
