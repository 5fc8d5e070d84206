"""Frames go to the terminal whole, and what changes by itself waits for a terminal that is slow to take them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual.drivers.headless_driver import HeadlessDriver

from dgchat.app import chat_screen, terminal
from dgchat.app.seldom import Seldom
from dgchat.outlet import Outlet
from tests.tui.app.play import app_of, say, shown, step_to, until
from tests.tui.fakes import FakeEngine

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"


@contextmanager
def outlet() -> Iterator[tuple[Outlet, int]]:
    """A stream into a pipe, and the pipe's other end."""
    end, begin = os.pipe()
    with Outlet(os.fdopen(begin, "wb"), encoding="utf-8") as stream:
        yield stream, end
    os.close(end)


class Recording(HeadlessDriver):
    """A driver that keeps what is written."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.written: list[str] = []

    def write(self, data: str) -> None:
        self.written.append(data)


def test_a_stream_is_behind_until_everything_announced_has_gone_out() -> None:
    with outlet() as (stream, end):
        assert [stream.behind] == [False]
        stream.announce("one·")
        stream.announce("two")
        stream.write("one·")
        stream.flush()
        assert [stream.behind] == [True]
        stream.write("two")
        assert [stream.behind] == [True]
        stream.flush()
        assert [stream.behind] == [False]
        assert os.read(end, 100).decode() == "one·two"


async def test_a_frame_is_written_in_one_piece_and_all_else_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with outlet() as (stream, _):
        monkeypatch.setattr(sys, "__stderr__", stream)
        driver = terminal.whole_frames(Recording)(app_of(FakeEngine()))
        assert isinstance(driver, Recording)
        driver.write("bell")
        assert driver.written == ["bell"] and terminal.behind()
        for piece in (BEGIN, "frame", END, "after"):
            driver.write(piece)
        assert driver.written == ["bell", f"{BEGIN}frame{END}", "after"]
        stream.write("".join(driver.written))
        stream.flush()
        assert not terminal.behind()


def test_other_streams_are_never_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    assert not terminal.behind()


async def test_steps_wait_for_a_slow_terminal_and_keys_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [False]
    monkeypatch.setattr(chat_screen, "behind", lambda: slow[0])
    monkeypatch.setattr(chat_screen, "_MOST_BEHIND", 1000.0)
    engine = FakeEngine("Hello there.", stepwise=True)
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "Hello?")
        await step_to(pilot, engine, 1, 2, 2)
        slow[0] = True
        engine.permit()
        await pilot.press("k")
        await until(pilot, lambda: "› k" in shown(app) or app.chat.composer.text == "k")
        await pilot.pause(0.3)
        assert "step 3 of" not in shown(app)
        slow[0] = False
        await until(pilot, lambda: "step 3 of" in shown(app))
        engine.permit(1000)


async def test_a_terminal_that_takes_nothing_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_screen, "behind", lambda: True)
    monkeypatch.setattr(chat_screen, "_MOST_BEHIND", 0.05)
    app = app_of(FakeEngine("Hello there."))
    async with app.run_test() as pilot:
        await say(pilot, "Hello?")
        await until(pilot, lambda: "Hello there." in shown(app))


async def test_what_is_wanted_often_happens_seldom_and_the_last_wish_is_granted() -> None:
    app = app_of(FakeEngine())
    calls: list[int] = []
    wish = 0
    async with app.run_test() as pilot:
        seldom = Seldom(app, 0.2, lambda: calls.append(wish))
        for wish in range(5):  # noqa: B007 - the lambda looks at it
            seldom.wish()
        assert calls == [0]
        await until(pilot, lambda: calls == [0, 4])
        seldom.wish()
        seldom.settle()
        assert calls == [0, 4, 4]
        seldom.settle()
        assert calls == [0, 4, 4]
        await pilot.pause(0.3)
        assert calls == [0, 4, 4]
