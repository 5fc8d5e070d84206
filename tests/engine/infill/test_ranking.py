"""How candidates are judged: by what is said twice, and by how they read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dgengine.infill.passage import Opening, Passage
from dgengine.infill.ranking import read, repeated


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        (("Once there was ", "a fox", " in a den."), 0),
        (("Once there was ", "was a fox", " in a den."), 1),
        (("Once there was a ", "fox in", " In a den."), 1),
        (("Once there was ", "there was a", " fox"), 2),
        (("It ran.", ". It sat", "."), 1),
        (("f(", "(a)", ")"), 0),
        (("", "", ""), 0),
        (("x ", "", " x"), 0),
    ],
)
def test_words_said_twice_across_a_seam(parts: tuple[str, str, str], count: int) -> None:
    assert repeated(*parts) == count


def test_a_reading_tells_the_hole_from_what_follows() -> None:
    openings = (Opening(0, 3, 4), Opening(1, 6, 6))
    passage = Passage("", (), (1, 2, 3, 90, 4, 5, 6, 7), openings, openings, True, True)
    seen: list[list[int]] = []

    def score(ids: Sequence[int]) -> Tensor:
        seen.append(list(ids))
        return -torch.tensor([float(i) for i in ids])

    reading = read(score, passage, [[10, 20], [30]], 2, 99)
    assert seen == [[2, 3, 10, 20, 4, 5, 30, 6, 7, 99]]
    assert reading.fluency == pytest.approx(-20)
    assert reading.behind == pytest.approx(-(4 + 5 + 6 + 7 + 99) / 5)


def test_nothing_to_read_reads_as_zero() -> None:
    opening = Opening(0, 0, 0)
    passage = Passage("", (), (), (opening,), (opening,), True, False)
    reading = read(lambda ids: torch.tensor([]), passage, [[]], 0, None)
    assert (reading.fluency, reading.behind, reading.near) == (0, 0, 0)
