"""Where a cursor goes on the tokens of a canvas."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dgchat.canvas.cursor import across, beside, first_undecided
from tests.tui.test_canvas import WORDS, after, step

drafts = st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=40)


def test_it_passes_over_tokens_that_do_not_show() -> None:
    canvas = after(step([1, 0, 0, 2], "++++"), ends=frozenset())  # special tokens have no text
    assert not canvas.where(1) and not canvas.where(2)
    assert beside(canvas, 0, 1, 4) == 3 and beside(canvas, 3, -1, 4) == 0
    assert beside(canvas, 0, -1, 4) == 0 and beside(canvas, 3, 1, 4) == 3


def test_rows_are_crossed_at_the_same_column_or_left_of_it() -> None:
    canvas = after(step([1, 2, 3, 2, 2], "+++++"))
    assert canvas.where(4)[0][0] == 1 and canvas.where(1)[0][0] == 0  # their rows
    assert across(canvas, 4, -1) == 1
    assert across(canvas, 1, 1) == 3
    assert across(canvas, 1, -1) == 1 and across(canvas, 4, 1) == 4


@given(drafts, st.data())
def test_it_stays_on_the_canvas_and_on_what_shows(draft: list[int], data: st.DataObject) -> None:
    canvas = after(step(draft, "+" * len(draft)))
    place = data.draw(st.integers(0, len(draft) - 1))
    for move in data.draw(st.lists(st.sampled_from(["left", "right", "up", "down"]), max_size=8)):
        before, by = place, -1 if move in ("left", "up") else 1
        place = across(canvas, place, by) if move in ("up", "down") else beside(canvas, place, by, len(draft))
        assert 0 <= place < len(draft)
        assert place == before or canvas.where(place)


def test_the_first_undecided_token() -> None:
    def found(accepted: list[bool], pinned: list[bool]) -> int:
        return first_undecided(np.array(accepted), np.array(pinned))

    assert found([True, False, False], [False, True, False]) == 2
    assert found([True, True], [False, False]) == 0
