"""`dgchat edit FILE`: the editor on its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen

from dgchat.app.bindings import bind
from dgchat.app.themed import ThemedApp
from dgchat.editor.files import TextFile
from dgchat.editor.languages import kind_of
from dgchat.editor.screen import EditorScreen
from dgchat.exits import Exit, Failure
from dgchat.host import EngineHost, Failed, Loading, Ready
from dgchat.hush import screen_alone
from dgchat.opening import planned
from dgchat.paths import log_file
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgbackends.protocol import Backend


_SWITCH = 0.001  # seconds that a thread may keep the others waiting, so that a key shows while a hole resolves


def edit(file: TextFile, settings: Settings) -> Exit:
    """Runs the editor until the user leaves it.

    Raises:
        Failure: it ended by an error of its own, or the settings do not go together.
    """
    planned(settings)  # what does not go together is told before there is a screen
    sys.setswitchinterval(_SWITCH)
    with screen_alone():
        app = EditorApp(file, settings)
        app.run()
    if app.broken:
        raise Failure(f"The editor ended unexpectedly; the traceback is in {log_file()}.", Exit.ENGINE)
    return Exit.FINE


class EditorApp(ThemedApp):
    """One file, and the engine's thread."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["../app/chat.tcss", "editor.tcss"]  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [bind("theme"), bind("quit")]
    ENABLE_COMMAND_PALETTE = False

    @dataclass
    class Mail(Message):
        """The host's mailbox holds something."""

    def __init__(self, file: TextFile, settings: Settings, load: Callable[..., Backend] | None = None) -> None:
        """`load` opens an engine, by default `open_backend`."""
        super().__init__(settings)
        self.host = EngineHost(settings, lambda: self.post_message(self.Mail()), load)
        self.editor = EditorScreen(self, file, kind_of(file.name), alone=True)
        self._early: list[events.Event] | None = []  # keys that have come before the first frame; None after it

    def get_default_screen(self) -> Screen[Any]:
        """The editor."""
        return self.editor

    def on_mount(self) -> None:
        """Looks and keys; then, once the first frame is painted, the engine."""
        self.dress()
        for sentence in self.settings.warnings:
            self.trouble(sentence)
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        self.host.start()
        early, self._early = self._early or [], None
        for event in early:
            await super().on_event(event)

    async def on_event(self, event: events.Event) -> None:
        """Keys that come before there is a place for them wait for it."""
        if self._early is not None and isinstance(event, events.Key | events.Paste):
            self._early.append(event)
        else:
            await super().on_event(event)

    @on(Mail)
    def mail(self) -> None:
        """What the engine's thread says of the model."""
        for post in self.host.mailbox.drain():
            match post:
                case Loading(text):
                    self.editor.tell_model(text)
                case Ready(engine):
                    self.editor.tell_model("")
                    for note in engine.info.notes:
                        self.editor.trouble(note)
                    self.editor.show_title()
                case Failed(_, text):
                    self.editor.tell_model("")
                    self.editor.unloaded = self.host.engine is None
                    self.editor.trouble(text)

    def action_theme(self) -> None:
        """Chooses a theme."""
        from dgchat.app.screens import ThemeScreen

        now = self.palette.name

        def chosen(name: str | None) -> None:
            if name is None:
                self.show_theme(now)

        self.push_screen(ThemeScreen(now, self.show_theme), chosen)

    def on_unmount(self) -> None:
        """Lets the engine rest."""
        self.host.close()
