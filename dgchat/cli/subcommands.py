"""What dgchat does: answers once, opens a chat, or one of its subcommands. Each imports what it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dgchat.cli.completing import SHELLS, script
from dgchat.exits import Exit, Failure, complain

if TYPE_CHECKING:
    from dgchat.inline.answer import Mode
    from dgchat.settings import Settings


def answer_once(words: Sequence[str], flags: dict[str, Any], mode: Mode) -> Exit:
    """Answers a prompt, that is these words and what is piped in."""
    settings = _settings(flags)
    from dgchat.prompt import check_text, read_prompt

    check_text(settings.system or "", "The system prompt")
    prompt = read_prompt(words, sys.stdin)
    from dgchat.inline.answer import Request, answer

    trace = Path(flags["trace"]) if flags["trace"] else None
    images = tuple(map(Path, flags["image"]))
    return answer(Request(prompt, settings, mode, trace, bool(flags["force"]), flags["top_k"] or 0, images))


def open_chat(flags: dict[str, Any], resume: int | None = None) -> Exit:
    """Opens the chat on a terminal, at an earlier chat where its number is given.

    Raises:
        click.UsageError: this is no terminal.
    """
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("There is no prompt; a chat needs a terminal, and neither --json nor --events.")
    if os.environ.get("TERM") == "dumb":
        raise click.UsageError('A chat needs a terminal that can do more than TERM=dumb says; try dgchat "a prompt".')
    settings = _settings(flags)
    from dgchat.app.chat import chat

    return chat(settings, resume, tuple(map(Path, flags["image"])))


def _settings(flags: dict[str, Any]) -> Settings:
    """The settings, after a note on stderr for each key that means nothing."""
    from dgchat.settings import load

    settings = load(flags)
    if not settings.quiet:
        for warning in settings.warnings:
            complain(warning)
    return settings


def _config(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    if words:
        raise click.UsageError("dgchat config takes no words; to use it as a prompt: dgchat -- config ...")
    from dgchat.paths import settings_file
    from dgchat.sanitize import clean_line
    from dgchat.settings import report

    rows = report(_settings(flags))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=False))
        click.echo("  ".join([*cells, row[3]]).rstrip())
    path = settings_file()
    state = "" if path.exists() else " (not there)"
    click.echo(f"\nsettings file: {clean_line(str(path))}{state}")
    return Exit.FINE


def _help(words: Sequence[str], _: dict[str, Any]) -> Exit:
    import shutil

    from dgchat.guide import show

    topic = " ".join(words)
    color = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if show(topic, sys.stdout, color, shutil.get_terminal_size().columns):
        return Exit.FINE
    raise click.UsageError(f"The guide says nothing about {topic!r}; dgchat help prints all of it.")


def _history(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.history.command import history, resumed

    chat = resumed(words)
    if chat is not None:
        return open_chat(flags, chat)
    from dgchat.history.traces import Wanted

    wanted = Wanted(flags["width"], flags["speed"], flags["step"], bool(flags["force"]))
    return history(words, bool(flags["json"]), wanted=wanted)


def _replay(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.replay import order_of, replay

    return replay(order_of(words, flags), _settings(flags))


def _edit(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.editor.command import edit

    return edit(words, lambda: _settings(flags))


def _infill(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.infill.order import order_of

    order = order_of(words, flags, piped=sys.stdin is not None and not sys.stdin.isatty())
    settings = _settings(flags)
    from dgchat.infill.command import infill

    return infill(order, settings)


def _pull(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.pulling import pull

    return pull(words, flags["revision"], _settings(flags))


def _models(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.listing import models

    return models(words, bool(flags["json"]), _settings(flags).quiet)


def _rm(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.removing import rm

    return rm(words, bool(flags["yes"]), _settings(flags).quiet)


def _convert(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.converting import convert

    return convert(words, _settings(flags))


def _key(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.key_command import key

    return key(words, _settings(flags))


def _doctor(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.doctor import doctor

    try:
        quiet = _settings(flags).quiet
    except Failure as failure:  # settings that are wrong are no reason not to look at the machine
        complain(str(failure))
        quiet = bool(flags["quiet"])
    return doctor(words, bool(flags["json"]), quiet)


def _bench(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.bench.command import bench, order_of

    order = order_of(words, flags)
    return bench(order, _settings(flags))


def _completion(words: Sequence[str], _: dict[str, Any]) -> Exit:
    if len(words) != 1 or words[0] not in SHELLS:
        raise click.UsageError(f"dgchat completion takes one of {', '.join(SHELLS)}.")
    click.echo(script(words[0], click.get_current_context().command))
    return Exit.FINE


SUBCOMMANDS: Final[dict[str, Callable[[Sequence[str], dict[str, Any]], Exit]]] = {
    "config": _config,
    "help": _help,
    "history": _history,
    "replay": _replay,
    "edit": _edit,
    "infill": _infill,
    "models": _models,
    "pull": _pull,
    "rm": _rm,
    "convert": _convert,
    "key": _key,
    "doctor": _doctor,
    "bench": _bench,
    "completion": _completion,
}
