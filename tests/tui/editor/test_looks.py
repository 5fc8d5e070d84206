"""The editor looks as it did, in a dark theme, a light one, and without colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.app.snapshots import check
from tests.tui.editor.editing import FOUND, STORY, editor_of, finish, ready, screen, select, step, stepwise, until

FOLDER = Path(__file__).parent / "snapshots"
THEMES = ["night", "day", "mono"]
SIZE = (84, 18)
CODE = '''class Fox:
    """A quiet fox."""

    def says(self, times: int = 3) -> str:
        return "ring" * times  # aloud
'''


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.md"
    path.write_text(STORY)
    return path


@pytest.mark.parametrize("theme", THEMES)
async def test_code(tmp_path: Path, theme: str) -> None:
    path = tmp_path / "fox.py"
    path.write_text(CODE + "\x1b[0m\r\n")
    app = editor_of(path, theme=theme)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("down", "x")
        await check(pilot, f"code-{theme}", FOLDER)


@pytest.mark.parametrize("theme", THEMES)
async def test_the_bar_with_a_word_that_is_kept(story: Path, theme: str) -> None:
    app = editor_of(story, theme=theme)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        select(app, *FOUND)
        await pilot.press("ctrl+r", *"shorter", "down", "tab", "right", "right", "space", "right")
        await check(pilot, f"bar-{theme}", FOLDER)


@pytest.mark.parametrize("theme", [*THEMES, "marks"])
async def test_a_hole_that_resolves(story: Path, theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if theme == "marks":
        monkeypatch.setenv("NO_COLOR", "1")
    engine = stepwise("noticed a silver bell under the old bridge", "saw a kite", steps=8)
    app = editor_of(story, engine, theme="mono" if theme == "marks" else theme)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        select(app, *FOUND)
        await pilot.press("ctrl+r", "enter")
        for number in (1, 2, 3):
            await step(pilot, engine, number)
        rewrite = screen(app)._rewrite
        assert rewrite is not None
        rewrite.shown, rewrite.held = 0, True
        await step(pilot, engine, 4)
        await pilot.press("space", "right", "p")
        await check(pilot, f"hole-{theme}", FOLDER)
        await pilot.press("space")
        await finish(pilot, engine)


@pytest.mark.parametrize("theme", [*THEMES, "marks"])
async def test_candidates(story: Path, theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if theme == "marks":
        monkeypatch.setenv("NO_COLOR", "1")
    engine = stepwise(steps=3)
    app = editor_of(story, engine, theme="mono" if theme == "marks" else theme)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        select(app, *FOUND)
        await pilot.press("ctrl+r", "enter")
        await finish(pilot, engine)
        await check(pilot, f"candidates-{theme}", FOLDER)


async def test_leaving_asks(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x", "ctrl+q")
        await until(pilot, lambda: app.screen is not screen(app))
        await check(pilot, "leaving-night", FOLDER)
