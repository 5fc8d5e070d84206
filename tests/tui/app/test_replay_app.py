"""A trace on a screen of its own, without a model."""

from __future__ import annotations

from typing import Any

from dgchat.app.player import Player
from dgchat.app.replay import ReplayApp
from dgchat.app.scrub_bar import ScrubBar
from dgchat.settings import load
from dgchat.trace.codec import pack, unpack
from dgchat.trace.steps import About, StepTrace
from tests.tui.fakes import FakeEngine


def traced() -> StepTrace:
    engine = FakeEngine("One two three four five six", canvas=8, steps=6)
    trace = StepTrace()
    for event in engine.session().generate([1]):
        trace.take(event)
    trace.about = About("a model", "Count \x1b[31mto six", 7, engine.eos_ids)
    trace.learn(engine.spell)
    return unpack(pack(trace))


def bar(app: Any) -> str:
    return str(app.query_one(ScrubBar).content)


async def test_it_plays_once_and_is_gone_through() -> None:
    app = ReplayApp(traced(), load({"pace": 0.0}, {}))
    async with app.run_test(size=(100, 30)) as pilot:
        await until_(pilot, lambda: "⏸" in bar(app))
        await pilot.press("space", "home", "right")
        assert "step 2/6" in bar(app)
        await pilot.press("f3")
        assert "entropy" in bar(app)
        words = " ".join(str(widget.render()) for widget in app.query("Static"))
        assert "Count to six" in words and "\x1b" not in words and "a model" in words
        await pilot.press("escape")
    assert not app.is_running and not app.broken and app.return_code == 0


async def test_nothing_can_be_held_without_a_model() -> None:
    app = ReplayApp(traced(), load({"pace": 0.0}, {}))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("end", "i", "p", "x", "enter")
        assert not app.query_one(Player).pins


async def until_(pilot: Any, test: Any) -> None:
    for _ in range(2000):
        if test():
            return
        await pilot.pause(0.01)
    raise AssertionError("never")
