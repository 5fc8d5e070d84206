"""The terminal app: what holds for all of its screens. The chat itself is `chat_screen`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.theme import Theme as TextualTheme

from dgchat import hardware, themes
from dgchat import remembered as memory
from dgchat.app.bindings import bind
from dgchat.app.chat_screen import ChatScreen
from dgchat.app.commands import COMMANDS
from dgchat.app.conversation import Conversation
from dgchat.app.screens import WelcomeScreen
from dgchat.canvas.looks import Styles
from dgchat.exits import Exit, Failure
from dgchat.history.opening import Opened, open_history
from dgchat.history.store import Store
from dgchat.host import EngineHost
from dgchat.hush import hushed
from dgchat.paths import history_file, log_file
from dgchat.sanitize import clean_line
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgengine import Engine

_THEME_CHECK = 1.0  # seconds between looks at the theme's file


def chat(settings: Settings, resume: int | None = None) -> Exit:
    """Runs the app until the user leaves it; `resume` is a chat of the history to go on with.

    Raises:
        Failure: there is no such chat (exit code 4), or the app ended by an error of its own.
    """
    with hushed() as screen:
        app = ChatApp(settings, resume=resume)
        before = sys.__stderr__
        vars(sys)["__stderr__"] = screen  # where Textual draws
        try:
            app.run()
        finally:
            vars(sys)["__stderr__"] = before
            app.store.close()
    if app.broken:
        raise Failure(f"The chat ended unexpectedly; the traceback is in {log_file()}.", Exit.ENGINE)
    return Exit.FINE


def draws_marks() -> bool:
    """Whether looks must be told apart by glyphs: no colour is wanted, or the terminal has but a few."""
    console = Console(stderr=True)
    few = console.is_terminal and console.color_system in (None, "standard", "windows")
    return bool(os.environ.get("NO_COLOR")) or few


class ChatApp(App[None]):
    """The app: its theme, its keys, what it remembers, and the engine's thread."""

    CSS_PATH = "chat.tcss"
    TITLE = "dgchat"
    BINDINGS: ClassVar[list[BindingType]] = [bind("commands", "command_palette"), bind("quit")]

    def __init__(
        self, settings: Settings, load: Callable[..., Engine] | None = None, resume: int | None = None
    ) -> None:
        """`load` opens an engine, by default `Engine.load`.

        Raises:
            Failure: `resume` is no chat.
        """
        super().__init__()
        self.remembered = memory.load()
        self.settings = self.remembered.over(settings)
        self.marks = draws_marks()
        self.palette = themes.load("auto")
        self._watched: tuple[str, float] = ("", 0.0)  # the theme's name, and when its file was changed
        self._theme_number = 0
        opened = open_history(history_file()) if settings.history else Opened(Store(None))
        self.store = opened.store
        self._opened = opened
        self._resume = self._known(resume)
        self.host = EngineHost(self.settings, self._mail, load)
        conversation = Conversation(self.store, self.settings.model, self.settings.system, self.trouble)
        self.chat = ChatScreen(self, conversation)

    def _known(self, chat: int | None) -> int | None:
        if chat is not None:
            try:
                self.store.conversation(chat)
            except LookupError:
                self.store.close()
                raise Failure(f"There is no chat {chat}; dgchat history lists them.", Exit.INPUT) from None
        return chat

    def _mail(self) -> None:
        """On the engine's thread: `post_message` may be called there."""
        self.chat.post_message(ChatScreen.Mail())

    @property
    def broken(self) -> bool:
        """Whether the app ended by an error of its own."""
        return bool(self.return_code)

    def get_default_screen(self) -> Screen[Any]:
        """The chat."""
        return self.chat

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The canvas colours, for the moment before a theme of ours is taken up."""
        return dict(themes.load("auto").canvas)

    def on_mount(self) -> None:
        """Looks and keys; then, once the first frame is painted, the engine."""
        if not self.settings.motion:
            self.animation_level = "none"
        self.set_keymap(self.settings.keys)
        if not self.show_theme(self.settings.theme):
            self.show_theme("auto")
        self.set_interval(_THEME_CHECK, self.reload_theme)
        for sentence in filter(None, [self._opened.remark, *self.settings.warnings]):
            self.trouble(sentence)
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        if self._resume is not None:
            await self.chat.open_chat(self._resume)
        self.host.start()
        if not self.remembered.welcomed and self.settings.sources["model"] != "command line":
            self.remember(welcomed=True)
            self.push_screen(WelcomeScreen(hardware.find))

    def on_unmount(self) -> None:
        """Lets the engine rest; what stands of an answer is kept."""
        self.chat.keep()
        self.host.close()

    def trouble(self, text: str) -> None:
        """Something the user should know, that stops nothing."""
        self.notify(clean_line(text), severity="warning", timeout=10, markup=False)

    def remember(self, **choices: Any) -> None:
        """Keeps choices for the next start; where that cannot be done, they hold for this one."""
        self.remembered = replace(self.remembered, **choices)
        try:
            memory.save(self.remembered)
        except OSError as error:
            self.log(f"remembered.json cannot be written: {error}")

    # ---- themes

    def show_theme(self, name: str) -> bool:
        """Takes up a theme; one that cannot be used is told, and False."""
        self._watched = (name, _changed(name))
        try:
            self.palette = themes.load(name)
        except Failure as failure:
            self.trouble(str(failure))
            return False
        self._theme_number += 1  # Textual redraws only for a theme of another name
        theme = _textual(self.palette, f"{self.palette.name}-{self._theme_number}")
        self.register_theme(theme)
        old, self.theme = self.theme, theme.name
        if old in self.available_themes and old.startswith(tuple(themes.names())):
            self.unregister_theme(old)
        self.chat.restyle()
        return True

    def reload_theme(self) -> None:
        """Takes up the theme's file where it has been changed."""
        name, changed = self._watched
        if _changed(name) != changed:
            self.show_theme(name)

    def styles_of(self) -> Styles:
        """How the canvas is drawn in this theme."""
        return Styles(self.palette, self.marks)

    # ---- the command palette

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The /commands that need no words, for Ctrl+P."""
        if screen is not self.chat:
            return
        for name, command in COMMANDS.items():
            if command.takes in ("", "[NAME]", "[TEXT]"):
                yield SystemCommand(f"/{name}", command.help, self._runner(name))

    def _runner(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.chat.post_message(ChatScreen.Command(name, ""))

        return run


def _changed(name: str) -> float:
    """When the theme's file was last changed; 0 for none."""
    try:
        return themes.file_of(name).stat().st_mtime
    except OSError:
        return 0.0


def _textual(theme: themes.Theme, name: str) -> TextualTheme:
    """A palette as Textual's own kind of theme."""
    colors: dict[str, Any] = dict(theme.colors)
    return TextualTheme(name=name, dark=theme.dark, variables=dict(theme.canvas), **colors)
