"""Every /command does what the help says, from the composer and from the palette."""

from __future__ import annotations

from typing import Any

import pytest
from textual.command import CommandPalette
from textual.widgets import Input

from dgchat.app.chat_screen import ChatScreen, _command
from dgchat.app.commands import COMMANDS, choices
from dgchat.app.screens import HelpScreen, HistoryScreen, LineScreen, ThemeScreen
from tests.tui.app.play import (
    answers,
    app_of,
    ask,
    composer,
    kept_chat,
    ready,
    say,
    screen,
    status,
    title,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine


def test_every_command_has_an_action_and_its_choices_are_words() -> None:
    for name, command in COMMANDS.items():
        assert name.isalpha() and command.help and not command.help.endswith(".")
        assert command.action == "quit" or callable(getattr(ChatScreen, f"action_{command.action}"))
        assert all(choice.isprintable() and " " not in choice for choice in choices(name))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/help", ("help", "")),
        ("/rename  A title ", ("rename", "A title")),
        ("/", None),
        ("/etc/hosts", None),
        ("/5", None),
        ("/a\nb", None),
        ("hello /help", None),
    ],
)
def test_what_is_a_command(text: str, found: tuple[str, str] | None) -> None:
    assert _command(text) == found


async def test_words_of_a_command_have_no_meaning_of_their_own() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=(200, 24)) as pilot:
        await ask(pilot, "Hello")
        for words in ('it\'s ("so")', "[bold]x", "a, b", "'", "\\", "{}", "x'); self.exit() #"):
            await say(pilot, f"/rename {words}")
            assert app.store.conversations()[0].title == words and words in title(app)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/help", HelpScreen),
        ("/history", HistoryScreen),
        ("/search fox", HistoryScreen),
        ("/theme", ThemeScreen),
        ("/system", LineScreen),
    ],
)
async def test_commands_that_open_a_screen(command: str, kind: type) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, command)
        await until(pilot, lambda: isinstance(app.screen, kind))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen(app))
        assert composer(app).text == ""


async def test_the_palette_has_the_commands() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ask(pilot, "Hello")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        for key in "new":
            await pilot.press(key)
        await until(pilot, lambda: app.screen.query("CommandList") and app.screen.query_one("CommandList").display)
        names = [found.title for found in app.get_system_commands(screen(app))]
        assert "/new" in names and "/export" not in names
        await pilot.pause(0.2)
        await pilot.press("enter")
        await until(pilot, lambda: transcript(app) == [] and status(app) == "a new chat")


@pytest.mark.parametrize("name", ["new", "again", "copy", "watch", "delete", "help"])
async def test_a_command_of_the_palette_runs(name: str) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ask(pilot, "Hello")
        before = status(app)
        (run,) = [found.callback for found in app.get_system_commands(screen(app)) if found.title == f"/{name}"]
        run()
        await until(pilot, lambda: status(app) != before or isinstance(app.screen, HelpScreen))


# ---- the system prompt


async def test_a_system_prompt_holds_from_the_next_question_on() -> None:
    engine = FakeEngine("One.", "Two.", "Three.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ask(pilot, "Hello")
        await say(pilot, "/system Be brief.")
        assert status(app) == "the system prompt holds from the next question on"
        await ask(pilot, "And?")
        await say(pilot, "/system")
        await until(pilot, lambda: isinstance(app.screen, LineScreen))
        assert app.screen.query_one(Input).value == "Be brief."
        await pilot.press(*["backspace"] * 9, "enter")
        await until(pilot, lambda: status(app) == "no system prompt")
        await ask(pilot, "And now?")
    assert [messages[0]["role"] for messages in engine.asked] == ["user", "system", "user"]
    assert engine.asked[1][0]["content"] == "Be brief."


async def test_a_system_prompt_of_many_lines_survives_being_looked_at() -> None:
    engine = FakeEngine("One.")
    app = app_of(engine, system="Be brief.\nBe kind.")
    async with app.run_test() as pilot:
        await say(pilot, "/system")
        await until(pilot, lambda: isinstance(app.screen, LineScreen))
        await pilot.press("enter")
        await ask(pilot, "Hello")
    assert engine.asked[0][0]["content"] == "Be brief.\nBe kind."


async def test_the_system_prompt_comes_back_with_the_chat() -> None:
    engine = FakeEngine("One.")
    with kept_chat("Hello", "Hi.") as store:
        store.set_system(1, "Be a pirate.")
    app = app_of(engine, resume=1, system="Be brief.")
    async with app.run_test() as pilot:
        await until(pilot, lambda: answers(app))
        await ask(pilot, "And?")
        await say(pilot, "/new")
        await ask(pilot, "Well?")
    assert [messages[0]["content"] for messages in engine.asked] == ["Be a pirate.", "Be brief."]


# ---- thinking


async def test_a_model_that_cannot_think_says_so() -> None:
    engine = FakeEngine("One.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/thinking on")
        assert status(app) == "fake cannot think."
        await say(pilot, "/thinking perhaps")
        assert status(app) == "/thinking takes on or off"
        await ask(pilot, "Hello")
    assert engine.thought == [False]


async def test_a_model_that_can_think_does_so_until_it_is_told_not_to() -> None:
    engine = FakeEngine("<thought>Hm.</thought>One.", "Two.")
    engine.thinks = True
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/thinking")
        assert status(app) == "the model thinks first"
        await ask(pilot, "Hello")
        await say(pilot, "/thinking off")
        assert status(app) == "the model answers at once"
        await ask(pilot, "And?")
    assert engine.thought == [True, False]


async def test_thinking_that_is_wished_before_the_model_is_there_is_checked_when_it_is() -> None:
    engine = FakeEngine("One.")
    app = app_of(engine)
    app.host.start = lambda: None  # type: ignore[method-assign]
    async with app.run_test() as pilot:
        await say(pilot, "/think on")  # as it was called
        assert status(app) == "the model thinks first"
        type(app.host).start(app.host)
        await until(pilot, lambda: "cannot think" in status(app))
        await ask(pilot, "Hello")
    assert engine.thought == [False]


async def test_the_settings_turn_thinking_on() -> None:
    engine = FakeEngine("<thought>Hm.</thought>One.")
    engine.thinks = True
    app = app_of(engine, thinking=True)
    async with app.run_test() as pilot:
        await ready(pilot)
        await ask(pilot, "Hello")
    assert engine.thought == [True]


async def test_the_palette_has_thinking() -> None:
    app = app_of(FakeEngine("One."))
    async with app.run_test():
        found = {command.title for command in app.get_system_commands(app.screen)}
    assert "/thinking" in found and "/think" not in found


# ---- titles, deleting


async def test_rename_delete_and_undo() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        for command, said in (
            ("/rename x", "there is nothing to name yet"),
            ("/delete", "there is nothing to delete yet"),
            ("/undo", "there is nothing to undo"),
        ):
            await say(pilot, command)
            assert status(app) == said
        await ask(pilot, "Hello")
        await say(pilot, "/rename")
        await until(pilot, lambda: isinstance(app.screen, LineScreen))
        await pilot.press("end", "!", "enter")
        await until(pilot, lambda: "Hello!" in title(app))
        await say(pilot, "/delete")
        assert transcript(app) == [] and status(app) == "deleted; /undo brings it back"
        assert app.store.conversations() == []
        await say(pilot, "/undo")
        assert transcript(app) == ["Hello", "Fine."] and "Hello!" in title(app)
        await say(pilot, "/undo")
        assert status(app) == "there is nothing to undo"


async def test_quit() -> None:
    app: Any = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/quit")
    assert not app.is_running and not app.broken
