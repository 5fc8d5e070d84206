"""What may go wrong while the app runs: it says so in a sentence, and goes on."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from textual.widgets import Button

from dgchat.app.messages import Fault
from dgengine import errors
from tests.tui.app.play import (
    LONG,
    answers,
    app_of,
    ask,
    folded,
    say,
    screen,
    status,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine

NOWHERE = errors.ModelNotFoundError("There is no directory /nowhere.")
NAN = errors.NumericsError("The model's output holds NaN.")


def failing_at_first(engine: FakeEngine, error: BaseException, **flags: Any) -> Any:
    """An app whose model can be loaded at the second attempt."""
    app = app_of(engine, **flags)
    left = [error]

    def load_engine(*_: object, **__: object) -> FakeEngine:
        if left:
            raise left.pop()
        return engine

    app.host._load = load_engine  # type: ignore[assignment]
    return app


async def test_a_model_that_does_not_load_is_told_and_can_be_tried_again() -> None:
    engine = FakeEngine("Fine.")
    app = failing_at_first(engine, NOWHERE)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app))
        assert "There is no directory /nowhere." in transcript(app)[0]
        await pilot.click(".retry")
        await until(pilot, lambda: status(app).startswith("ready"))
        assert transcript(app) == []
        await ask(pilot, "Hello")
        assert transcript(app) == ["Hello", "Fine."]


async def test_a_question_that_waited_for_the_model_is_answered_after_the_retry() -> None:
    engine = FakeEngine("Fine.")
    app = failing_at_first(engine, NOWHERE)
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: screen(app).query(Fault))
        await pilot.click(".retry")
        await until(pilot, lambda: "tokens a forward" in status(app))
        assert transcript(app) == ["Hello", "Fine."]
    assert len(engine.asked) == 1


async def test_a_question_after_a_model_that_did_not_load_tries_it_again() -> None:
    app = failing_at_first(FakeEngine("Fine."), NOWHERE)
    async with app.run_test() as pilot:
        await until(pilot, lambda: screen(app).query(Fault))
        await ask(pilot, "Hello")
        assert transcript(app)[-1] == "Fine."


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_while_it_loads_is_begun_anew_by_the_next_question() -> None:
    app = failing_at_first(FakeEngine("Fine."), SystemExit())
    async with app.run_test() as pilot:
        await until(pilot, lambda: screen(app).query(Fault))
        assert "next question starts it anew" in transcript(app)[0]
        await ask(pilot, "Hello")
        assert transcript(app)[-1] == "Fine."


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_in_an_answer_is_begun_anew_by_the_next_question() -> None:
    engine = FakeEngine("Fine.")
    engine.error = SystemExit()
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: screen(app).query(Fault))
        engine.error = None
        await ask(pilot, "Hello again")
        assert transcript(app)[-1] == "Fine."
    assert engine.sessions == 2


async def test_an_answer_that_fails_is_told_and_asked_again() -> None:
    engine = FakeEngine("Some answer.")
    engine.error = NAN
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: screen(app).query(Fault))
        assert NAN.args[0] in transcript(app)[-1]
        ((name, details),) = folded(app)
        assert name == "details" and "Traceback" in details and "NumericsError" in details
        engine.error = None
        await pilot.click(".retry")
        await until(pilot, lambda: "tokens a forward" in status(app))
        assert transcript(app)[-1].startswith("Some answer.") and not screen(app).query(Fault)
    assert engine.asked[1] == [{"role": "user", "content": "Hello"}]


async def test_what_stood_before_the_error_is_kept_and_asked_again_as_a_branch() -> None:
    engine = FakeEngine(LONG, "Short.", canvas=16, steps=4)
    engine.error, engine.failing = NAN, 2
    app = app_of(engine)
    async with app.run_test(size=(80, 40)) as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: screen(app).query(Fault))
        kept = answers(app)[0].text
        assert kept and LONG.startswith(kept)
        engine.error = None
        await pilot.click(".retry")
        await until(pilot, lambda: "tokens a forward" in status(app))
        assert transcript(app) == ["A story", "Short.\n‹\n2/2\n›"]


async def test_an_error_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine("Some answer.")
    engine.error = ZeroDivisionError("red \x1b[31mzero")
    app = app_of(engine)
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: screen(app).query(Fault))
        await pilot.click(screen(app).query_one(".copy", Button))
    assert "ZeroDivisionError: red zero" in copied[0] and "Traceback" in copied[0] and "\x1b" not in copied[0]


async def test_memory_that_has_run_out_is_told_and_given_back() -> None:
    engine = FakeEngine("Fine.")
    engine.error = MemoryError()
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        await until(pilot, lambda: screen(app).query(Fault))
        assert "not enough memory" in transcript(app)[-1]
        engine.error = None
        await ask(pilot, "Hello again")
    assert engine.sessions == 2


async def test_a_store_that_fails_in_the_middle_of_a_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(FakeEngine("First.", "Second."))
    said: list[str] = []
    monkeypatch.setattr(app, "trouble", said.append)
    screen_of = app.chat
    screen_of._conversation._troubled = said.append

    def full(*_: object, **__: object) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        for name in ("add_question", "add_answer", "choose", "rename", "set_system", "delete", "restore"):
            monkeypatch.setattr(app.store, name, full)
        await ask(pilot, "Two?")
        assert transcript(app) == ["One?", "First.", "Two?", "Second."]
        assert len(said) == 1 and "disk is full" in said[0]
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "tokens a forward" in status(app) and len(transcript(app)) == 4)
        await pilot.press("alt+left")
        assert transcript(app)[3].startswith("Second.")
        await say(pilot, "/rename Two")
    assert len(said) == 1


@pytest.mark.parametrize("command", ["/rename Two", "/system Be brief.", "/delete", "/undo", "/again"])
async def test_a_command_that_the_store_cannot_follow_is_told(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    app = app_of(FakeEngine("First.", "Second."))

    def full(*_: object, **__: object) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        if command == "/undo":
            await say(pilot, "/delete")
        for name in ("add_question", "add_answer", "choose", "rename", "set_system", "delete", "restore"):
            monkeypatch.setattr(app.store, name, full)
        await say(pilot, command)
        await until(pilot, lambda: "disk is full" in status(app) or "tokens a forward" in status(app))
        assert app.is_running
        await ask(pilot, "Two?")
        assert transcript(app)[-1] == "Second."
