"""Writing: completions, recalled messages, what is pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.widgets import OptionList

from dgchat.app.commands import COMMANDS
from tests.tui.app.play import (
    Player,
    app_of,
    ask,
    composer,
    ready,
    say,
    screen,
    shown,
    status,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the app is started."""
    folder = tmp_path / "work"
    (folder / "deep").mkdir(parents=True)
    (folder / "notes.txt").write_text("A note.\n")
    (folder / "novel.md").write_text("Chapter one.\n")
    (folder / "deep" / "inner.txt").write_text("Inner.\n")
    monkeypatch.chdir(folder)
    return folder


def offered(app: Any) -> list[str]:
    options = screen(app).query_one("#completions", OptionList)
    texts = [str(options.get_option_at_index(place).prompt).split()[0] for place in range(options.option_count)]
    assert options.display is bool(texts)
    return texts


async def write(pilot: Player, text: str) -> None:
    """Types at the cursor."""
    composer(pilot.app).insert(text)
    await pilot.pause()
    await pilot.pause()


async def test_commands_are_completed_by_tab_arrows_and_enter() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("slash")
        await pilot.pause()
        assert offered(app) == [f"/{name}" for name in COMMANDS]
        await pilot.press("c", "o")
        await pilot.pause()
        assert offered(app) == ["/copy", "/code", "/colors"]
        await pilot.press("down", "down", "down", "up", "tab")
        await pilot.pause()
        assert composer(app).text == "/colors " and offered(app) == ["state", "entropy", "age", "change"]
        await pilot.press("a", "enter")
        await pilot.pause()
        assert composer(app).text == "/colors age " and offered(app) == []
        await pilot.press("enter")
        await until(pilot, lambda: status(app) == "the colours tell: age")
        assert composer(app).text == ""


async def test_escape_closes_the_completions_and_enter_then_sends() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await write(pilot, "/he")
        assert offered(app) == ["/help"]
        await pilot.press("escape", "enter")
        await pilot.pause()
        assert offered(app) == [] and status(app) == "there is no command /he; /help lists them"
        assert composer(app).text == "/he"
        await pilot.press("l")
        await pilot.pause()
        assert offered(app) == ["/help"]


async def test_paths_are_completed_folder_by_folder(folder: Path) -> None:
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await write(pilot, "What is\nin @")
        assert offered(app) == ["notes.txt", "novel.md", "deep/"]
        await write(pilot, "de")
        await pilot.press("tab")
        await pilot.pause()
        assert composer(app).text == "What is\nin @deep/" and offered(app) == ["deep/inner.txt"]
        await pilot.press("enter")
        await pilot.pause()
        assert composer(app).text == "What is\nin @deep/inner.txt "
        await pilot.press("enter")
        await until(pilot, lambda: engine.asked)
    assert engine.asked[0][0]["content"] == "inner.txt:\n```\nInner.\n```\n\nWhat is\nin @deep/inner.txt"


async def test_the_mouse_takes_a_completion() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await write(pilot, "See @no")
        await pilot.click("#completions", offset=(3, 1))
        await until(pilot, lambda: composer(app).text == "See @novel.md ")
        assert composer(app).editor.has_focus


async def test_completion_in_the_middle_of_a_text_leaves_the_rest() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await write(pilot, "Compare @nov and that")
        for _ in " and that":
            await pilot.press("left")
        await pilot.pause()
        assert offered(app) == ["novel.md"]
        await pilot.press("tab")
        assert composer(app).text == "Compare @novel.md  and that"


async def test_up_recalls_what_was_said_and_down_comes_back() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await pilot.press("up")
        assert composer(app).text == ""
        await ask(pilot, "One?")
        await ask(pilot, "Two\nlines?")
        await pilot.press("up")
        assert composer(app).text == "Two\nlines?"
        await pilot.press("up")  # within its lines
        assert composer(app).text == "Two\nlines?"
        await pilot.press("up")
        assert composer(app).text == "One?"
        await pilot.press("up")
        assert composer(app).text == "One?"
        await pilot.press("down", "down", "down")
        assert composer(app).text == ""


async def test_up_and_down_go_through_the_lines_of_what_is_written() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await write(pilot, "one\ntwo\nthree")
        await pilot.press("up", "up", "x", "down", "y")
        assert composer(app).text == "onex\ntwoy\nthree"


async def test_a_recalled_message_that_was_changed_is_new() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await ask(pilot, "Two?")
        await pilot.press("up", "x", "up")
        assert composer(app).text == "Two?x"


async def test_something_that_is_being_written_is_not_lost_by_up() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await pilot.press("d", "r", "a", "f", "t", "up", "down")
        assert composer(app).text == "draft"


async def test_many_lines_may_be_pasted() -> None:
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    text = "\n".join(f"line {number}" for number in range(40))
    async with app.run_test() as pilot:
        await ready(pilot)
        app.post_message(events.Paste(text))
        await pilot.pause()
        assert composer(app).text == text and engine.asked == []
        assert composer(app).size.height <= 12
        await pilot.press("enter")
        await until(pilot, lambda: engine.asked)
    assert engine.asked[0][0]["content"] == text


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
async def test_pasted_lines_stay_lines_whatever_ends_them(end: str) -> None:
    """Most terminals paste CR, as Enter sends it."""
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        app.post_message(events.Paste(f"one{end}{end}two{end}three"))
        await pilot.pause()
        assert composer(app).text == "one\n\ntwo\nthree"


async def test_escape_sequences_that_are_pasted_are_inert() -> None:
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        app.post_message(events.Paste("red \x1b[31mfox\x1b]0;owned\x07\x9b2J [b]end"))
        await pilot.pause()
        assert composer(app).text == "red fox [b]end"
        assert "\x1b" not in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: engine.asked)
        assert transcript(app)[0] == "red fox [b]end"
    assert engine.asked[0][0]["content"] == "red fox [b]end"


async def test_an_unknown_command_is_told_and_a_path_is_no_command() -> None:
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/burn it")
        assert status(app) == "there is no command /burn; /help lists them" and composer(app).text == "/burn it"
        composer(app).clear()
        await ask(pilot, "/etc/hosts is what?")
    assert engine.asked[0][0]["content"] == "/etc/hosts is what?"


async def test_keys_typed_in_one_go_are_taken_in_their_order() -> None:
    """Enter must not overtake the text before it."""
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        for key in [*"hello", "enter", *"rest"]:
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: engine.asked and composer(app).text == "rest")
    assert engine.asked[0][0]["content"] == "hello"
