"""A list to choose from that bears keys and clicks which are faster than the screen."""

from __future__ import annotations

from contextlib import suppress

from textual import events
from textual.command import CommandPalette
from textual.widgets import OptionList


class Options(OptionList):
    """Textual's, which goes by what was drawn last: rows that are gone by now, and none before the first drawing."""

    def on_click(self, event: events.Click) -> None:
        """A row that is no more cannot be chosen."""
        if event.style.meta.get("option", -1) >= self.option_count:
            event.prevent_default()

    def action_page_up(self) -> None:
        """Moves once there is a page."""
        with suppress(KeyError):
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """Likewise."""
        with suppress(KeyError):
            super().action_page_down()  # type: ignore[no-untyped-call]


class Palette(CommandPalette):
    """Textual's, whose list is not drawn yet when the first key comes."""

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):
            super()._action_command_list(action)
