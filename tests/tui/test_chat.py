"""The chat on its screen, played through by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from dgchat.app.chat import ChatApp
from dgchat.app.widgets import Composer, GuideScreen, Reply
from dgchat.settings import load
from dgengine import errors
from tests.tui.fakes import FakeEngine

LONG = "Once there was a quiet fox. " * 40


def app_of(engine: FakeEngine | Exception, **flags: Any) -> ChatApp:
    def load_engine(*_: object, **__: object) -> FakeEngine:
        if isinstance(engine, Exception):
            raise engine
        return engine

    return ChatApp(load({"pace": 0.0, "model": "fake", **flags}, {}), load_engine)  # type: ignore[arg-type]


async def until(pilot: Pilot[None], test: Callable[[], object]) -> None:
    """Lets the app go on until `test` holds."""
    for _ in range(1000):
        if test():
            return
        await pilot.pause(0.01)
    pytest.fail(f"never: {status(pilot.app)!r}, {transcript(pilot.app)}")


async def say(pilot: Pilot[None], text: str) -> None:
    pilot.app.query_one(Composer).insert(text)
    await pilot.press("enter")


def status(app: Any) -> str:
    return str(app.query_one("#status", Static).content)


def transcript(app: Any) -> list[str]:
    """The texts of the conversation as they are drawn."""
    return [
        "\n".join(line.text.rstrip() for line in widget.render_lines(widget.outer_size.region)).strip()
        for widget in app.query_one("#transcript").children
    ]


def replies(app: Any) -> list[Reply]:
    return list(app.query(Reply))


async def test_it_answers_and_remembers() -> None:
    engine = FakeEngine("Good day to you.", "It was about a fox.")
    app = app_of(engine, system="Be brief.")
    async with app.run_test(size=(80, 24)) as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: "tokens per forward" in status(app))
        await say(pilot, "What was it about?")
        await until(pilot, lambda: len(replies(app)) == 2 and "tokens per forward" in status(app))
        await pilot.pause()
        assert transcript(app) == ["Hello", "Good day to you.", "What was it about?", "It was about a fox."]
    assert [message["role"] for message in engine.asked[1]] == ["system", "user", "assistant", "user"]
    past = engine.asked[1][2]
    assert past["content"] == "Good day to you."
    assert engine.decode(past["ids"]) == past["content"]
    assert engine.sessions == 1


async def test_the_canvas_resolves_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(LONG, canvas=64, steps=8, delay=0.02)
    app = app_of(engine)
    frames: list[str] = []
    update = Reply.update

    def watched(reply: Reply, content: Any = "", *, layout: bool = True) -> None:
        frames.append(str(content))
        update(reply, content, layout=layout)

    monkeypatch.setattr(Reply, "update", watched)
    async with app.run_test(size=(60, 24)) as pilot:
        await say(pilot, "A story")

        await until(pilot, lambda: "tokens per forward" in status(app))
        await pilot.pause()
        final = transcript(app)[1]
    assert any("░" in frame for frame in frames)
    assert final.split() == LONG.split() and "░" not in final


async def test_escape_stops_and_what_has_settled_stays() -> None:
    engine = FakeEngine(LONG, "Short.", canvas=16, steps=5, delay=0.01)
    engine.stuck = 2
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: replies(app) and replies(app)[0].ids)
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")
        kept = replies(app)[0].text
        assert kept and LONG.startswith(kept) and kept != LONG
        engine.stuck = 0
        await say(pilot, "Again")
        await until(pilot, lambda: "tokens per forward" in status(app))
    assert [message["role"] for message in engine.asked[1]] == ["user", "assistant", "user"]


async def test_a_question_without_an_answer_leaves_the_conversation() -> None:
    engine = FakeEngine(LONG, "Short.", delay=0.01)
    engine.stuck = 1
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: replies(app))
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")
        engine.stuck = 0
        await say(pilot, "Again")
        await until(pilot, lambda: "tokens per forward" in status(app))
    assert engine.asked[1] == [{"role": "user", "content": "Again"}]


async def test_clear_begins_anew_even_in_the_middle_of_an_answer() -> None:
    engine = FakeEngine(LONG, "Short.", canvas=16, steps=5, delay=0.01)
    engine.stuck = 2
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: replies(app))
        await pilot.press("ctrl+l")
        assert transcript(app) == []
        await say(pilot, "Again")
        await until(pilot, lambda: "tokens per forward" in status(app))
        await pilot.pause()
        assert transcript(app) == ["Again", "Short."]
    assert engine.asked[-1] == [{"role": "user", "content": "Again"}]
    assert engine.sessions == 2


async def test_one_answer_at_a_time() -> None:
    engine = FakeEngine(LONG, delay=0.01)
    engine.stuck = 1
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: replies(app))
        await say(pilot, "Impatient")
        assert app.query_one(Composer).text == "Impatient"
        assert transcript(app)[0] == "A story" and len(transcript(app)) == 2
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")


async def test_enter_on_nothing_does_nothing_and_ctrl_j_breaks_the_line() -> None:
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await pilot.press("enter", "space", "enter")
        assert engine.asked == []
        await pilot.press("a", "ctrl+j", "b", "enter")
        await until(pilot, lambda: engine.asked)
    assert engine.asked[0][-1]["content"] == "a\nb"


def shows_guide(app: ChatApp) -> bool:
    return isinstance(app.screen, GuideScreen)


async def test_the_guide_opens_and_closes() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await pilot.press("f1")
        assert shows_guide(app)
        assert any("What dgchat is" in str(widget.content) for widget in app.screen.query(Static))
        await pilot.press("escape")
        assert not shows_guide(app)
        await pilot.press("f1", "f1")
        assert not shows_guide(app)


async def test_mail_is_read_behind_the_guide() -> None:
    app = app_of(FakeEngine(LONG, canvas=16, steps=3, delay=0.005))
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: replies(app))
        await pilot.press("f1")
        await until(pilot, lambda: replies_behind(app)[0].text == LONG)
        await pilot.press("escape")
        await until(pilot, lambda: "tokens per forward" in status(app))


def replies_behind(app: ChatApp) -> list[Reply]:
    return list(app.screen_stack[0].query(Reply))


async def test_a_model_that_does_not_load_is_told() -> None:
    app = app_of(errors.ModelNotFoundError("There is no directory /nowhere."))
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app) == ["There is no directory /nowhere."])


@pytest.mark.parametrize("quiet", [False, True])
async def test_the_default_model_is_named_with_the_way_to_the_full_one(quiet: bool) -> None:
    app = app_of(FakeEngine("Fine."), model=None, quiet=quiet)
    async with app.run_test() as pilot:
        await until(pilot, lambda: status(app).startswith("ready"))
        await pilot.pause()
        assert any("google/diffusiongemma" in text for text in transcript(app)) is not quiet


async def test_an_answer_that_fails_is_told() -> None:
    engine = FakeEngine("Some answer.")
    engine.error = errors.NumericsError("The model's output holds NaN.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: transcript(app)[2:] == ["The model's output holds NaN."])
        engine.error = None
        await say(pilot, "Hello again")
        await until(pilot, lambda: "tokens per forward" in status(app))
    assert engine.asked[1] == [{"role": "user", "content": "Hello again"}]


async def test_escape_sequences_of_the_model_do_not_reach_the_screen() -> None:
    app = app_of(FakeEngine("red \x1b[31mfox\x1b]0;owned\x07 [bold]end[/bold]"))
    async with app.run_test() as pilot:
        await say(pilot, "Hello [red]you[/red]")
        await until(pilot, lambda: "tokens per forward" in status(app))
        await pilot.pause()
        assert transcript(app) == ["Hello [red]you[/red]", "red fox [bold]end[/bold]"]


async def test_it_paints_before_the_engine_is_opened() -> None:
    painted: list[bool] = []
    app = app_of(FakeEngine("Fine."))

    def start() -> None:
        painted.append(bool(app.screen.size) and app.query_one(Composer).size.width > 0)

    app._host.start = start  # type: ignore[method-assign]
    async with app.run_test() as pilot:
        await until(pilot, lambda: painted)
    assert painted == [True]


async def test_ctrl_q_quits_in_the_middle_of_an_answer() -> None:
    engine = FakeEngine(LONG, delay=0.01)
    engine.stuck = 1
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: replies(app))
        await pilot.press("ctrl+q")
        await asyncio.sleep(0)
    assert not app.is_running and not app.broken
