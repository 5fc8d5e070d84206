"""Completion of what stands before the cursor: /commands, their choices, and @files. Knows no screen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgchat.images.pasting import SUFFIXES

_MOST = 50  # entries offered at once
_MOST_READ = 5000  # entries of a folder that are looked at
_PATH = re.compile(r"(?:^|\s)@(\S*)$")
_OF_IMAGES = "image"  # the command behind which the path of an image stands


@dataclass(frozen=True)
class Candidate:
    """One way to go on.

    Attributes:
        text: what takes the place of the text from `start` to the cursor.
        help: a few words about it.
    """

    text: str
    start: int
    help: str = ""


def complete(
    before: str, commands: Mapping[str, str], choices: Callable[[str], Sequence[str]], folder: Path
) -> list[Candidate]:
    """What may stand in the place of the last word.

    Args:
        before: the text from the beginning to the cursor.
        commands: the /commands without their slash, and what they do.
        choices: the words that may follow a command; empty where any may.
        folder: where relative paths begin.
    """
    if before.startswith("/") and "\n" not in before:
        name, space, rest = before[1:].partition(" ")
        if not space:
            return [Candidate(f"/{known}", 0, does) for known, does in commands.items() if known.startswith(name)]
        start = len(before) - len(rest)
        if name == _OF_IMAGES:
            return _paths(rest, start, folder, SUFFIXES)
        return [Candidate(choice, start) for choice in choices(name) if choice.startswith(rest)][:_MOST]
    at = _PATH.search(before)
    return _paths(at[1], at.start(1), folder) if at else []


def _paths(written: str, start: int, folder: Path, endings: tuple[str, ...] = ()) -> list[Candidate]:
    """The files and folders whose path begins as `written`; folders end in a slash.

    Args:
        endings: of the files that are meant, which may have spaces in their names; empty for any file without.
    """
    head, _, tail = written.rpartition("/")
    found = []
    try:
        base = folder / Path((head + "/") if head or written.startswith("/") else "").expanduser()
        with os.scandir(base) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_READ:
                    break
                hidden = entry.name.startswith(".") and not tail.startswith(".")
                fits = entry.name.startswith(tail) and not hidden and entry.name.isprintable()
                if fits and (_is_meant(entry, endings) if endings else " " not in entry.name):
                    found.append((entry.is_dir(), entry.name))
    except (OSError, ValueError, RuntimeError):  # no such folder or home, or none that may be read: nothing to offer
        return []
    prefix = written[: len(written) - len(tail)]
    return [Candidate(prefix + name + ("/" if is_folder else ""), start) for is_folder, name in sorted(found)[:_MOST]]


def _is_meant(entry: os.DirEntry[str], endings: tuple[str, ...]) -> bool:
    return entry.is_dir() or entry.name.lower().endswith(endings)
