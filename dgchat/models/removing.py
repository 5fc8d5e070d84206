"""`dgchat rm NAME`: takes a model from the disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

import click

from dgchat.exits import Exit, Failure, of_engine
from dgchat.notes import Notes
from dgchat.sanitize import clean_line
from dgengine import EngineError, hub


def rm(words: Sequence[str], yes: bool, quiet: bool, stdin: TextIO | None = None, stderr: TextIO | None = None) -> Exit:
    """Removes all versions of a model, and parts of them, once the user has said yes; tells how much is free now.

    Raises:
        click.UsageError: there is not one name, or nobody to ask.
        Failure: there is no such model, or it cannot be removed (exit code 3).
    """
    stdin, stderr = stdin or sys.stdin, stderr or sys.stderr
    if len(words) != 1:
        raise click.UsageError("dgchat rm takes one NAME; dgchat models lists what is here.")
    if words[0] == "pocket":
        raise Failure("pocket is built in: it cannot be removed.", Exit.MODEL)
    notes = Notes(stderr, quiet)
    try:
        if not yes and not _agreed(words[0], stdin, stderr):
            notes.say("Nothing has been removed.")
            return Exit.FINE
        freed = hub.remove(words[0])
    except EngineError as error:
        raise of_engine(error) or error from error
    notes.say(f"{words[0]} is removed; {hub.amount(freed)} are free again.")
    return Exit.FINE


def _agreed(name: str, stdin: TextIO | None, stderr: TextIO) -> bool:
    """Asks on the terminal.

    Raises:
        click.UsageError: there is none. ModelNotFoundError: nothing is there to remove.
    """
    size = hub.removable(name)
    if stdin is None or not (stdin.isatty() and stderr.isatty()):
        raise click.UsageError("dgchat rm asks first, which needs a terminal; --yes removes without.")
    stderr.write(f"dgchat: Remove {clean_line(name)} ({hub.amount(size)})? [y/N] ")
    stderr.flush()
    return stdin.readline().strip().lower() in ("y", "yes")
