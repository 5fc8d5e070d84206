"""What a trace tells of a position, against counting by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.trace.steps import BlockTrace, StepTrace
from dgchat.trace.story import heat, tell
from dgengine import Step

WORDS = [b"", b" fox", b" red", b"\xc3", b"\xbc"]


def block_of(drafts: list[list[int]], accepted: list[list[bool]], candidates: bool = False) -> BlockTrace:
    trace = StepTrace()
    for number, (draft, sure) in enumerate(zip(drafts, accepted, strict=True), 1):
        ids = np.array(draft, np.int32)
        step = Step(
            1, number, 0.8, 0.01, draft=ids, canvas=ids, accepted=np.array(sure), pinned=np.zeros(len(ids), bool),
            entropy=np.linspace(0, number, len(ids), dtype=np.float32),
            top_ids=np.stack([ids, ids * 0 + 1], 1) if candidates else None,
            top_probs=np.tile(np.array([0.75, 0.25], np.float32), (len(ids), 1)) if candidates else None,
        )  # fmt: skip
        trace.take(step)
    return trace.blocks[0]


def spelled(block: BlockTrace) -> StepTrace:
    return StepTrace([block], spelled=dict(enumerate(WORDS)))


@given(st.data(), st.integers(1, 8), st.integers(1, 6))
def test_first_acceptance_settling_and_changes(data: st.DataObject, steps: int, length: int) -> None:
    ids = st.lists(st.integers(0, 4), min_size=length, max_size=length)
    sure = st.lists(st.booleans(), min_size=length, max_size=length)
    drafts = [data.draw(ids) for _ in range(steps)]
    accepted = [data.draw(sure) for _ in range(steps)]
    block = block_of(drafts, accepted)
    trace = spelled(block)
    place = data.draw(st.integers(0, length - 1))
    story = tell(trace, block, data.draw(st.integers(1, steps)), place)
    column = [draft[place] for draft in drafts]
    settled = steps
    while settled > 1 and column[settled - 2] == column[-1]:
        settled -= 1
    first = next((number for number, row in enumerate(accepted, 1) if row[place]), None)
    assert (story.accepted_at, story.settled_at) == (first, settled)
    assert story.changes == sum(a != b for a, b in pairwise(column))
    assert not story.pinned and story.candidates == ()


def test_candidates_and_text_of_a_character_in_two_tokens() -> None:
    block = block_of([[1, 3, 4]], [[True, False, False]], candidates=True)
    trace = spelled(block)
    assert [tell(trace, block, 1, place).text for place in range(3)] == [" fox", "", "ü"]
    best, other = tell(trace, block, 1, 0).candidates
    assert best[0] == " fox" and best[1] == pytest.approx(0.75, abs=1 / 255) and other[1] < 0.3


@pytest.mark.parametrize(("number", "place"), [(0, 0), (2, 0), (1, 3), (1, -1)])
def test_there_is_no_story_of_what_is_not_there(number: int, place: int) -> None:
    block = block_of([[1, 2, 3]], [[True] * 3])
    with pytest.raises(IndexError):
        tell(spelled(block), block, number, place)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 12), st.integers(1, 60))
def test_heat_keeps_the_bounds_and_the_mean(steps: int, length: int, rows: int, columns: int) -> None:
    block = block_of([[1] * length] * steps, [[True] * length] * steps)
    grid = heat(block, rows, columns)
    assert grid.shape == (rows, columns) and grid.dtype == np.float32
    assert grid.min() >= 0 and grid.max() <= steps + 0.2
    if rows == steps and columns == length:
        np.testing.assert_allclose(grid[-1], np.linspace(0, steps, length), atol=0.1)
