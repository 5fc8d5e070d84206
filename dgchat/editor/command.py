"""`dgchat edit FILE`: what is wrong with it is said before the app starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from dgchat.exits import Exit
from dgchat.settings import Settings


def edit(words: Sequence[str], settings: Callable[[], Settings]) -> Exit:
    """Opens the file that the words after `edit` name.

    Raises:
        click.UsageError: there is not one file, or no terminal.
        Failure: the file cannot be edited (exit code 4), or the editor ended by an error of its own.
    """
    if len(words) != 1:
        raise click.UsageError("dgchat edit takes one FILE; as a prompt: dgchat -- edit ...")
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("dgchat edit needs a terminal; dgchat infill rewrites a file without one.")
    from dgchat.editor.files import TextFile

    file = TextFile.open(Path(words[0]))
    from dgchat.editor.app import edit as run

    return run(file, settings())
