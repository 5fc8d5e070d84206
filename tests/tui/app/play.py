"""What the tests of the app share: an app over an engine that only pretends, and what can be seen of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Collapsible, Static

from dgchat.app.chat import ChatApp
from dgchat.app.chat_screen import ChatScreen
from dgchat.app.composer import Composer
from dgchat.app.messages import Answer, Question
from dgchat.history.records import NewAnswer
from dgchat.history.store import Store
from dgchat.paths import history_file
from dgchat.settings import load
from tests.tui.fakes import FakeEngine

Player: TypeAlias = Pilot[None]
LONG = "Once there was a quiet fox. " * 40
WIDE, NARROW = (120, 30), (80, 24)
_PATIENCE = 60.0  # seconds; only a test that fails waits so long


def app_of(
    engine: FakeEngine | BaseException, resume: int | None = None, images: Sequence[Path] = (), **flags: Any
) -> ChatApp:
    """An app whose model is `engine`; an error is raised by the first attempts to load."""

    def load_engine(*_: object, **__: object) -> FakeEngine:
        if isinstance(engine, BaseException):
            raise engine
        return engine

    return ChatApp(load({"pace": 0.0, "model": "fake", **flags}, {}), load_engine, resume, images)  # type: ignore[arg-type]


@contextmanager
def kept_chat(*texts: str) -> Iterator[Store]:
    """The store that the app will find, with a chat of questions and answers in turns in it."""
    with Store(history_file()) as store:
        keep(store, *texts)
        yield store


def keep(store: Store, *texts: str) -> int:
    """Writes a chat of questions and answers in turns; returns its id."""
    chat: int | None = None
    parent: int | None = None
    for place, text in enumerate(texts):
        if place % 2 == 0:
            message = store.add_question(chat, parent, text, model="fake")
        else:
            assert parent is not None
            message = store.add_answer(parent, NewAnswer(text, [1], reason="eos"))
        chat, parent = message.conversation, message.id
    assert chat is not None
    return chat


async def until(pilot: Player, test: Callable[[], object]) -> None:
    """Lets the app go on until `test` holds."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if test():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    pytest.fail(f"never: {status(pilot.app)!r}, {transcript(pilot.app)}")


async def ready(pilot: Player) -> None:
    """The model is loaded."""
    await until(pilot, lambda: status(pilot.app).startswith("ready"))


async def say(pilot: Player, text: str) -> None:
    """Writes `text` and sends it."""
    composer = screen(pilot.app).query_one(Composer)
    composer.editor.focus()
    composer.insert(text)
    await pilot.pause()
    if composer.close():  # else Enter would take a completion
        await pilot.pause()
    await pilot.press("enter")
    await pilot.pause()


async def ask(pilot: Player, text: str) -> None:
    """Asks, and waits for the whole answer."""
    await say(pilot, text)
    await answered(pilot)


async def answered(pilot: Player) -> None:
    """The answer is over, and has come to its end."""
    await until(pilot, lambda: "tokens a forward" in status(pilot.app))


async def step_to(pilot: Player, engine: FakeEngine, block: int, step: int, steps: int = 1) -> None:
    """Lets an engine with permits make `steps` more steps, up to `step` of `block`, each of which is seen."""
    for number in range(step - steps + 1, step + 1):
        engine.permit()
        await until(pilot, lambda number=number: f"block {block}, step {number} of" in status(pilot.app))  # type: ignore[misc]


async def end_block(pilot: Player, engine: FakeEngine, block: int) -> None:
    """Lets an engine with permits end a block, which is not the last one."""
    engine.permit()
    await until(pilot, lambda: f"block {block} settled" in status(pilot.app))


def screen(app: Any) -> ChatScreen:
    """The chat, also while another screen lies over it."""
    found = app.screen_stack[0]
    assert isinstance(found, ChatScreen)
    return found


def status(app: Any) -> str:
    """The line that says what is happening."""
    return str(screen(app).query_one("#status", Static).content)


def title(app: Any) -> str:
    """The first line."""
    return str(screen(app).query_one("#title", Static).content)


def composer(app: Any) -> Composer:
    """Where one writes."""
    return screen(app).query_one(Composer)


def drawn(widget: Widget) -> str:
    """What of a widget is on the screen, whether it is scrolled to or not; without the line that leads to its steps."""
    lines = [line.text.rstrip() for line in widget.render_lines(widget.outer_size.region)]
    own = "\n".join(lines)
    inner = [drawn(child) for child in widget.children if child.display and not child.has_class("steps")]
    return "\n".join(part for part in [own.strip("\n") if not inner else "", *inner] if part.strip())


def transcript(app: Any) -> list[str]:
    """The texts of the conversation as they are drawn, without the line about the steps under an answer."""
    texts = [drawn(widget) for widget in screen(app).transcript.messages.children]
    return ["\n".join(line.strip() for line in text.splitlines() if _is_said(line)) for text in texts]


def _is_said(line: str) -> bool:
    return bool(line.strip()) and not re.fullmatch(r"◂ [\d,]+ steps? ▸.*", line.strip())


def questions(app: Any) -> list[Question]:
    """The questions on the screen."""
    return list(screen(app).query(Question))


def answers(app: Any) -> list[Answer]:
    """The answers on the screen."""
    return list(screen(app).query(Answer))


def folded(app: Any) -> list[tuple[str, str]]:
    """What is folded away in the transcript: titles and contents."""
    found = screen(app).query(Collapsible).results(Collapsible)
    return [(str(item.title), str(item.query_one("Contents Static", Static).content)) for item in found]


def shot(app: Any) -> list[str]:
    """All that is on the screen, line by line."""
    lines: Sequence[Any] = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def shown(app: Any) -> str:
    """All that is on the screen."""
    return "\n".join(shot(app))
