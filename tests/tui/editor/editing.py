"""What the tests of the editor share: an editor over an engine that only pretends, and what can be seen of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from textual.document._document import Selection
from textual.pilot import Pilot
from textual.widgets import Static

from dgchat.app.chat import ChatApp
from dgchat.editor.app import EditorApp
from dgchat.editor.area import Area
from dgchat.editor.files import TextFile
from dgchat.editor.proposals import Proposals
from dgchat.editor.resolving import Resolving
from dgchat.editor.screen import EditorScreen
from dgchat.settings import load
from tests.tui.fakes import FakeEngine

Player: TypeAlias = Pilot[None]
SIZE = (100, 24)
_PATIENCE = 60.0  # seconds; only a test that fails waits so long

STORY = """Once there was a quiet fox named Mia.
One day Mia found a lantern near the river.
They shared the lantern and laughed until dark.

The end.
"""
FOUND = ((1, 12), (1, 42))  # "found a lantern near the river"


def editor_of(path: Path, engine: FakeEngine | BaseException | None = None, **flags: Any) -> EditorApp:
    """An editor of the file at `path`, whose model is `engine`; an error is raised by every attempt to load."""
    model = engine or FakeEngine()

    def load_engine(*_: object, **__: object) -> FakeEngine:
        if isinstance(model, BaseException):
            raise model
        return model

    settings = load({"pace": 0.0, "model": "fake", **flags}, {})
    return EditorApp(TextFile.open(path), settings, load_engine)  # type: ignore[arg-type]


def stepwise(*rewrites: str, steps: int = 6) -> FakeEngine:
    """An engine that makes a step when it is allowed to."""
    engine = FakeEngine(steps=steps, stepwise=True)
    engine.rewrites = list(rewrites) or ["noticed a silver bell under the bridge", "saw a kite", "heard a small song"]
    return engine


async def until(pilot: Player, test: Callable[[], object]) -> None:
    """Lets the app go on until `test` holds."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if test():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    pytest.fail(f"never: {status(pilot.app)!r}")


async def ready(pilot: Player) -> None:
    """The model is loaded, and the text is there."""
    app = pilot.app
    assert isinstance(app, EditorApp | ChatApp)
    await until(pilot, lambda: app.host.engine is not None and screen(app).query("#text"))


def screen(app: Any) -> EditorScreen:
    """The editor, also while a question lies over it."""
    return next(screen for screen in app.screen_stack if isinstance(screen, EditorScreen))


def area(app: Any) -> Area:
    """The text."""
    return screen(app).area


def select(app: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Selects a part of the text."""
    area(app).selection = Selection(start, end)


def status(app: Any) -> str:
    """The line that says what is happening."""
    return str(screen(app).query_one("#status", Static).content)


def progress(app: Any) -> str:
    """What is said while a hole resolves; "" where none does."""
    return "".join(str(panel.query_one("#progress", Static).content) for panel in screen(app).query(Resolving))


def title(app: Any) -> str:
    """The first line."""
    return str(screen(app).query_one("#title", Static).content)


async def step(pilot: Player, engine: FakeEngine, number: int) -> None:
    """Lets an engine with permits make its next step, which has this number, and sees it."""
    engine.permit()
    await until(pilot, lambda: progress(pilot.app).startswith(f"step {number} "))


async def finish(pilot: Player, engine: FakeEngine) -> None:
    """Lets an engine with permits come to its candidates."""
    engine.permit(1000)
    await proposed(pilot)


async def proposed(pilot: Player) -> None:
    """The candidates are there."""
    await until(pilot, lambda: proposals(pilot.app) is not None and not screen(pilot.app).area.room)


def proposals(app: Any) -> Proposals | None:
    """The panel of the candidates; None where there is none."""
    found = list(screen(app).query(Proposals))
    return found[0] if found else None


def drawn(app: Any) -> list[str]:
    """The rows of the text as they are on the screen, with their line numbers."""
    text = area(app)
    return [text.render_line(y).text.rstrip() for y in range(text.size.height)]
