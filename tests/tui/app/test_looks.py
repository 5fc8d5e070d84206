"""The main screens look as they did, in a dark theme, a light one, and one without colour."""

from __future__ import annotations

import pytest
from textual.widgets import OptionList

from dgchat.app.screens import HistoryScreen, ThemeScreen
from dgchat.history.store import Store
from dgchat.paths import history_file
from tests.tui.app.play import (
    Player,
    answered,
    app_of,
    keep,
    ready,
    say,
    screen,
    step_to,
    until,
)
from tests.tui.app.snapshots import check
from tests.tui.fakes import FakeEngine

THEMES = ["night", "day", "mono"]
ANSWER = """A fox is a **small** animal:

1. it has *four* legs
2. and says `ring-ding`

```python
def say(word: str) -> None:
    print(word)  # aloud
```

> It is not a dog."""


@pytest.fixture(autouse=True)
def same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgchat.app.screens.timestamp", lambda seconds: "2026-01-02 03:04")


@pytest.mark.parametrize("theme", THEMES)
async def test_a_canvas_that_is_being_denoised(theme: str) -> None:
    engine = FakeEngine(
        "Once there was a quiet fox, and it found a lantern in the river. " * 2, canvas=48, steps=8, stepwise=True
    )
    app = app_of(engine, watch=True, theme=theme)
    async with app.run_test(size=(110, 30)) as pilot:
        await ready(pilot)
        await say(pilot, "Tell me a story, please.")
        await step_to(pilot, engine, 1, 3, 3)
        await check(pilot, f"canvas-{theme}")
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat._asked)


@pytest.mark.parametrize("theme", THEMES)
async def test_an_answer_that_has_settled(theme: str) -> None:
    engine = FakeEngine(ANSWER, canvas=96, steps=4, stepwise=True)
    app = app_of(engine, theme=theme)
    async with app.run_test(size=(80, 28)) as pilot:
        await ready(pilot)
        await say(pilot, "What is a fox?")
        await step_to(pilot, engine, 1, 4, 4)
        engine.permit()
        await answered(pilot)
        await until(pilot, lambda: screen(app).query("MarkdownFence"))
        await check(pilot, f"answer-{theme}")


@pytest.mark.parametrize("theme", THEMES)
async def test_the_steps_of_an_answer_with_a_card_about_a_token(theme: str) -> None:
    engine = FakeEngine("Once there was a quiet fox, and it found a lantern in the river. " * 2, canvas=16, steps=6)
    app = app_of(engine, theme=theme)
    async with app.run_test(size=(90, 28)) as pilot:
        await ready(pilot)
        await say(pilot, "Tell me a story, please.")
        await answered(pilot)
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query("Player"))
        await pilot.press("left", "left", "left", "i", "right")
        await check(pilot, f"steps-{theme}")


@pytest.mark.parametrize("theme", THEMES)
async def test_a_frozen_canvas_with_a_held_token(theme: str) -> None:
    engine = FakeEngine(
        "Once there was a quiet fox, and it found a lantern in the river. " * 2, canvas=48, steps=8, stepwise=True
    )
    app = app_of(engine, watch=True, theme=theme)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "Tell me a story, please.")
        await step_to(pilot, engine, 1, 4, 4)
        await pilot.press("alt+up", "space", "p")
        await until(pilot, lambda: "1 pinned" in str(screen(app).query_one("ScrubBar").render()))
        await check(pilot, f"frozen-{theme}")
        await pilot.press("space", "escape", "escape")
        await until(pilot, lambda: not app.chat._asked)


@pytest.mark.parametrize("theme", THEMES)
async def test_the_list_of_chats(theme: str) -> None:
    with Store(history_file()) as store:
        keep(store, "A story, please.", "The fox found a lantern.")
        keep(store, "Where is the fox?", "In the den, with a lantern.")
        keep(store, "Add 1 and 2.", "3.")
    app = app_of(FakeEngine("Fine."), theme=theme)
    async with app.run_test(size=(100, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "/search lantern")
        await opened(pilot, HistoryScreen)
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 2)
        await check(pilot, f"history-{theme}")


@pytest.mark.parametrize("theme", THEMES)
async def test_the_help(theme: str) -> None:
    app = app_of(FakeEngine("Fine."), theme=theme)
    async with app.run_test(size=(90, 60)) as pilot:
        await ready(pilot)
        await pilot.press("f1")
        await check(pilot, f"help-{theme}")


@pytest.mark.parametrize("theme", THEMES)
async def test_the_choice_of_a_theme(theme: str) -> None:
    app = app_of(FakeEngine("Fine."), theme=theme)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+t")
        await opened(pilot, ThemeScreen)
        await check(pilot, f"themes-{theme}")


async def opened(pilot: Player, kind: type) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))
