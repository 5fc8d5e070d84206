"""A rewrite that resolves in place: what stands on the screen on the way, and that nothing is left."""

from __future__ import annotations

import numpy as np
import pytest

from dgchat.inline.hole import HoleWriter
from dgchat.settings import Settings, load
from dgengine import Block, Event, Hole, InfillRequest, Step
from tests.tui.fakes import FakeEngine, Tty
from tests.tui.screen import Screen

BEFORE, SPAN = "Once there was a quiet fox that found ", "a lantern"
AFTER = " near the river.\nIt was warm.\nThe end.\n"


def settings(**flags: float | str | bool) -> Settings:
    return load({"watch": True, "pace": 0.0, **flags}, {})


def steps_of(
    engine: FakeEngine, new: str, candidate: int, count: int, nats: float, after: str = AFTER,
    before: str = " fox that found ",
) -> list[Event]:  # fmt: skip
    """A hole between the last words before it and the text behind it, and the steps in which it resolves."""
    head, inside, tail = (engine.encode(text) for text in (before, new, after))
    ids = np.array([*head, *inside, *tail], np.int32)
    free = slice(len(head), len(head) + len(inside))
    events: list[Event] = [Hole(candidate, candidate + 1, ((0, free.start, free.stop),))]
    for number in range(1, count + 1):
        draft, entropy, accepted = ids.copy(), np.zeros(len(ids), np.float32), np.zeros(len(ids), bool)
        done = len(inside) * number // count
        entropy[free] = nats * 5
        entropy[free.start : free.start + done] = nats
        accepted[free.start : free.start + done] = True
        pinned = np.ones(len(ids), bool)
        pinned[free] = False
        events.append(
            Step(candidate + 1, number, 0.7, 0.001, draft, draft, entropy, accepted, pinned, candidate=candidate)
        )
    return events


def interleaved(*runs: list[Event]) -> list[Event]:
    """The holes, and then the steps in turn."""
    holes = [run[0] for run in runs]
    return [*holes, *(run[number] for number in range(1, max(map(len, runs))) for run in runs if number < len(run))]


def play(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, events: list[Event], request: InfillRequest | None = None,
    columns: int = 60, lines: int = 12,
) -> tuple[Screen, list[str]]:  # fmt: skip
    """The screen at the end, and what stood on it after each event."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("dgchat.inline.live.LiveArea.size", lambda _: (columns, lines))
    monkeypatch.setattr("dgchat.inline.watch._MAX_FPS", 1e9)
    out, screen, seen, frames = Tty(), Screen(columns, lines), 0, []
    writer = HoleWriter(engine, request or InfillRequest.around(BEFORE, SPAN, AFTER), settings(), out)
    try:
        for event in events:
            writer.take(event)
            screen.feed(out.getvalue()[seen:])
            seen = len(out.getvalue())
            frames.append(screen.text())
    finally:
        writer.close()
    return screen.feed(out.getvalue()[seen:]), frames


def test_the_hole_resolves_between_its_neighbours_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    events = steps_of(engine, "one old wooden kite", 0, 4, 0.5)
    screen, frames = play(monkeypatch, engine, events)
    for frame in frames[1:]:
        flat = " ".join(frame.split())
        assert flat.startswith("Once there was a quiet fox that found ") and "near the river. It was warm." in flat
    assert any(glyph in frames[1] for glyph in "░▒") and not any(glyph in frames[-1] for glyph in "░▒")
    assert "that found one old wooden kite near" in " ".join(frames[-1].split())
    assert "candidate 1, step 4" in frames[-1] and "accepted 4 of 4" in frames[-1]
    assert screen.text() == "" and screen.cursor_shown and screen.wraps and not screen.alternate


def test_the_span_stands_there_while_the_prompt_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgengine import Prefill

    _, (frame,) = play(monkeypatch, FakeEngine(), [Prefill(0, 999)])
    assert " ".join(frame.split()) == f"{BEFORE}{SPAN} near the river. reading 999 tokens"


def test_the_most_confident_candidate_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    bell = steps_of(engine, "a silver bell", 0, 6, 0.9)
    kite = steps_of(engine, "one old kite", 1, 6, 0.1)
    _, frames = play(monkeypatch, engine, interleaved(bell, kite))
    assert "candidate 1, step 1" in frames[2] and "candidate 2, step 1" in frames[3]
    assert all("candidate 2" in frame for frame in frames[3:])


def test_another_one_is_shown_when_that_one_is_given_up_or_done(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    bell = steps_of(engine, "a silver bell", 0, 6, 0.9)
    kite = steps_of(engine, "one old kite", 1, 2, 0.1)
    _, frames = play(monkeypatch, engine, interleaved(bell, kite))
    assert "candidate 2, step 2" in frames[5] and "candidate 1, step 4" in frames[-3]
    done = [*interleaved(bell[:3], kite), Block(2, np.zeros(1, np.int32), 2, True, candidate=1), *bell[3:]]
    _, frames = play(monkeypatch, engine, done)
    assert "candidate 1, step 3" in frames[-4]


def test_a_screen_too_small_shows_the_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    events = steps_of(engine, "one old wooden kite " * 9, 0, 9, 0.5)
    screen, frames = play(monkeypatch, engine, events, columns=20, lines=5)
    assert all(len(frame.split("\n")) <= 4 for frame in frames)
    assert screen.text() == ""


def test_escape_sequences_reach_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    # The screen refuses sequences that it does not know: these would be an error.
    evil = "red \x1b[5m\x1b]0;owned\x07 fox "
    engine = FakeEngine()
    request = InfillRequest.around(evil + "that found ", SPAN, evil)
    events = steps_of(engine, evil, 0, 3, 0.5, after=evil, before="that found ")
    _, frames = play(monkeypatch, engine, events, request)
    assert "red" in frames[-1]


def test_without_colour_fixed_text_has_no_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    engine = FakeEngine()
    _, frames = play(monkeypatch, engine, steps_of(engine, "one kite", 0, 2, 0.5))
    assert "[" not in frames[-1] and "that found one kite near the river." in " ".join(frames[-1].split())


def test_an_event_of_a_canvas_that_nobody_knows_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    events = steps_of(engine, "one kite", 0, 2, 0.5)
    screen, frames = play(monkeypatch, engine, [*events[1:], Block(7, np.zeros(1, np.int32), 2, True)])
    assert "".join(frames) == screen.text() == ""
