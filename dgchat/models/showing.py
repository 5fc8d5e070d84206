"""How far a download is: a bar on a terminal, and elsewhere a line now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from dgchat.notes import Notes
from dgchat.sanitize import clean_line
from dgengine import hub

if TYPE_CHECKING:
    from rich.progress import Progress

_PAUSE = 5.0  # seconds between two lines


class Shown:
    """Shows nothing, but knows how far it is; a context manager."""

    how_far = ""
    """ "7.1 of 18.8 GB"; "" before the first byte."""

    def show(self, transfer: hub.Transfer) -> None:
        """Takes the next report."""
        if transfer.done:
            self.how_far = hub.share(transfer.done, transfer.total)

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Nothing is to be put in order."""


class Lines(Shown):
    """A line at the beginning, if there is something to fetch, then one every few seconds."""

    def __init__(self, stream: TextIO, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._notes, self._name, self._clock = Notes(stream, quiet=False, transient=False), name, clock
        self._next: float | None = None

    def show(self, transfer: hub.Transfer) -> None:
        super().show(transfer)
        now = self._clock()
        if self._next is None and transfer.stage == "check":  # all is here, and this takes no time mostly
            self._next = now + _PAUSE
        if self._next is None or now >= self._next:
            self._next = now + _PAUSE
            self._notes.say(f"{self._name}: {told(transfer)}")


class Bar(Shown):
    """A line that changes: the name, a bar, and numbers. It goes away at the end."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._progress = _progress(stream)
        self._task = self._progress.add_task(clean_line(name), total=None, told="asking the hub")

    def show(self, transfer: hub.Transfer) -> None:
        super().show(transfer)
        self._progress.update(
            self._task, total=transfer.total, completed=transfer.done, told=told(transfer), refresh=True
        )

    def __enter__(self) -> Bar:
        self._progress.start()
        self._progress.refresh()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._progress.stop()


def told(transfer: hub.Transfer) -> str:
    """ "7.1 of 18.8 GB, 84 MB/s, 3 min left"."""
    if transfer.stage == "check":
        return f"checking {hub.share(transfer.done, transfer.total)}"
    parts = [hub.share(transfer.done, transfer.total)]
    if transfer.speed and transfer.seconds_left is not None:
        parts += [f"{hub.amount(transfer.speed)}/s", f"{hub.duration(transfer.seconds_left)} left"]
    return ", ".join(parts)


def _progress(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream)
    name, numbers = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[told]}", markup=False)
    # No thread of rich's own: each report draws. And both streams stay as they are: `hushed` sees to them.
    return Progress(
        name, BarColumn(bar_width=None), numbers, console=console, auto_refresh=False, transient=True, expand=True,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip


def shown(stream: TextIO, quiet: bool, name: str) -> Shown:
    """What suits the stream."""
    if quiet:
        return Shown()
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Bar(stream, name)
    return Lines(stream, name)
