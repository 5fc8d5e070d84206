"""The models there are, over the chat: one is run, or fetched first."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, ProgressBar, Static
from textual.widgets.option_list import Option

from dgchat.app.background import in_background
from dgchat.app.options import Options
from dgchat.app.screens import Over
from dgchat.exits import of_engine
from dgchat.hush import log_traceback
from dgchat.models.listing import Row, cells, here_rows
from dgchat.models.showing import told
from dgchat.sanitize import clean_line
from dgengine import EngineError, hub

_HINT = "Enter runs a model, or fetches it first   Esc goes back"


class _Stopped(Exception):
    """The user has stopped the download."""


@dataclass(frozen=True)
class Running:
    """The model that answers now.

    Attributes:
        name: as it was asked for.
        loaded: whether it is.
        held: bytes of memory that it holds, and that another one could have.
    """

    name: str
    loaded: bool = True
    held: int = 0


class ModelsScreen(Over[str | None], ModalScreen[str | None]):
    """Known models and those in the cache. Gives the name of the one to run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    @dataclass
    class Listed(Message):
        """What there is."""

        rows: list[Row]

    @dataclass
    class Moved(Message):
        """A download has come further."""

        transfer: hub.Transfer

    @dataclass
    class Ended(Message):
        """A download is over; `trouble` says why it is not whole, "" where it is."""

        name: str
        trouble: str

    def __init__(self, now: Running, offline: bool) -> None:
        """`now`: the model that answers now; `offline`: nothing is to be fetched."""
        super().__init__()
        self._now, self._offline = now, offline
        self._rows: list[Row] = []
        self._stop: threading.Event | None = None  # set to end the download; None while there is none

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Models", id="models-title", markup=False)
            yield Options(id="models")
            yield ProgressBar(id="transfer", show_eta=False, show_percentage=False)
            yield Static("looking at this machine …", id="models-said", markup=False)
            yield Static(_HINT, markup=False)

    def on_mount(self) -> None:
        """Lists the models as soon as it is known how they fit."""
        self.query_one("#transfer").display = False
        self._list()

    def on_unmount(self) -> None:
        """Ends the download; what has come of it stays for the next time."""
        if self._stop is not None:
            self._stop.set()

    def say(self, text: str) -> None:
        """One line below the list."""
        self.query_one("#models-said", Static).update(clean_line(text))

    def _list(self) -> None:
        in_background(self._look)

    def _look(self) -> None:
        try:
            self.post_message(self.Listed(here_rows(self._now.held)))
        except Exception as error:  # noqa: BLE001 - shown in a sentence, and logged
            log_traceback()
            self.post_message(self.Ended("", f"the models cannot be listed ({type(error).__name__}: {error})"))

    @on(Listed)
    def listed(self, listed: Listed) -> None:
        """Shows them; the one that is chosen stays so."""
        options = self.query_one("#models", OptionList)
        chosen = options.highlighted
        self._rows = listed.rows
        if not any(self._runs(row) for row in self._rows):  # it came from a directory
            self._rows.append(Row(self._now.name, None, None, None, "whole", 0, 0, None, None))
        lines = cells(self._rows)
        options.clear_options()
        for row, line in zip(self._rows, lines, strict=True):
            runs = self._runs(row)
            options.add_option(Option(Text(("▸ " if runs else "  ") + line, "bold" if runs else ""), id=row.name))
        first = next((place for place, row in enumerate(self._rows) if self._runs(row)), 0)
        options.highlighted = first if chosen is None else chosen
        options.focus()
        if self._stop is None and chosen is None:
            self.say("")

    def _runs(self, row: Row) -> bool:
        """Whether it is the model that answers now."""
        return self._now.name in (row.name, row.repo)

    @on(OptionList.OptionSelected, "#models")
    def selected(self, selected: OptionList.OptionSelected) -> None:
        """Runs a model that is here, and fetches one that is not."""
        row = self._rows[selected.option_index]
        if self._stop is not None:
            self.say("one model is being fetched; Esc stops that")
        elif self._runs(row) and self._now.loaded:
            self.dismiss(None)
        elif row.state == "whole":
            self.dismiss(row.name)
        elif self._offline:
            self.say(f"{row.name} is not here, and dgchat is set to be offline")
        else:
            self._fetch(row.name)

    # ---- fetching

    def _fetch(self, name: str) -> None:
        self._stop = stop = threading.Event()
        self.say(f"{name}: asking the hub")
        bar = self.query_one("#transfer", ProgressBar)
        bar.display = True
        bar.update(total=None, progress=0)
        in_background(lambda: self._pull(name, stop))

    def _pull(self, name: str, stop: threading.Event) -> None:
        def progress(transfer: hub.Transfer) -> None:
            if stop.is_set():
                raise _Stopped
            self.post_message(self.Moved(transfer))

        try:
            hub.pull(name, progress=progress)
            trouble = ""
        except _Stopped:
            trouble = "stopped; Enter goes on from there"
        except EngineError as error:
            trouble = str(of_engine(error) or error)
        except Exception as error:  # noqa: BLE001 - shown in a sentence, and logged
            log_traceback()
            trouble = f"{name} could not be fetched ({type(error).__name__}: {error})"
        self.post_message(self.Ended(name, trouble))

    @on(Moved)
    def moved(self, moved: Moved) -> None:
        """The bar, and how far it is in words."""
        transfer = moved.transfer
        if self._stop is not None and not self._stop.is_set():
            self.query_one("#transfer", ProgressBar).update(total=transfer.total, progress=transfer.done)
            self.say(f"{told(transfer)}   Esc stops")

    @on(Ended)
    def ended(self, ended: Ended) -> None:
        """It is here, or it is told why not."""
        self._stop = None
        self.query_one("#transfer").display = False
        self.say(ended.trouble or f"{ended.name} is here, whole and checked; Enter runs it")
        self._list()

    def action_leave(self) -> None:
        """Stops the download; without one, goes back."""
        if self._stop is None:
            self.dismiss(None)
        else:
            self._stop.set()
            self.say("stopping")
