"""A monkey at the keyboard: whatever it does, the app lives, and answers the next question."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from dgchat import settings as settings_table
from dgchat.app.chat import ChatApp
from dgchat.app.chat_screen import ChatScreen
from dgchat.app.commands import COMMANDS
from dgchat.editor.dialogs import Choice
from dgchat.history.store import Store
from dgchat.keys import KEYS
from dgchat.paths import history_file
from tests.tui.fakes import FakeEngine

ANSWERS = (
    "Once there was a quiet fox by the river, and a lantern hung in the tree.",
    "# A title\n\n- one\n- two\n\n```python\nprint('hello')\n```\n\nThe end. " + "And so on, to and fro. " * 8,
    "",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted **bold** [link](https://example.org) `code`",
    "日本語 and \u200d\U0001f469\u200d\U0001f680 and \x1b[2J\x07 and [/nonsense] [@click=app.quit()]here[/]",
)
WORDS = ["hello", "@", "@./", "@/etc/hostname", "a" * 90, "wörter", "日本語", "\t", "[bold]", "\x1b[31m", "…", "on"]
KEYS_PRESSED = [
    *(key.strip() for name, entry in KEYS.items() if name != "quit" for key in entry.keys.split(",")),
    *"left right home end backspace delete ctrl+w ctrl+u ctrl+k ctrl+a ctrl+z ctrl+y ctrl+d ctrl+c".split(),
    *"shift+tab shift+left shift+right shift+up shift+down ctrl+left ctrl+right ctrl+home q i space".split(),
]  # fmt: skip
SIZES = [(80, 24), (120, 40), (100, 30), (40, 10), (20, 6), (5, 3), (1, 1), (200, 50)]


async def stay(_: ChatApp) -> None:
    """In the place of quitting."""


class Monkey:
    """Does one thing after another; `done` is what it did, for a report."""

    def __init__(self, pilot: Pilot[Any], seed: int) -> None:
        self._pilot = pilot
        self._random = random.Random(seed)
        self.done: list[str] = []
        self._tricks: list[tuple[Callable[[], list[events.Event]], int]] = [
            (self._key, 10), (self._typed, 6), (self._command, 3), (self._question, 3), (self._escape, 3),
            (self._paste, 2), (self._click, 6), (self._scroll, 3), (self._drag, 1), (self._resize, 1), (self._blur, 1),
        ]  # fmt: skip

    async def act(self) -> None:
        """One thing, with or without waiting for what comes of it."""
        tricks, weights = zip(*self._tricks, strict=True)
        trick = self._random.choices(tricks, weights)[0]
        for event in trick():
            self._pilot.app.post_message(event)
        assert self._pilot.app._exception is None
        if self._random.random() < 0.3:
            await self._pilot.pause(self._random.choice([0, 0, 0.005, 0.03]))

    def _say(self, what: str) -> None:
        self.done.append(what)

    def _key(self) -> list[events.Event]:
        key = self._random.choice(KEYS_PRESSED)
        self._say(key)
        return [events.Key(key, None if len(key) > 1 and key != "space" else " " if key == "space" else key)]

    def _typed(self) -> list[events.Event]:
        word = self._random.choice(WORDS)
        self._say(repr(word))
        return _keys(word)

    def _command(self) -> list[events.Event]:
        name = self._random.choice(sorted(COMMANDS))
        words = self._random.choice(["", "", "x", *WORDS, "age", "night"])
        self._say(f"/{name} {words!r}")
        return [events.Key("ctrl+u", None), *_keys(f"/{name} {words}"), events.Key("enter", "\r")]

    def _question(self) -> list[events.Event]:
        self._say("question")
        return [*_keys(self._random.choice(WORDS)), *_keys(" why"), events.Key("enter", "\r")]

    def _escape(self) -> list[events.Event]:
        self._say("escape")
        return [events.Key("escape", "\x1b")]

    def _paste(self) -> list[events.Event]:
        text = "".join(self._random.choices([*WORDS, "\n", "\r\n", " "], k=self._random.randrange(40)))
        self._say(f"paste {len(text)}")
        return [events.Paste(text)]

    def _place(self) -> tuple[int, int]:
        width, height = self._pilot.app.size
        return self._random.randrange(max(1, width)), self._random.randrange(max(1, height))

    def _click(self) -> list[events.Event]:
        place = self._place()
        self._say(f"click {place}")
        return [_mouse(kind, place, 1) for kind in (events.MouseMove, events.MouseDown, events.MouseUp)]

    def _drag(self) -> list[events.Event]:
        start, end = self._place(), self._place()
        self._say(f"drag {start} {end}")
        return [_mouse(events.MouseDown, start, 1), _mouse(events.MouseMove, end, 1), _mouse(events.MouseUp, end, 1)]

    def _scroll(self) -> list[events.Event]:
        kind = self._random.choice([events.MouseScrollUp, events.MouseScrollDown])
        place = self._place()
        self._say(f"{kind.__name__} {place}")
        return [_mouse(kind, place, 0) for _ in range(self._random.randrange(1, 6))]

    def _resize(self) -> list[events.Event]:
        size = self._random.choice(SIZES)
        self._say(f"resize {size}")
        return [_resized(self._pilot.app, size)]

    def _blur(self) -> list[events.Event]:
        self._say("blur")
        return [events.AppBlur(), events.AppFocus()]


def _keys(text: str) -> list[events.Event]:
    return [events.Key("enter" if char in "\r\n" else char, char) for char in text]


def _mouse(kind: type[events.MouseEvent], place: tuple[int, int], button: int) -> events.MouseEvent:
    x, y = place
    return kind(None, x, y, 0, 0, button, False, False, False, x, y)


def _resized(app: Any, size: tuple[int, int]) -> events.Resize:
    from textual.geometry import Size

    app._driver._size = size  # as `Pilot.resize_terminal` does it
    return events.Resize(Size(*size), Size(*size))


def last_chat() -> list[str]:
    """What was said in the chat used last."""
    with Store(history_file()) as store:
        chats = store.conversations(1)
        return [message.text for message in store.path(chats[0].leaf)] if chats else []


async def until(pilot: Pilot[Any], test: Callable[[], object]) -> None:
    for _ in range(500):
        if test():
            return
        await pilot.pause(0.02)
    raise AssertionError("it never came to that")


async def rampage(seed: int, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DGCHAT_PACE", "0")
    engine: Any = FakeEngine(*ANSWERS, steps=5, delay=0.003)
    monkeypatch.setattr(ChatApp, "action_quit", stay)
    app = ChatApp(settings_table.load({"model": "x", "watch": bool(seed % 2)}), load=lambda *_, **__: engine)
    async with app.run_test(size=(100, 30)) as pilot:
        monkey = Monkey(pilot, seed)
        try:
            for _ in range(count):
                await monkey.act()
            await calm_down(app, pilot)
            engine._answers = ["A normal answer."]
            await a_normal_question(app, pilot)
        except BaseException as error:
            error.add_note(f"seed {seed}; the last things done: {'; '.join(monkey.done[-25:])}")
            raise
    assert app.return_code in (0, None) and app._exception is None


async def calm_down(app: ChatApp, pilot: Pilot[Any]) -> None:
    """Back to the chat, without an answer on the way, by the keys that a user would take."""
    app.post_message(_resized(app, (100, 30)))
    await pilot.pause()
    for _ in range(30):
        if app.screen is app.chat and not app.chat._asked and app.focused is app.chat.composer.editor:
            break
        # from a text with changes, Esc leads to a question and from there back to the text
        await pilot.press("d" if isinstance(app.screen, Choice) else "escape")
        await pilot.pause(0.05)
    assert isinstance(app.screen, ChatScreen), "Esc always means out of here"
    await pilot.press("ctrl+n")


async def a_normal_question(app: ChatApp, pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: not app.chat._asked and app.focused is app.chat.composer.editor)
    app.chat.composer.clear()
    await pilot.press(*"normal", "enter")
    await until(pilot, lambda: last_chat() == ["normal", "A normal answer."])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_monkey(seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await rampage(seed, 100, monkeypatch, tmp_path)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11, 16))
async def test_a_tireless_monkey(seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await rampage(seed, 1000, monkeypatch, tmp_path)
