"""Text files as context: an `@path` in a message puts the file in front of it. Knows no screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dgchat.sanitize import clean

LARGEST_FILE: Final = 1 << 20  # bytes of a file that is given as context
_AT = re.compile(r"(?:^|\s)@(\S+)")
_STOPS = ".,;:!?)"  # behind a path they belong to the sentence
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
    blocks: dict[Path, str] = {}
    for written in _AT.findall(text):
        path = _existing(written, folder)
        if path is not None and path not in blocks:
            content = _read(path, written)
            fence = _fence(content)
            blocks[path] = f"{path.name}:\n{fence}\n{content}\n{fence}"
    return "\n\n".join([*blocks.values(), text])


def split_files(text: str) -> tuple[list[Context], str]:
    """The files that `with_files` put in front of a message, and the message itself.

    A block that looks like a file, and whose name the message does not mention, is a part of the message.
    """
    files: list[Context] = []
    ends = [0]
    while match := _BLOCK.match(text, ends[-1]):
        files.append(Context(match[1], match[3]))
        ends.append(match.end())
    while files and not _mentioned(files, text[ends[-1] :]):
        files.pop()
        ends.pop()
    return files, text[ends[-1] :]


def _mentioned(files: Sequence[Context], words: str) -> bool:
    """Whether `words` mention these files, in this order."""
    mentions = iter({at.rstrip(_STOPS): at for at in _AT.findall(words)}.items())
    return all(any(file.name in (Path(short).name, Path(at).name) for short, at in mentions) for file in files)


def _fence(content: str) -> str:
    """Backticks, more of them than stand together anywhere in the file."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return "`" * max(3, longest + 1)


def _existing(written: str, folder: Path) -> Path | None:
    """The file that was meant."""
    for name in (written, written.rstrip(_STOPS)):
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
        return clean(path.read_bytes().decode("utf-8-sig")).strip("\n")
    except UnicodeDecodeError as error:
        raise FileError(f"@{written} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise FileError(f"@{written} cannot be read: {error.strerror}.") from error
