"""Frames: one a step and a settled one, in time, and the same again from a file."""

from __future__ import annotations

from itertools import pairwise

import pytest
from rich.cells import cell_len

from dgchat.canvas.layout import Look, Row
from dgchat.canvas.state import Mode
from dgchat.trace.codec import pack, unpack
from dgchat.trace.frames import Pace, View, frame_at, frames, opening, settled_rows
from dgchat.trace.steps import StepTrace
from tests.tui.trace.made import STORY, realistic, told


def shown(rows: tuple[Row, ...]) -> str:
    return "\n".join("".join(span.text for span in row) for row in rows)


def test_one_frame_a_step_and_a_settled_one() -> None:
    trace = told()
    film = list(frames(trace, View(40)))
    assert len(film) == len(trace) + 1
    assert [frame.number for frame in film] == list(range(1, len(film) + 1))
    assert [(frame.block, frame.step) for frame in film[:-1]] == [
        (block.number, step) for block in trace.blocks for step in range(1, len(block) + 1)
    ]
    assert [frame.settled for frame in film] == [False] * len(trace) + [True]
    assert shown(film[-1].screen).split() == STORY.split()
    assert film[-1].before == STORY and film[0].before == ""


def test_noise_resolves_and_what_has_settled_stands_above() -> None:
    film = list(frames(told(), View(40)))
    assert any(span.look is Look.NOISE for row in film[0].rows for span in row)
    second = next(frame for frame in film if frame.block == 2)
    assert shown(second.above).startswith("Once there was a quiet fox.\n\nIt found")
    assert len(second.above) < len(second.screen)
    assert second.before.startswith("Once there was a quiet fox.\n\nIt found")
    assert all(frame.accepted <= frame.length == 32 for frame in film)


@pytest.mark.parametrize("width", [20, 33, 80, 200])
@pytest.mark.parametrize("mode", list(Mode))
def test_no_row_is_wider_than_the_view(width: int, mode: Mode) -> None:
    trace = told("wide 한국어 テスト and\tlonger-than-any-row-can-be-without-a-break\n" * 3)
    for frame in frames(trace, View(width, mode)):
        assert all(sum(cell_len(span.text) for span in row) <= width for row in frame.screen)


def test_time_goes_on_at_the_pace_and_rests_at_either_end() -> None:
    trace = told()
    film = list(frames(trace, View(pace=Pace(steps=4, first=1, last=2))))
    assert [frame.duration for frame in film] == [1.25, *[0.25] * (len(trace) - 1), 2.25 - 0.25]
    for frame, following in pairwise(film):
        assert following.start == pytest.approx(frame.start + frame.duration)
    slow = list(frames(trace, View(pace=Pace(steps=0, first=0, last=1))))
    assert [frame.duration for frame in slow] == [0.02] * len(trace) + [1]  # a step of a millisecond is not seen


def test_the_same_trace_gives_the_same_frames_also_from_a_file() -> None:
    for trace in (told(), realistic(2, 12, 64)):
        for view in (View(70), View(40, Mode.ENTROPY, marks=True)):
            film = list(frames(trace, view))
            assert list(frames(trace, view)) == film
            again = list(frames(unpack(pack(trace)), view))
            assert [frame.screen for frame in again] == [frame.screen for frame in film]
            assert [frame.accepted for frame in again] == [frame.accepted for frame in film]


def test_any_frame_by_itself_is_that_of_the_film() -> None:
    trace = told()
    film = list(frames(trace, View(50)))
    assert [frame_at(trace, View(50), number) for number in range(1, len(film) + 1)] == film
    for number in (0, len(film) + 1):
        with pytest.raises(IndexError, match=f"frames 1 to {len(film)}"):
            frame_at(trace, View(50), number)


def test_the_last_rows() -> None:
    frame = next(frame for frame in frames(told(), View(30)) if frame.block == 2)
    for count in range(1, len(frame.screen) + 2):
        assert frame.last_rows(count) == frame.screen[-count:]


def test_a_trace_without_steps_is_one_empty_frame() -> None:
    (frame,) = frames(StepTrace(), View())
    assert frame.settled and shown(frame.screen) == "" and opening(StepTrace(), View(), 1.0) is None
    assert frame_at(StepTrace(), View(), 1) == frame


def test_a_block_whose_steps_were_dropped_stands_as_text() -> None:
    trace = told()
    trace.blocks[0].forget()
    noise = opening(trace, View(40), 1.0)
    assert noise is not None and shown(noise.screen).startswith("Once there was a quiet fox.\n\nIt found")
    film = list(frames(unpack(pack(trace)), View(40)))
    assert [frame.block for frame in film] == [2] * 7 and shown(film[-1].screen).split() == STORY.split()
    assert film[0].before == noise.before == trace.text(before=2)


def test_a_block_that_was_broken_off_leaves_what_settled_before_it() -> None:
    trace = told()
    trace.blocks[-1].tokens = trace.blocks[-1].tokens[:0]
    last = list(frames(trace, View()))[-1]
    assert last.before == trace.text() and len(last.before) < len(STORY)


def test_settled_text_lies_as_a_terminal_shows_it() -> None:
    assert shown(settled_rows("a b\n\n\tcode " + "x" * 30, 20)) == "a b\n\n        code xxxxxxx\n" + "x" * 20 + "\nxxx"
