"""`dgchat replay FILE`: plays a trace, shows a step of it, or makes another file of it. Needs no model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from dgchat.exits import Exit
from dgchat.notes import Notes
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgchat.export.options import Options
    from dgchat.trace.frames import View

_USAGE = 'dgchat replay takes one FILE, which dgchat --trace FILE "..." has written; as a prompt: dgchat -- replay ...'
_WIDTH = 80  # cells of a file's rows


@dataclass(frozen=True)
class Order:
    """What the command line asks for.

    Attributes:
        file: the trace.
        speed: steps a second; None for that of the settings, 0 for as long as each step took.
        step: of all, from 1; None for all of them.
        target: the file to make, and `form` its format, by default that of its ending.
        width: of a row, in cells; None for that of the terminal, or `_WIDTH`.
    """

    file: Path
    inline: bool = False
    speed: float | None = None
    step: int | None = None
    target: Path | None = None
    form: str | None = None
    width: int | None = None
    force: bool = False


def order_of(words: Sequence[str], flags: Mapping[str, Any]) -> Order:
    """The order that the words after `replay` and the options are.

    Raises:
        click.UsageError: there is not one file, or options exclude each other.
    """
    if len(words) != 1:
        raise click.UsageError(_USAGE)
    if flags["export_format"] and not flags["export"]:
        raise click.UsageError("--format goes with --export.")
    if flags["inline"] and flags["export"]:
        raise click.UsageError("--inline and --export exclude each other.")
    target = flags["export"]
    return Order(
        Path(words[0]), bool(flags["inline"]), flags["speed"], flags["step"], Path(target) if target else None,
        flags["export_format"], flags["width"], bool(flags["force"]),
    )  # fmt: skip


def replay(order: Order, settings: Settings, out: TextIO | None = None) -> Exit:
    """Does what is asked for.

    Raises:
        Failure: the trace cannot be used (exit code 4), or what is asked for does not fit it (exit code 2).
        BrokenPipeError: nobody reads the output any more.
    """
    out = out or sys.stdout
    if order.target is not None:
        return _export(order, order.target, settings)
    from dgchat.trace.files import read_trace

    trace = read_trace(order.file)
    if order.step is not None:
        from dgchat.export.options import step_of
        from dgchat.inline.replay import print_step

        width = order.width or shutil.get_terminal_size().columns
        view = view_of(settings, width, order.speed)
        print_step(trace, step_of(trace, order.step), view, settings.theme, out)
        return Exit.FINE
    if not order.inline and order.speed is None and len(trace) and out.isatty() and sys.stdin.isatty():
        from dgchat.app.replay import watch

        return watch(trace, settings)
    from dgchat.inline.replay import play

    play(trace, settings if order.speed is None else replace(settings, pace=order.speed), out)
    return Exit.FINE


def _export(order: Order, target: Path, settings: Settings) -> Exit:
    from dgchat.export.formats import format_of
    from dgchat.export.writing import check_free, write
    from dgchat.trace.files import read_trace

    form = format_of(str(target), order.form)
    check_free(target, order.force)
    options = options_of(settings, order.width, order.speed, order.step)
    data = form.export(read_trace(order.file), options)
    write(target, data, order.force)
    Notes(sys.stderr, settings.quiet).say(f"{target}: {len(data):,} bytes")
    return Exit.FINE


def options_of(
    settings: Settings, width: int | None = None, speed: float | None = None, step: int | None = None
) -> Options:
    """How to export: what is given here, and else what the settings say."""
    from dgchat.export.options import Options

    return Options(view_of(settings, width or _WIDTH, speed), step, settings.theme)


def view_of(settings: Settings, width: int, speed: float | None) -> View:
    """How to look at a trace: what is given here, and else what the settings say."""
    from dgchat.canvas.state import Mode
    from dgchat.trace.frames import Pace, View

    pace = Pace(settings.pace if speed is None else speed)
    return View(width, Mode(settings.colors), motion=settings.motion, pace=pace)
