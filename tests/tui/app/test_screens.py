"""The screens over the chat: help, history, themes, welcome."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, OptionList, Static

from dgchat import themes
from dgchat.app.commands import COMMANDS
from dgchat.app.screens import HelpScreen, HistoryScreen, LineScreen, ThemeScreen, WelcomeScreen, marked
from dgchat.history.store import FOUND_BEGIN, FOUND_END, Store
from dgchat.keys import KEYS, shown
from dgchat.machine import probe
from dgchat.paths import history_file, user_themes
from tests.tui.app.play import (
    LONG,
    Player,
    answers,
    app_of,
    ask,
    composer,
    keep,
    ready,
    say,
    screen,
    status,
    transcript,
    until,
)
from tests.tui.app.play import shown as on_screen
from tests.tui.fakes import FakeEngine
from tests.tui.machine.machines import gpu, machine


def opened(app: Any, kind: type) -> bool:
    """Whether a screen of this kind is on top."""
    return isinstance(app.screen, kind)


# ---- help


async def test_the_help_has_every_key_and_command_and_the_guide() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await pilot.press("f1")
        assert opened(app, HelpScreen)
        text = "\n".join(str(widget.content) for widget in app.screen.query(Static))
        for key in KEYS.values():
            assert shown(key.keys) in text and key.help in text and key.group.upper() in text
        for name, command in COMMANDS.items():
            assert f"/{name}" in text and command.help in text and command.takes in text
        assert opened(app, HelpScreen) and "What dgchat is" in text
        place = app.screen.query_one("#help").scroll_y
        await pilot.press("pagedown")
        await until(pilot, lambda: app.screen.query_one("#help").scroll_y > place)
        await pilot.press("escape")
        assert app.screen is screen(app)
        await pilot.press("f1", "f1")
        assert app.screen is screen(app)


async def test_mail_is_read_behind_the_help() -> None:
    app = app_of(FakeEngine(LONG, canvas=16, steps=3, delay=0.002))
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: answers(app))
        await pilot.press("f1")
        await until(pilot, lambda: answers(app)[0].text == LONG)
        await pilot.press("escape")
        assert "tokens a forward" in status(app)


async def test_quitting_works_from_every_screen() -> None:
    for command in ("/help", "/history", "/theme", "/system"):
        app = app_of(FakeEngine("Fine."))
        async with app.run_test() as pilot:
            await say(pilot, command)
            await until(pilot, lambda app=app: app.screen is not screen(app))  # type: ignore[misc]
            await pilot.press("ctrl+q")
            await pilot.pause()
        assert not app.is_running and not app.broken


# ---- history


def rows(app: Any) -> list[str]:
    """The chats that are listed, without their times."""
    options = app.screen.query_one("#chats", OptionList)
    texts = [str(options.get_option_at_index(place).prompt) for place in range(options.option_count)]
    return [text[18:] for text in texts]


@pytest.fixture
def chats() -> None:
    with Store(history_file()) as store:
        keep(store, "A story, please.", "The fox found a lantern.")
        keep(store, "Where is the fox?", "In the den.")
        keep(store, "Add 1 and 2 \x1b[31m[bold]now[/bold]", "3.")


async def history_of(pilot: Player) -> Any:
    await ready(pilot)
    await pilot.press("ctrl+o")
    await until(pilot, lambda: opened(pilot.app, HistoryScreen))
    return pilot.app


async def test_the_newest_chat_comes_first_and_enter_opens_it(chats: None) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await history_of(pilot)
        assert rows(app) == ["Add 1 and 2 [bold]now[/bold]", "Where is the fox?", "A story, please."]
        assert "\x1b" not in on_screen(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: transcript(app) == ["Where is the fox?", "In the den."])
        assert status(app) == "2 messages; go on below" and composer(app).editor.has_focus
        await ask(pilot, "Still?")
        assert [chat.messages for chat in app.store.conversations()] == [4, 2, 2]


async def test_typing_searches(chats: None) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await history_of(pilot)
        await pilot.press(*"lant")
        await until(pilot, lambda: len(rows(app)) == 1)
        assert "A story, please." in rows(app)[0] and "The fox found a lantern." in rows(app)[0]
        await pilot.press(*"zzz")
        await until(pilot, lambda: rows(app) == [])
        await pilot.press("enter", "down", "ctrl+r", "ctrl+d", "ctrl+z")
        assert opened(app, HistoryScreen)
        app.screen.query_one(Input).value = "fox"
        await until(pilot, lambda: len(rows(app)) == 2)


async def test_search_from_the_composer(chats: None) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/search den")
        await until(pilot, lambda: opened(app, HistoryScreen) and len(rows(app)) == 1)
        await pilot.press("enter")
        await until(pilot, lambda: transcript(app) == ["Where is the fox?", "In the den."])


async def test_the_mouse_opens_a_chat(chats: None) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await history_of(pilot)
        await pilot.click("#chats", offset=(5, 2))
        await until(pilot, lambda: transcript(app) == ["A story, please.", "The fox found a lantern."])


async def test_a_chat_is_renamed_deleted_and_brought_back(chats: None) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await history_of(pilot)
        await pilot.press("down", "ctrl+r")
        await until(pilot, lambda: opened(app, LineScreen))
        assert app.screen.query_one(Input).value == "Where is the fox?"
        await pilot.press("end", "!", "enter")
        await until(pilot, lambda: opened(app, HistoryScreen) and "Where is the fox?!" in rows(app))
        await pilot.press("up", "up", "up", "down", "ctrl+d")
        await until(pilot, lambda: len(rows(app)) == 2)
        assert "Where is the fox?!" not in rows(app)
        await pilot.press("ctrl+d")
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("ctrl+z", "ctrl+z", "ctrl+z")
        await until(pilot, lambda: len(rows(app)) == 3)
        await pilot.press("escape")
        assert app.screen is screen(app)


async def test_the_open_chat_can_be_deleted_in_the_list_and_undone_from_the_chat(chats: None) -> None:
    app = app_of(FakeEngine("Fine."), resume=2)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app))
        await history_of(pilot)
        await pilot.press("down", "ctrl+d")
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("escape")
        await until(pilot, lambda: transcript(app) == [])
        await say(pilot, "/undo")
        await until(pilot, lambda: transcript(app) == ["Where is the fox?", "In the den."])


async def test_a_title_from_elsewhere_is_inert_where_it_is_renamed(chats: None) -> None:
    with Store(history_file()) as store:
        store.rename(3, "red \x1b[31mfox\x07")
    app = app_of(FakeEngine("Fine."), resume=3)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app))
        assert "red fox" in on_screen(app) and "\x1b" not in on_screen(app)
        await say(pilot, "/rename")
        await until(pilot, lambda: opened(app, LineScreen))
        assert app.screen.query_one(Input).value == "red fox"
        await pilot.press("escape")


async def test_another_chat_opened_in_the_middle_of_an_answer(chats: None) -> None:
    engine = FakeEngine(LONG, "Fine.", canvas=16, steps=5, delay=0.03)
    engine.stuck = 2
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A long one")
        await until(pilot, lambda: "block 2, step" in status(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: opened(app, HistoryScreen))
        assert rows(app)[0] == "A long one"
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: transcript(app) == ["Where is the fox?", "In the den."])
        engine.stuck = 0
        await ask(pilot, "And?")
        assert transcript(app)[2:] == ["And?", "Fine."]
        kept = app.store.path(next(chat.leaf for chat in app.store.conversations() if chat.title == "A long one"))
        assert LONG.startswith(kept[-1].text) and kept[-1].reason == "cancelled"
    assert [message["content"] for message in engine.asked[1]] == ["Where is the fox?", "In the den.", "And?"]


async def test_a_chat_that_is_gone_when_it_is_chosen(chats: None) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await history_of(pilot)
        with Store(history_file()) as other:
            for chat in (1, 2, 3):
                other.delete(chat)
            other.purge(0)
        await pilot.press("ctrl+r", "ctrl+d", "enter")
        await until(pilot, lambda: status(app) == "that chat is gone" or rows(app) == [])
        assert app.is_running


def test_words_found_are_bold() -> None:
    text = marked(f"a {FOUND_BEGIN}fox\x1b[31m{FOUND_END} and\n{FOUND_BEGIN}owl{FOUND_END}")
    assert text.plain == "a fox and owl"
    assert [text.plain[span.start : span.end] for span in text.spans if span.style == "bold"] == ["fox", "owl"]


# ---- themes


async def test_a_theme_is_previewed_and_kept_or_not() -> None:
    app = app_of(FakeEngine("Fine."), theme=None)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: opened(app, ThemeScreen))
        options = app.screen.query_one(OptionList)
        assert themes.names()[options.highlighted or 0] == "night"
        await pilot.press("down")
        await until(pilot, lambda: app.palette.name == "paper")
        await pilot.press("escape")
        await until(pilot, lambda: app.palette.name == "night" and app.screen is screen(app))
        assert app.remembered.theme != "paper"
        await pilot.press("ctrl+t")
        await until(pilot, lambda: opened(app, ThemeScreen))
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.palette.name == "paper" and app.screen is screen(app))
        assert app.remembered.theme == "paper"
    assert app_of(FakeEngine("Fine."), theme=None).settings.theme == "paper"
    assert app_of(FakeEngine("Fine."), theme="day").settings.theme == "day"


async def test_a_theme_by_its_name() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/theme day")
        assert app.palette.name == "day" and status(app) == "theme day" and not app.current_theme.dark
        await say(pilot, "/theme nosuch")
        assert app.palette.name == "day" and toasts(app) == ["There is no theme 'nosuch'; there are auto, clear, "]


def toasts(app: Any) -> list[str]:
    """The beginnings of what has been told."""
    return [notice.message[:51] for notice in app._notifications]


NIGHT = themes.file_of("night").read_text("utf-8")


def write_theme(name: str, foreground: str = "#ffffff", broken: bool = False) -> Path:
    path = user_themes() / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = NIGHT.replace("#e6e3dc", foreground)
    path.write_text("dark = tr" if broken else text)
    return path


def touch(path: Path, seconds: float) -> None:
    """Another time of change, whatever the clock of the disk can tell apart."""
    os.utime(path, (seconds, seconds))


async def test_a_broken_theme_is_told_once_and_taken_up_when_it_is_mended() -> None:
    touch(write_theme("mine", broken=True), 1000)
    app = app_of(FakeEngine("Fine."), theme="mine")
    async with app.run_test() as pilot:
        await ready(pilot)
        assert app.palette.name == "night"
        for _ in range(3):
            app.reload_theme()
        assert toasts(app) == ["The theme mine is not valid TOML: Invalid value (at"]
        touch(write_theme("mine", "#abcdef"), 2000)
        app.reload_theme()
        assert (app.palette.name, app.palette.colors["foreground"]) == ("mine", "#abcdef")
        await pilot.pause()
        assert len(toasts(app)) == 1


@pytest.mark.parametrize("theme", ["mine", "auto"])
async def test_a_theme_whose_file_changes_is_taken_up(theme: str) -> None:
    name = "mine" if theme == "mine" else "night"
    touch(write_theme(name, "#aaaaaa"), 1000)
    app = app_of(FakeEngine("Fine."), theme=theme)
    async with app.run_test() as pilot:
        await ready(pilot)
        before = app.theme
        app.reload_theme()
        assert app.theme == before and app.palette.colors["foreground"] == "#aaaaaa"
        touch(write_theme(name, "#bbbbbb"), 2000)
        app.reload_theme()
        await pilot.pause()
        assert app.palette.colors["foreground"] == "#bbbbbb" == app.current_theme.foreground
        touch(write_theme(name, broken=True), 3000)
        app.reload_theme()
        app.reload_theme()
        await pilot.pause()
        assert app.palette.colors["foreground"] == "#bbbbbb" and len(toasts(app)) == 1
    assert not [name for name in app.available_themes if name.startswith("mine-") and name != app.theme]


async def test_a_broken_theme_in_the_picker_is_not_kept() -> None:
    write_theme("aaa", broken=True)
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: opened(app, ThemeScreen))
        await pilot.press("home", "enter")
        await pilot.pause()
        assert opened(app, ThemeScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen(app))
        assert app.palette.name == "night" and app.remembered.theme is None


# ---- the first screen


def welcomes(app: Any) -> bool:
    return isinstance(app.screen, WelcomeScreen)


async def test_the_welcome_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(replace(gpu(80), name="Fast GPU [b]"), memory=32)
    monkeypatch.setattr(probe, "find", lambda: found)
    for first in (True, False):
        app = app_of(FakeEngine("Fine."), model=None)
        async with app.run_test(size=(100, 30)) as pilot:
            if first:
                await until(pilot, lambda app=app: welcomes(app) and "80.0 GiB" in on_screen(app))  # type: ignore[misc]
                text = on_screen(app)
                assert "Linux, x86_64, 8 cores, 32 GiB of memory" in text and "Fast GPU [b], 80.0 GiB" in text
                assert "The full model fits this GPU" in text and "/models" in text
                await pilot.press("enter")
            await ready(pilot)
            assert not welcomes(app) and composer(app).editor.has_focus


async def test_the_welcome_is_not_shown_to_those_who_have_chosen_a_model() -> None:
    app = app_of(FakeEngine("Fine."), model="fake")
    async with app.run_test() as pilot:
        await ready(pilot)
        assert not welcomes(app) and app.remembered.welcomed is None


async def test_the_welcome_may_be_closed_before_the_machine_has_been_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    look = threading.Event()

    def find() -> probe.Machine:
        look.wait(20)
        return machine()

    monkeypatch.setattr(probe, "find", find)
    app = app_of(FakeEngine("Fine."), model=None)
    async with app.run_test() as pilot:
        await until(pilot, lambda: welcomes(app))
        await pilot.press("escape")
        await until(pilot, lambda: not welcomes(app))
        look.set()
        await ask(pilot, "Hello")


async def test_what_had_to_be_reduced_is_told() -> None:
    engine = FakeEngine("Fine.")
    engine.info = replace(engine.info, notes=("The context has room for 8,192 tokens.",))
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        assert any("room for 8,192 tokens" in text for text in transcript(app))


@pytest.mark.parametrize("quiet", [False, True])
async def test_the_default_model_is_named_with_the_way_to_the_full_one(quiet: bool) -> None:
    app = app_of(FakeEngine("Fine."), model=None, quiet=quiet)
    app.remembered = type(app.remembered)(welcomed=True)
    async with app.run_test() as pilot:
        await ready(pilot)
        assert any("/models" in text for text in transcript(app)) is not quiet
