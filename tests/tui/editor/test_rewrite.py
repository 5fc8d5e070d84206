"""Which of the candidates is shown while they form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dgchat.editor.rewrite import CHOICE_HOLDS, Rewrite
from dgengine import Block, Hole, InfillRequest, Step
from tests.tui.fakes import THE, FakeEngine

LENGTH = 8


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def started(*holes: tuple[int, int], text: str = "The fox.") -> tuple[Rewrite, Clock]:
    """A rewrite with these holes, by the number of the candidate: first and last position."""
    clock, engine = Clock(), FakeEngine()
    rewrite = Rewrite(InfillRequest(text, ((4, 7),)), 1, engine.pieces, motion=False, clock=clock)
    for number, (first, last) in enumerate(holes):
        rewrite.take(Hole(number, number + 1, ((0, first, last),)))
    return rewrite, clock


def step(candidate: int, number: int, nats: float, block: int | None = None, token: int = THE) -> Step:
    entropy = np.full(LENGTH, nats, np.float32)
    pinned = np.zeros(LENGTH, bool)
    pinned[0] = True
    entropy[0] = 0
    draft = np.full(LENGTH, token, np.int32)
    return Step(
        block or candidate + 1, number, 0.5, 0.1, draft, draft, entropy, np.zeros(LENGTH, bool), pinned,
        candidate=candidate,
    )  # fmt: skip


def shown(rewrite: Rewrite) -> int | None:
    return rewrite.shown


def test_the_most_confident_one_is_shown_but_not_for_a_moment_only() -> None:
    rewrite, clock = started((1, 4), (1, 6))
    assert (shown(rewrite), rewrite.ready) == (0, False)
    rewrite.take(step(0, 1, 2.0))
    rewrite.take(step(1, 1, 1.0))
    assert shown(rewrite) == 0  # it has been chosen but now
    clock.seconds = CHOICE_HOLDS + 1
    rewrite.take(step(0, 2, 1.0))
    rewrite.take(step(1, 2, 0.95))
    assert shown(rewrite) == 0  # nearly as good
    rewrite.take(step(1, 3, 0.5))
    assert (shown(rewrite), rewrite.ready, rewrite.longest) == (1, True, 5)
    rewrite.held = True
    clock.seconds += 10
    rewrite.take(step(0, 3, 0.1))
    assert shown(rewrite) == 1


def test_lengths_that_were_given_up_count_no_more() -> None:
    rewrite, clock = started((1, 4), (1, 8), (1, 3))
    for number, nats in enumerate((1.0, 0.1, 0.5)):
        rewrite.take(step(number, 1, nats))
    for number in (2, 3):
        clock.seconds += 1
        rewrite.take(step(0, number, 1.0))
        rewrite.take(step(2, number, 0.5))
    assert [forming.number for forming in rewrite.active] == [0, 2] and shown(rewrite) == 2 and rewrite.longest == 3


def test_a_candidate_that_begins_when_the_others_are_done_is_shown() -> None:
    rewrite, _ = started((1, 4))
    rewrite.take(step(0, 1, 0.1))
    rewrite.take(Block(1, np.zeros(LENGTH, np.int32), 1, True, candidate=0))
    rewrite.take(Hole(1, 2, ((0, 1, 4),)))
    assert shown(rewrite) == 1
    rewrite.take(step(7, 1, 0.1))  # an unknown one, and one of a canvas that is over
    rewrite.take(step(1, 1, 0.1, block=9))
    assert rewrite.taken == 1


def test_what_earlier_canvases_wrote_stands_before_the_newest() -> None:
    rewrite, _ = started((0, 3))
    rewrite.take(step(0, 1, 0.1))
    rewrite.take(Hole(0, 2, ((0, 2, 5), (0, 6, 7))))
    forming = rewrite.forming[0]
    assert (forming.first, forming.last, forming.block, forming.settled) == (2, 7, 2, " the the the")
    rewrite.take(step(0, 1, 0.1, block=2))
    rows = rewrite.rows(forming, 4, 60, marks=True)
    assert "".join(span.text for span in rows[0]).startswith("xxxx the the the")


def test_a_space_that_is_a_part_of_the_first_token_is_not_drawn_twice() -> None:
    rewrite, _ = started((1, 4))
    rewrite.take(step(0, 1, 0.1))
    forming = rewrite.forming[0]
    assert "".join(span.text for span in rewrite.rows(forming, 4, 60, marks=False)[0]).startswith("xxx the")
    rewrite.take(replace(step(0, 2, 0.1), draft=np.full(LENGTH, 0, np.int32)))
    assert "".join(span.text for span in rewrite.rows(forming, 4, 60, marks=False)[0]).startswith("xxxx")
