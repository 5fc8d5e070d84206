"""Opens the database of chats, whatever state it is in: a file that cannot be used is left or set aside, never lost."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dgchat.history.schema import STEPS, NewerDatabaseError
from dgchat.history.store import BUSY_SECONDS, Store, lenient_text

CHECKED_BYTES: Final = 32 * 2**20  # a file up to this size is read through before it is used
_BESIDE = ("", "-wal", "-shm")  # the files that a database consists of


@dataclass(frozen=True)
class Opened:
    """An open database, and a sentence for the user where it is not the one that was asked for."""

    store: Store
    remark: str | None = None


def open_history(path: Path) -> Opened:
    """Opens the database at `path`, or the next best.

    A later version's file stays where it is, and this version's chats go into a file beside it. A damaged file is
    renamed, and a new one begun. Where no file can be had (no room, no right to write), chats last as long as the
    program.
    """
    try:
        return Opened(_sound(path))
    except NewerDatabaseError:
        other = path.with_stem(f"{path.stem}.v{len(STEPS)}")
        begun = open_history(other)
        return Opened(
            begun.store,
            begun.remark
            or f"The chat history {path} belongs to a newer dgchat and was left as it is; "
            f"this version keeps its chats in {other}.",
        )
    except sqlite3.OperationalError as error:  # locked, read-only, no room: nothing is wrong with the file itself
        return _in_memory(path, error)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # a damaged schema may not even be UTF-8
        return _set_aside(path, error)
    except OSError as error:
        return _in_memory(path, error)


def _sound(path: Path) -> Store:
    if path.exists() and path.stat().st_size <= CHECKED_BYTES:
        _check(path)
    return Store(path)


def _check(path: Path) -> None:
    """Raises sqlite3.DatabaseError where the file is damaged."""
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
        database.text_factory = lenient_text
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _set_aside(path: Path, error: Exception) -> Opened:
    aside = path.with_stem(f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_stem(f"{aside.stem}-{number}")
    try:
        for ending in _BESIDE:
            piece = path.with_name(path.name + ending)
            if piece.exists():
                piece.rename(aside.with_name(aside.name + ending))
        store = Store(path)
    except (OSError, sqlite3.Error) as second:
        return _in_memory(path, second)
    return Opened(
        store, f"The chat history {path} is damaged ({error}); it was set aside as {aside.name}, and a new one begun."
    )


def _in_memory(path: Path, error: Exception) -> Opened:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return Opened(Store(None), f"The chat history {path} cannot be used ({reason}); chats are not kept this time.")
