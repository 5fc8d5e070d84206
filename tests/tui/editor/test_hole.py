"""The room of a hole: given once, and nothing around it moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.editor.hole import Need, Room, make_room

WIDTH = 80


@pytest.mark.parametrize(
    ("start", "end", "tail", "need", "room"),
    [
        ((12, 1), (42, 1), 1, 20, Room(1, 12, 1, 42, 0, 0, WIDTH)),  # it fits where the old text stands
        ((12, 1), (42, 1), 1, 40, Room(1, 12, 1, 42, 0, 16, WIDTH)),  # what follows moves over, in its row
        ((12, 1), (42, 1), 30, 40, Room(1, 12, 1, 42, 1, 0, WIDTH)),  # there is no room for that: another row
        ((12, 1), (12, 1), 60, 30, Room(1, 12, 1, 12, 1, 0, WIDTH)),  # an insertion
        ((8, 3), (20, 5), 4, 100, Room(3, 8, 5, 20, 0, 0, WIDTH)),  # three rows have room enough
        ((8, 3), (20, 4), 4, 999, Room(3, 8, 4, 20, 4, 0, WIDTH)),  # never more rows than there may be
    ],
)
def test_rooms(start: tuple[int, int], end: tuple[int, int], tail: int, need: int, room: Room) -> None:
    assert make_room(start, end, WIDTH, tail, Need(need, 0, 4)) == room


def test_line_breaks_have_rows_of_their_own() -> None:
    assert make_room((12, 1), (42, 1), WIDTH, 1, Need(20, 2, 9)) == Room(1, 12, 1, 42, 2, 0, WIDTH)
    assert make_room((12, 1), (42, 3), WIDTH, 1, Need(20, 2, 9)) == Room(1, 12, 3, 42, 0, 0, WIDTH)
    assert make_room((12, 1), (42, 1), WIDTH, 1, Need(20, 99, 9)) == Room(1, 12, 1, 42, 9, 0, WIDTH)


@given(
    st.integers(0, 90), st.integers(0, 5), st.integers(0, 90), st.integers(0, 3), st.integers(1, 90),
    st.integers(0, 90), st.builds(Need, st.integers(0, 900), st.integers(0, 9), st.integers(1, 8)), st.booleans(),
)  # fmt: skip
def test_a_room_has_a_place_for_each_of_its_cells(
    left: int, top: int, right: int, more: int, width: int, tail: int, need: Need, widen: bool
) -> None:
    right = max(left, right) if not more else right
    room = make_room((left, top), (right, top + more), width, tail, need, widen)
    parts = [room.part(number) for number in range(room.rows)]
    assert parts[0][0] == left and parts[-1][1] == right + room.shift and room.last == room.bottom + room.extra
    assert all(0 <= start <= end <= max(room.width, room.end) for start, end in parts)
    assert 0 <= room.extra <= need.most_rows and not (room.extra and room.shift) and room.layout_width >= 1
