"""The app around its screens: start and end, keys, marks, motion, what a resumed chat is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dgchat.app.chat import ChatApp
from dgchat.app.stage import Stage
from dgchat.app.themed import draws_marks
from dgchat.exits import Failure
from dgchat.paths import remembered_file
from dgchat.settings import load
from tests.tui.app.play import (
    NARROW,
    answered,
    answers,
    app_of,
    ask,
    composer,
    kept_chat,
    ready,
    say,
    screen,
    shown,
    status,
    step_to,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine


async def test_it_paints_before_the_engine_is_opened() -> None:
    painted: list[bool] = []
    app = app_of(FakeEngine("Fine."))

    def start() -> None:
        painted.append(bool(app.screen.size) and composer(app).size.width > 0)

    app.host.start = start  # type: ignore[method-assign]
    async with app.run_test() as pilot:
        await until(pilot, lambda: painted)
        assert status(app) == "starting"
    assert painted == [True]


async def test_a_chat_is_resumed_and_goes_on() -> None:
    with kept_chat("One?", "First."):
        pass
    engine = FakeEngine("Second.")
    app = app_of(engine, resume=1)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app) == ["One?", "First."])
        await ask(pilot, "Two?")
        assert transcript(app) == ["One?", "First.", "Two?", "Second."]
    assert engine.asked[0][1] == {"role": "assistant", "content": "First.", "ids": [1]}
    assert [chat.messages for chat in app_of(engine).store.conversations()] == [4]


def test_there_is_no_such_chat_to_resume() -> None:
    with pytest.raises(Failure, match=r"There is no chat 7; dgchat history lists them\."):
        app_of(FakeEngine("Fine."), resume=7)


async def test_without_history_nothing_is_kept() -> None:
    app = app_of(FakeEngine("Fine."), history=False)
    async with app.run_test() as pilot:
        await ask(pilot, "A secret")
        assert len(app.store.conversations()) == 1
    assert app_of(FakeEngine("Fine.")).store.conversations() == []


async def test_a_history_that_cannot_be_used_and_settings_that_mean_nothing_are_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    settings = tmp_path / "settings.toml"
    settings.write_text("[modle]\nname = 'x'\n[keys]\nstop = 'f1'\n")
    app = ChatApp(load({"model": "fake"}, {}, settings), lambda *_, **__: FakeEngine("Fine."))  # type: ignore[arg-type]
    async with app.run_test() as pilot:
        await ask(pilot, "Hello")
        said = [notice.message for notice in app._notifications]
    assert "chats are not kept this time" in said[0]
    assert "did you mean model.name?" in said[1] and "The key f1 is set for stop and help" in said[2]


async def test_what_cannot_be_remembered_holds_for_this_time() -> None:
    remembered_file().parent.parent.mkdir(parents=True)
    remembered_file().parent.write_text("no folder")
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot)
        await pilot.press("f2")
        assert app.remembered.watch is True and app.is_running


# ---- keys


async def test_own_keys_take_the_place_of_the_default_ones(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[keys]\nsend = "ctrl+s"\nnewline = "enter"\nwatch = "f9, f10"\nquit = "ctrl+x"\n'
        'older = "ctrl+up"\nhelp = "f12"\n'
    )
    engine = FakeEngine("Fine.")
    app = ChatApp(load({"model": "fake", "pace": 0.0}, {}, settings), lambda *_, **__: engine)  # type: ignore[arg-type]
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("a", "enter", "b")
        assert composer(app).text == "a\nb"
        await pilot.press("ctrl+s")
        await answered(pilot)
        assert engine.asked[0][0]["content"] == "a\nb"
        before = status(app)
        await pilot.press("f2")
        assert status(app) == before
        await pilot.press("f10")
        assert "before your eyes" in status(app)
        await pilot.press("f9")
        assert "block by block" in status(app)
        await pilot.press("up")
        assert composer(app).text == ""
        await pilot.press("ctrl+up")
        assert composer(app).text == "a\nb"
        await pilot.press("up", "x")
        assert composer(app).text == "ax\nb"
        assert "^s Send" in shown(app) and "f12 Help" in shown(app)
        await pilot.press("f12")
        assert "F9, F10" in shown_help(app) and "Ctrl+X" in shown_help(app)
        await pilot.press("f12")
        await until(pilot, lambda: app.screen is screen(app))
        await pilot.press("ctrl+q")
        assert app.is_running
        await pilot.press("ctrl+x")
        await pilot.pause()
    assert not app.is_running


def shown_help(app: Any) -> str:
    return str(app.screen.query_one("#help-keys").content)


async def test_every_key_of_the_footer_works() -> None:
    """Each one is bound to an action that is there."""
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=(160, 30)) as pilot:
        await ask(pilot, "Hello")
        keys = app.query("FooterKey")
        assert len(keys) >= 8
        for node, binding, enabled, _ in app.screen.active_bindings.values():
            if binding.show:
                assert enabled
                assert hasattr(node, f"action_{binding.action}") or hasattr(node, f"_action_{binding.action}")


# ---- screens without colour, and without motion


@pytest.mark.parametrize("value", ["1", "anything"])
def test_no_color_asks_for_marks(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert not draws_marks()
    monkeypatch.setenv("NO_COLOR", value)
    assert draws_marks()


async def test_without_colour_the_looks_are_told_apart_by_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    engine = FakeEngine("One two three four five six seven eight", canvas=16, steps=8, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 30)) as pilot:
        await say(pilot, "Count")
        seen = ""
        for step in range(1, 7):
            await step_to(pilot, engine, 1, step)
            seen += transcript(app)[1]
        assert "░" in seen and "·" in seen and "~" in seen and "▒" not in seen
        (view,) = screen(app).query(Stage)
        colors = {segment.style.color for segment in view.render_line(0) if segment.style is not None}
        assert len(colors) == 1
        assert "·text·" in shown(app) and "~text~" in shown(app)
        engine.permit(20)
        await answered(pilot)
        assert transcript(app)[1] == "One two three four five six seven eight"


@pytest.mark.parametrize("motion", [True, False])
async def test_with_reduced_motion_noise_stands_still(motion: bool) -> None:
    engine = FakeEngine("word " * 30, canvas=32, steps=8)
    engine.stuck = 1
    engine.filler = engine.filler[:1]  # the noise looks different, the tokens do not
    engine.permits = threading.Semaphore(0)
    app = app_of(engine, watch=True, motion=motion)
    async with app.run_test(size=NARROW) as pilot:
        await say(pilot, "Words")
        frames = []
        for step in range(3, 6):
            await step_to(pilot, engine, 1, step, 3 if step == 3 else 1)
            frames.append(transcript(app)[1])
        assert (len(set(frames)) == 1) is not motion
        assert (app.animation_level == "none") is not motion
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")


async def test_the_last_window_of_a_chat_and_the_next_start_agree() -> None:
    app = app_of(FakeEngine("First.", "Second."))
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(answers(app)) == 1 and "Second." in transcript(app)[1] and not busy(app))
        await pilot.press("alt+left")
        before = transcript(app)
    app = app_of(FakeEngine("Third."), resume=1)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app) == before)


def busy(app: Any) -> bool:
    return "tokens a forward" not in status(app)
