"""Text files as context: an `@path` in a message puts the file in front of it. Knows no screen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LARGEST_FILE: Final = 1 << 20  # bytes of a file that is given as context
_AT = re.compile(r"(?:^|\s)@(\S+)")
_BLOCK = re.compile(r"([^\n]+):\n(`{3,})\n(.*?)\n\2(?:\n\n|$)", re.DOTALL)


class FileError(Exception):
    """A file cannot be given as context; the text is one sentence."""


@dataclass(frozen=True)
class Context:
    """A file that stands in front of a message."""

    name: str
    text: str


def with_files(text: str, folder: Path) -> str:
    """The text with the contents of every `@file` that exists in front of it; an @word that is no file stays a word.

    Raises:
        FileError: a file that is too large, is not UTF-8 text, or cannot be read.
    """
    blocks = []
    for written in dict.fromkeys(_AT.findall(text)):
        path = _existing(written, folder)
        if path is not None:
            content = _read(path, written)
            fence = _fence(content)
            blocks.append(f"{path.name}:\n{fence}\n{content}\n{fence}")
    return "\n\n".join([*blocks, text])


def split_files(text: str) -> tuple[list[Context], str]:
    """The files that `with_files` put in front of a message, and the message itself."""
    files: list[Context] = []
    place = 0
    while match := _BLOCK.match(text, place):
        files.append(Context(match[1], match[3]))
        place = match.end()
    return files, text[place:]


def _fence(content: str) -> str:
    """Backticks, more of them than stand together anywhere in the file."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return "`" * max(3, longest + 1)


def _existing(written: str, folder: Path) -> Path | None:
    """The file that was meant; a stop behind the path belongs to the sentence."""
    for name in (written, written.rstrip(".,;:!?)")):
        try:
            path = folder / Path(name).expanduser()
            if name and path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # too long, a null byte, or no such user's home
            continue
    return None


def _read(path: Path, written: str) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise FileError(f"@{written} is larger than {LARGEST_FILE >> 20} MiB; give a part of it.")
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").strip("\n")
    except UnicodeDecodeError as error:
        raise FileError(f"@{written} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise FileError(f"@{written} cannot be read: {error.strerror}.") from error
