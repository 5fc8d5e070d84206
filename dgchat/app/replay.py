"""A trace on a screen of its own: `dgchat replay FILE`. Needs no model, and imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from dgchat import notes
from dgchat.app.bindings import bind
from dgchat.app.drawing import Drawing
from dgchat.app.exporting import ExportError, write_trace
from dgchat.app.player import Player
from dgchat.app.player_messages import PlayerExport, PlayerLeft, PlayerNextMode
from dgchat.app.screens import LineScreen
from dgchat.app.steps_screen import WRITE_TO
from dgchat.app.themed import ThemedApp
from dgchat.canvas.state import Mode
from dgchat.exits import Exit, Failure
from dgchat.hush import screen_alone
from dgchat.paths import log_file
from dgchat.sanitize import clean, clean_line
from dgchat.settings import Settings
from dgchat.trace.steps import StepTrace

_HINT = "left and right go through the steps, i looks at tokens, Space plays, e exports, Esc leaves"


def watch(trace: StepTrace, settings: Settings) -> Exit:
    """Runs the player on a trace that has steps, until the user leaves it.

    Raises:
        Failure: the app ended by an error of its own.
    """
    with screen_alone():
        app = ReplayApp(trace, settings)
        app.run()
    if app.broken:
        raise Failure(f"The player ended unexpectedly; the traceback is in {log_file()}.", Exit.ENGINE)
    return Exit.FINE


class ReplayApp(ThemedApp):
    """The player, the question above it, and a line that says what is happening."""

    BINDINGS: ClassVar[list[BindingType]] = [bind("mode")]
    AUTO_FOCUS = "Player"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, trace: StepTrace, settings: Settings) -> None:
        super().__init__(settings)
        self._trace = trace
        self._mode = Mode(settings.colors)

    def compose(self) -> ComposeResult:
        about = self._trace.about
        steered = "steered by hand" if about.steered else ""
        parts = ["dgchat", about.model, notes.plural(len(self._trace), "step"), steered]
        yield Static(" · ".join(clean_line(part) for part in parts if part), id="title", markup=False)
        with VerticalScroll(id="replay", can_focus=False):
            if about.prompt:
                yield Static(clean(about.prompt), classes="said question words", markup=False)
            yield Player(self._trace, self._drawing())
        yield Static(_HINT, id="status", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Looks and keys; then the steps go by once."""
        self.dress()
        self.call_after_refresh(self.query_one(Player).action_play)

    def _drawing(self) -> Drawing:
        return Drawing(self.canvas_styles, self.marks, self._mode, self.settings.motion)

    def restyled(self) -> None:
        """Another theme has been taken up."""
        self.call_later(self._redraw)

    async def _redraw(self) -> None:
        for player in self.query(Player):
            await player.redraw(self._drawing())

    def on_resize(self) -> None:
        """The canvas is laid out anew."""
        self.call_after_refresh(self._redraw)

    async def action_mode(self) -> None:
        """The next meaning of the colours."""
        modes = list(Mode)
        self._mode = modes[(modes.index(self._mode) + 1) % len(modes)]
        await self._redraw()

    @on(PlayerNextMode)
    async def next_mode(self) -> None:
        """The mouse's way to it."""
        await self.action_mode()

    @on(PlayerLeft)
    def left(self) -> None:
        """Nothing is behind the player."""
        self.exit()

    @on(PlayerExport)
    def export(self) -> None:
        """Asks for a file, and writes it."""

        def chosen(name: str | None) -> None:
            if name and name.strip():
                self._write(name)

        self.push_screen(LineScreen(WRITE_TO, "answer.html"), chosen)

    def _write(self, name: str) -> None:
        try:
            text = f"written to {write_trace(self._trace, name, Path.cwd(), self.settings)}"
        except ExportError as error:
            text = str(error)
        self.query_one("#status", Static).update(clean_line(text))
