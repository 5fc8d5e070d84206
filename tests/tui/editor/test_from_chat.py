"""An answer of the chat in the editor: the same model, a file only where one is asked for, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgchat.editor.dialogs import Choice
from dgchat.editor.screen import EditorScreen
from tests.tui.app.play import Player, app_of, ask, ready, say, until
from tests.tui.app.play import screen as chat_of
from tests.tui.app.play import status as chat_status
from tests.tui.editor.editing import area, proposed, screen, select, status, title
from tests.tui.fakes import FakeEngine

ANSWER = "Here it is:\n\n```python\nprint('fox')\n```\n\nand\n\n```\nplain\n```\n"


async def opened(pilot: Player) -> None:
    await until_in(pilot, lambda: isinstance(pilot.app.screen, EditorScreen) and pilot.app.screen.query("#text"))


async def until_in(pilot: Player, test: object) -> None:
    """Lets the app go on; the chat below has nothing to say meanwhile."""
    await until(pilot, test)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_the_last_answer_is_rewritten_with_the_model_of_the_chat(tmp_path: Path) -> None:
    engine = FakeEngine("The fox found a lantern.", steps=3)
    app = app_of(engine)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await ask(pilot, "A story, please.")
        await pilot.press("f9")
        await opened(pilot)
        assert area(app).text == "The fox found a lantern." and title(app).startswith("answer.md ")
        select(app, (0, 14), (0, 23))
        await pilot.press("ctrl+r", "enter")
        await proposed(pilot)
        await pilot.press("enter")
        assert area(app).text == "The fox found a silver bell."
        await pilot.press("escape")  # it is not saved: that is asked about
        await until_in(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("s")
        await until_in(pilot, lambda: pilot.app.screen.query("Input"))
        await pilot.press(*["backspace"] * 9, *"bell.txt", "enter")
        await until_in(pilot, lambda: app.screen is chat_of(app))
        assert (tmp_path / "bell.txt").read_text() == "The fox found a silver bell."
        await ask(pilot, "And another?")
    assert engine.sessions == 2  # the chat's, and one for rewriting


async def test_a_place_that_is_taken_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text("old")
    app = app_of(FakeEngine("The fox."))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await ask(pilot, "A story, please.")
        await pilot.press("f9")
        await opened(pilot)
        await pilot.press("ctrl+s")
        await until_in(pilot, lambda: app.screen.query("Input"))
        await pilot.press("enter")
        await until_in(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("k")
        assert (tmp_path / "answer.md").read_text() == "old"
        await pilot.press("ctrl+s")
        await until_in(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("o")
        await until_in(pilot, lambda: "saved answer.md" in status(app))
        assert (tmp_path / "answer.md").read_text() == "The fox."
        await pilot.press("escape")
        await until_in(pilot, lambda: app.screen is chat_of(app))


async def test_code_blocks_are_opened_one_after_another() -> None:
    app = app_of(FakeEngine(ANSWER, canvas=64))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await ask(pilot, "Code, please.")
        for name, text in (("code.py", "print('fox')\n"), ("code.txt", "plain\n"), ("code.py", "print('fox')\n")):
            await say(pilot, "/rewrite code")
            await opened(pilot)
            assert title(app).startswith(name) and area(app).text == text
            await pilot.press("escape")
            await until_in(pilot, lambda: app.screen is chat_of(app))


async def test_leaving_without_a_change_and_quitting_with_one() -> None:
    app = app_of(FakeEngine("The fox."))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("f9")
        assert "no answer to rewrite" in chat_status(app)
        await ask(pilot, "A story, please.")
        await say(pilot, "/rewrite nonsense")
        assert "/rewrite code" in chat_status(app)
        await say(pilot, "/rewrite code")
        assert "no code block" in chat_status(app)
        await pilot.press("f9")
        await opened(pilot)
        await pilot.press("x", "ctrl+q")
        await until_in(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("escape")
        await until_in(pilot, lambda: isinstance(app.screen, EditorScreen))
        assert app.is_running and screen(app).modified
        await pilot.press("ctrl+q")
        await until_in(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("d")
        await pilot.pause(0.05)
    assert not app.is_running


async def test_no_answer_is_opened_while_one_is_being_written() -> None:
    engine = FakeEngine("The fox. " * 20, delay=0.02)
    engine.stuck = 1
    app = app_of(engine)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await say(pilot, "A story, please.")
        await pilot.press("f9")
        assert app.screen is chat_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat._asked)
