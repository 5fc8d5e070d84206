"""An app in one of the palettes: what the chat and the player have in common."""

from __future__ import annotations

import asyncio
import os
from typing import Any, ClassVar

from rich.console import Console
from textual.app import App
from textual.binding import BindingType
from textual.driver import Driver
from textual.theme import Theme as TextualTheme

from dgchat import themes
from dgchat.app.asking import Asking
from dgchat.app.bindings import bind
from dgchat.app.terminal import whole_frames
from dgchat.canvas.looks import Styles
from dgchat.exits import Failure
from dgchat.sanitize import clean_line
from dgchat.settings import Settings

_THEME_CHECK = 1.0  # seconds between looks at the theme's file


def draws_marks() -> bool:
    """Whether looks must be told apart by glyphs: no colour is wanted, or the terminal has but a few."""
    console = Console(stderr=True)
    few = console.is_terminal and console.color_system in (None, "standard", "windows")
    return bool(os.environ.get("NO_COLOR")) or few


class ThemedApp(App[None]):
    """Takes up a theme, and takes it up anew when its file has been changed; keys are as the settings say.

    Attributes:
        settings: what holds for this run.
        marks: whether looks are told apart by glyphs.
        palette: the theme.
        canvas_styles: how the canvas is drawn in it.
    """

    CSS_PATH = "chat.tcss"
    TITLE = "dgchat"
    BINDINGS: ClassVar[list[BindingType]] = [bind("quit")]

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.marks = draws_marks()
        self.palette = themes.load("auto")
        self.canvas_styles = Styles(self.palette, self.marks)
        self._watched: tuple[str, float] = ("", 0.0)  # the theme's name, and when its file was changed
        self._theme_number = 0

    @property
    def broken(self) -> bool:
        """Whether the app ended by an error of its own."""
        return bool(self.return_code)

    def restyled(self) -> None:
        """Called when another theme has been taken up."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The canvas colours, for the moment before a theme of ours is taken up."""
        return dict(themes.load("auto").canvas)

    def get_driver_class(self) -> type[Driver]:
        """What draws on the terminal."""
        return whole_frames(super().get_driver_class())

    async def action_quit(self) -> None:
        """Quits, unless a screen holds what is not saved: that asks first."""
        if all(screen.may_quit() for screen in reversed(self.screen_stack) if isinstance(screen, Asking)):
            await super().action_quit()

    def dress(self) -> None:
        """Looks and keys; to be called on mount."""
        asyncio.get_running_loop().set_exception_handler(_pass_over_ends)
        if not self.settings.motion:
            self.animation_level = "none"
        self.set_keymap(self.settings.keys)
        if not self.show_theme(self.settings.theme):
            broken = self._watched
            self.show_theme("auto")
            self._watched = broken  # it is taken up when it has been mended
        self.set_interval(_THEME_CHECK, self.reload_theme)

    def trouble(self, text: str) -> None:
        """Something the user should know, that stops nothing."""
        self.notify(clean_line(text), severity="warning", timeout=10, markup=False)

    def show_theme(self, name: str) -> bool:
        """Takes up a theme; one that cannot be used is told, and False."""
        self._watched = (name, _changed(name))
        try:
            self.palette = themes.load(name)
        except Failure as failure:
            self.trouble(str(failure))
            return False
        if name == "auto":
            self._watched = (self.palette.name, _changed(self.palette.name))
        self.canvas_styles = Styles(self.palette, self.marks)
        self._theme_number += 1  # Textual redraws only for a theme of another name
        theme = _textual(self.palette, f"{self.palette.name}-{self._theme_number}")
        self.register_theme(theme)
        old, self.theme = self.theme, theme.name
        if old in self.available_themes and old.startswith(tuple(themes.names())):
            self.unregister_theme(old)
        self.restyled()
        return True

    def reload_theme(self) -> None:
        """Takes up the theme's file where it has been changed."""
        name, changed = self._watched
        if _changed(name) != changed:
            self.show_theme(name)


def _pass_over_ends(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A signal ends the program within whichever task was running: that is no fault to be printed at the end."""
    if not isinstance(context.get("exception"), SystemExit | KeyboardInterrupt):
        loop.default_exception_handler(context)


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
