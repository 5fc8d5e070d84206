"""How long candidates are: what is asked for, and never more than there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dgengine.infill.lengths import pool
from dgengine.infill.request import Length

lengths = st.one_of(st.sampled_from(["search", "same"]), st.integers(1, 300))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4), lengths, st.integers(1, 16), st.integers(4, 300))
def test_every_hole_has_room(present: list[int], wanted: Length, candidates: int, most: int) -> None:
    found = pool(present, wanted, candidates, most)
    assert len(found) >= candidates
    for each in found:
        assert len(each) == len(present) and min(each) >= 1 and sum(each) <= most


def test_the_same_length_is_the_same() -> None:
    assert set(pool([7, 0], "same", 3, 60)) == {(7, 16)}
    assert set(pool([7], 9, 3, 60)) == {(9,)}


def test_a_search_begins_with_the_present_length_and_tries_all_short_ones() -> None:
    found = [length for (length,) in pool([8], "search", 3, 60)]
    assert found[0] == 8 and set(found) == set(range(1, 17))


def test_a_search_for_a_long_span_looks_up_to_twice_its_length() -> None:
    found = [length for (length,) in pool([40], "search", 3, 200)]
    assert found[0] == 40 and 70 < max(found) <= 80 and len(found) < 40


def test_a_search_for_an_insertion_goes_from_short_to_long() -> None:
    found = [length for (length,) in pool([0], "search", 3, 60)]
    assert found == sorted(found) and found[0] == 1 and max(found) > 50


def test_several_holes_grow_together() -> None:
    found = pool([4, 4], "search", 3, 60)
    assert found[0] == (4, 4) and all(first == second for first, second in found)
