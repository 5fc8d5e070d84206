"""What becomes of each position, against the same said of one position at a time."""

from __future__ import annotations

import numpy as np

from dgchat.canvas.past import BACK_STEPS, Past

LENGTH, STEPS = 40, 60


class One:
    """One position."""

    def __init__(self) -> None:
        self.id, self.held, self.back, self.age, self.changes, self.breaks = -1, -1, 0, 0, 0, False

    def advance(self, id_: int, accepted: bool, pinned: bool) -> bool:
        changed = self.id not in (-1, id_)
        self.age = 0 if changed else self.age + 1
        self.changes += changed
        taken_back = self.held not in (-1, id_)
        self.back = BACK_STEPS if taken_back else max(0, self.back - 1)
        if accepted:
            self.held = id_
        elif taken_back:
            self.held = -1
        self.breaks = accepted or pinned or (self.breaks and self.id == id_)
        self.id = id_
        return taken_back


def test_all_positions_at_once_are_as_each_alone() -> None:
    rng = np.random.default_rng(5)
    past, ones, taken_back = Past(LENGTH), [One() for _ in range(LENGTH)], 0
    for _ in range(STEPS):
        draft = rng.integers(0, 3, LENGTH).astype(np.int32)
        accepted, pinned = rng.random((2, LENGTH)) < [[0.4], [0.1]]
        count = past.advance(draft, accepted, pinned)
        states = zip(ones, draft.tolist(), accepted.tolist(), pinned.tolist(), strict=True)
        assert count == sum(one.advance(*state) for one, *state in states)
        taken_back += count
        for plane in ("back", "age", "changes", "breaks"):
            assert getattr(past, plane).tolist() == [getattr(one, plane) for one in ones]
        assert past.ids.tolist() == [one.id for one in ones]
    assert taken_back


def test_what_is_held_is_another_token_before_the_next_step() -> None:
    past, nothing = Past(3), np.zeros(3, np.bool_)
    past.advance(np.array([5, 6, 7], np.int32), nothing, nothing)
    past.hold(1, 9)
    assert past.ids.tolist() == [5, 9, 7] and past.breaks.tolist() == [False, True, False]
    past.advance(np.array([5, 9, 7], np.int32), nothing, np.array([False, True, False]))
    assert past.changes.tolist() == [0, 0, 0]
