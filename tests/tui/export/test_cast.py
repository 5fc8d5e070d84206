"""asciicasts: what asciinema reads, played on a terminal."""

from __future__ import annotations

import json

import pyte
import pytest

from dgchat.export.cast import export
from dgchat.export.options import Options
from dgchat.trace.frames import Pace, View, frames
from tests.tui.trace.made import STORY, told


def cast(width: int = 50, pace: float = 5.0) -> tuple[dict[str, object], list[tuple[float, str, str]]]:
    head, *events = export(told(), Options(View(width, pace=Pace(pace)))).decode().splitlines()
    return json.loads(head), [tuple(json.loads(event)) for event in events]


def test_the_header_is_that_of_version_2() -> None:
    header, _ = cast()
    assert header["version"] == 2 and header["width"] == 50 and header["title"] == "dgchat · fake"
    theme = header["theme"]
    assert isinstance(theme, dict) and theme["palette"].count(":") == 7 and theme["bg"] == "#14161a"


def test_events_come_in_time() -> None:
    header, events = cast()
    times = [when for when, _, _ in events]
    assert times == sorted(times) and times[0] == 0 and times[-1] == header["duration"]
    assert all(kind == "o" for _, kind, _ in events)
    film = list(frames(told(), View(50, pace=Pace(5))))
    assert len(events) == len(film) + 2  # noise first, and the cursor at the end
    assert times[2] - times[1] == pytest.approx(film[0].duration, abs=0.002)


@pytest.mark.parametrize("width", [30, 50, 120])
def test_played_it_shows_every_frame_in_place(width: int) -> None:
    header, events = cast(width)
    height = header["height"]
    assert isinstance(height, int)
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    film = list(frames(told(), View(width, pace=Pace(5))))
    for number, (_, _, data) in enumerate(events):
        stream.feed(data)
        rows = [row.rstrip() for row in screen.display]
        assert rows[0] == "› A story, please." and rows[1] == ""
        if 1 <= number <= len(film):
            frame = film[number - 1]
            drawn = ["".join(span.text for span in row).rstrip() for row in frame.screen]
            assert rows[2 : 2 + len(drawn)] == drawn
            assert frame.settled or f"step {frame.step} of {frame.steps}" in rows[height - 2]
    assert " ".join(screen.display[2:-2]).split() == STORY.split()


def test_noise_is_grey_and_settled_text_plain() -> None:
    _, events = cast()
    assert "\x1b[38;2;74;81;91m" in events[0][2]
    screen = pyte.Screen(50, 40)
    pyte.Stream(screen).feed("".join(data for _, _, data in events))
    assert {cell.fg for cell in screen.buffer[2].values()} == {"default"}
