"""The animation: what it leaves behind, and what it shows on the way."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from dgchat.inline.watch import WatchWriter, can_animate
from dgchat.settings import Settings, load
from dgengine import Sampling
from tests.tui.fakes import FakeEngine, FakeSession, Tty
from tests.tui.screen import Screen

CODE = "Here is one:\n\n```python\ndef add(a, b):\n    return a + b\n```\n\nThat is all there is to say about it."
STORY = "Once there was a quiet fox. It found a lantern near the river, and the lantern was still warm. " * 6


def settings(**flags: float | str | bool) -> Settings:
    return load({"watch": True, "pace": 0.0, **flags}, {})


def play(
    monkeypatch: pytest.MonkeyPatch, text: str, columns: int = 60, lines: int = 16, canvas: int = 24, until: int = 10**6
) -> tuple[Screen, list[str]]:
    """The screen after an answer (cut off after `until` events), and what stood on it at each step."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("dgchat.inline.live.os.get_terminal_size", lambda _: (columns, lines))
    monkeypatch.setattr("dgchat.inline.live.LiveArea.size", lambda _: (columns, lines))
    monkeypatch.setattr("dgchat.inline.watch._MAX_FPS", 1e9)
    engine, out = FakeEngine(text, canvas=canvas), Tty()
    writer = WatchWriter(engine, Sampling(), settings(), out)
    screen, seen, frames = Screen(columns, lines), 0, []
    try:
        for number, event in enumerate(FakeSession(engine).generate([1])):
            if number == until:
                break
            writer.take(event)
            screen.feed(out.getvalue()[seen:])
            seen = len(out.getvalue())
            frames.append(screen.text())
    finally:
        writer.close()
    return screen.feed(out.getvalue()[seen:]), frames


@pytest.mark.parametrize("columns", [1, 2, 7, 40, 80, 200])
@pytest.mark.parametrize("text", ["Hi.", CODE, STORY, "\n\nwide 한국어 テスト\n", ""])
def test_only_the_text_is_left(monkeypatch: pytest.MonkeyPatch, text: str, columns: int) -> None:
    screen, _ = play(monkeypatch, text, columns)
    assert screen.text().replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert screen.cursor_shown and screen.wraps and not screen.alternate


def test_code_is_left_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, _ = play(monkeypatch, CODE, 80)
    assert screen.text() == CODE


def test_noise_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    _, frames = play(monkeypatch, "The fox found a lantern near the river and the lantern was warm.", 60)
    steps = [frame for frame in frames if "step" in frame]
    noise = [sum(frame.count(glyph) for glyph in "░▒") for frame in steps]
    assert noise[0] > 10 and noise[-1] == 0
    assert "lantern near the river" in steps[-1]
    assert "block 1, step 1 of 48" in steps[0]


def test_complete_lines_are_printed_above_the_next_block(monkeypatch: pytest.MonkeyPatch) -> None:
    _, frames = play(monkeypatch, CODE, 80, canvas=16)
    second = next(frame for frame in frames if "block 2" in frame)
    assert second.startswith("Here is one:\n\n```python\n")


def test_a_canvas_taller_than_the_screen_is_cut_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, frames = play(monkeypatch, STORY, columns=20, lines=6, canvas=200)
    assert all(len(frame.split("\n")) <= 5 for frame in frames if "step" in frame)
    assert screen.text().split() == STORY.split()


def test_an_answer_that_breaks_off_leaves_what_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, _ = play(monkeypatch, STORY, canvas=24, until=12)
    assert screen.text() and STORY.startswith(screen.text().replace("\n", " "))
    assert screen.cursor_shown


def test_without_colour_marks_tell_the_looks_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _, frames = play(monkeypatch, "The fox found a lantern near the river and the lantern was warm.")
    assert any("~" in frame for frame in frames)
    assert any("·lantern·" in frame for frame in frames)


def test_escape_sequences_of_the_model_never_reach_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    # The screen refuses sequences that it does not know: these would be an error.
    screen, _ = play(monkeypatch, "red \x1b[5m\x1b]0;owned\x07fox \x1b[31m\n\x9b2Jend", canvas=8)
    assert screen.text().startswith("red ")


def test_a_pipe_or_a_dumb_terminal_is_never_animated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert not can_animate(io.StringIO())
    assert can_animate(Tty())
    monkeypatch.setenv("TERM", "dumb")
    assert not can_animate(Tty())


def test_pace_holds_every_step_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("dgchat.inline.watch.time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    monkeypatch.setenv("TERM", "xterm")
    engine = FakeEngine("Hi.", steps=4)
    writer = WatchWriter(engine, Sampling(), settings(pace=10.0), Tty())
    for event in FakeSession(engine).generate([1]):
        writer.take(event)
    writer.close()
    assert [round(wait, 6) for wait in waits if wait] == [0.4, 0.1, 0.1, 0.1, 0.1]  # noise first, then each step
