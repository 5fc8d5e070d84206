"""Image files in what is pasted. A terminal pastes the path of a file that is dropped on it, quoted in its own way."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_LONGEST = 32_768  # characters; what is longer is a text
_MOST = 64  # files at once


def pasted_images(text: str, folder: Path) -> list[Path]:
    """The image files that a text names, where it names nothing else; empty where it is a text like any other.

    Paths may be plain, with spaces in them, quoted, escaped by backslashes, or file:// addresses; several stand in a
    row or on a line each. They need not be images really, but end like images, and are there.

    Args:
        folder: where relative paths begin.
    """
    stripped = text.strip()
    if not stripped or len(text) > _LONGEST:
        return []
    for names in _readings(stripped):
        paths = [_image_at(name, folder) for name in names[: _MOST + 1]]
        found = [path for path in paths if path is not None]
        if names and len(found) == len(names):
            return found
    return []


def named_file(words: str, folder: Path) -> Path:
    """The file that somebody means who writes `words`, in any of the ways of `pasted_images`, be it there or not."""
    stripped = words.strip()
    for names in _readings(stripped):
        if len(names) == 1 and (path := _path(names[0], folder)) is not None and _is_file(path):
            return path
    return _path(stripped, folder) or folder / stripped


def _readings(text: str) -> Iterator[list[str]]:
    """The ways to take a text for names, the plainest first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    yield [text]
    yield lines
    with_quotes = [_split(line) for line in lines]
    yield [name for names in with_quotes for name in names]


def _split(line: str) -> list[str]:
    """The words of a shell's line; none where a quotation is not closed."""
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _image_at(name: str, folder: Path) -> Path | None:
    path = _path(name, folder)
    return path if path is not None and path.suffix.lower() in SUFFIXES and _is_file(path) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a null byte
        return False


def _path(name: str, folder: Path) -> Path | None:
    """The path that a name stands for; None for an address that is not of this machine, or no such user's home."""
    try:
        if name.lower().startswith("file:"):
            address = urlsplit(name)
            if address.netloc not in ("", "localhost"):
                return None
            name = unquote(address.path, errors="surrogateescape")
            name = name.lstrip("/") if os.name == "nt" else name
        return folder / Path(name).expanduser()
    except (ValueError, RuntimeError):
        return None
