"""Going through a trace: the canvas at a step is the same whichever way one came there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.canvas.layout import Look
from dgchat.canvas.state import Canvas
from dgchat.trace.playback import Playback
from dgchat.trace.steps import About, StepTrace
from tests.tui.fakes import FakeEngine

TEXT = "Once there was a quiet fox named Ruby.\nShe lived by the river, and so on and on.\n" * 2


def traced(steps: int = 6) -> StepTrace:
    engine = FakeEngine(TEXT, canvas=16, steps=steps)
    trace = StepTrace()
    for event in engine.session().generate([1]):
        trace.take(event)
    trace.about = About(ends=engine.eos_ids)
    trace.learn(engine.spell)
    return trace


def texts(canvas: Canvas) -> list[str]:
    return ["".join(span.text for span in row) for row in canvas.rows(40)]


@given(st.lists(st.integers(-3, 60), min_size=1, max_size=5))
def test_a_step_looks_the_same_from_wherever_one_comes(visits: list[int]) -> None:
    trace = traced()
    wandering = Playback(trace, motion=False)
    for index in visits:
        wandering.go(index)
        straight = Playback(trace, motion=False)
        straight.go(wandering.index)
        there, here = straight.canvas(), wandering.canvas()
        assert (here.accepted, here.taken_back, here.mean_entropy) == (
            there.accepted, there.taken_back, there.mean_entropy,
        )  # fmt: skip
        # Rows may begin elsewhere: they begin where they began on the way.
        assert "".join("".join(texts(here)).split()) == "".join("".join(texts(there)).split())
        assert wandering.before() == straight.before()
    assert 0 <= wandering.index < len(trace)


def test_places_and_blocks() -> None:
    trace = traced(steps=3)
    playback = Playback(trace)
    assert playback.at_end and playback.locate() == (len(trace.blocks) - 1, 3)
    assert playback.go(-5) and playback.locate() == (0, 1) and not playback.go(0)
    assert playback.block_start(1) == 3 and playback.block_start(-1) == 0
    playback.go(4)
    assert playback.locate() == (1, 2) and playback.block_start(-1) == 3 and playback.step.step == 2
    playback.go(3)
    assert playback.block_start(-1) == 0
    playback.go(10**6)
    assert playback.block_start(1) == len(trace) - 3


def test_what_is_settled_stands_before_the_canvas() -> None:
    trace = traced()
    playback = Playback(trace)
    playback.go(0)
    assert playback.before() == ""
    assert trace.text().startswith(playback.before())
    playback.go(len(trace) - 1)
    assert TEXT.startswith(playback.before()) and playback.before()


def test_a_growing_trace_is_followed() -> None:
    whole, growing = traced(), StepTrace()
    growing.about, growing.spelling = whole.about, whole.spelling
    growing.take(whole.blocks[0].step(1))
    playback = Playback(growing)
    for number in range(2, 5):
        growing.take(whole.blocks[0].step(number))
        assert playback.index == number - 2 and len(playback) == number
        playback.go(len(playback) - 1)
        assert playback.at_end and playback.locate() == (0, number)


def test_held_tokens_show_until_they_are_free_again() -> None:
    playback = Playback(traced(), motion=False)
    playback.go(3)
    plain = texts(playback.canvas())
    held = playback.canvas({2: 9}, {2: " HELD"})
    assert " HELD" in "".join(texts(held)) and held.pinned_rows() == {0}
    assert any(span.look is Look.PINNED for row in held.rows(40) for span in row)
    assert texts(playback.canvas()) == plain and not playback.canvas().pinned_rows()


def test_an_empty_trace_has_no_place() -> None:
    with pytest.raises(ValueError, match="no steps"):
        Playback(StepTrace())
