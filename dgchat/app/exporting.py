"""A chat, or the steps of an answer, as a file in the present folder. Knows no screen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from dgchat.exits import Failure
from dgchat.history.export import FORMATS, export
from dgchat.history.store import Store
from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from dgchat.settings import Settings
    from dgchat.trace.steps import StepTrace


class ExportError(Exception):
    """The chat cannot be written; the text is one sentence."""


def write_chat(store: Store, chat: int, words: str, folder: Path) -> Path:
    """Writes a chat as Markdown or JSON; a file that is there already is never overwritten.

    Args:
        words: `[md|json] [FILE]`, as the user wrote them; without a file its name comes from the title.

    Returns:
        Where it was written.

    Raises:
        ExportError: there is such a file, or it cannot be written.
    """
    first, _, rest = words.strip().partition(" ")
    form, name = (first, rest.strip()) if first in FORMATS else ("", words.strip())
    form = form or next((known for known in FORMATS if name.endswith(f".{known}")), "md")
    try:
        path = folder / Path(name).expanduser() if name else _free(folder, store.conversation(chat).title, form)
        with path.open("x", encoding="utf-8") as file:
            file.write(export(store, chat, form))
    except FileExistsError:
        raise ExportError(f"{clean_line(name)} is there already; give another name.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        where = f" to {clean_line(name)}" if name else ""
        raise ExportError(f"The chat cannot be written{where}: {clean_line(str(reason))}.") from error
    return path


def _free(folder: Path, title: str, form: str) -> Path:
    """A name after the title that is not taken."""
    stem = "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:40].strip("-") or "chat"
    path = folder / f"{stem}.{form}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.{form}"
    return path


def write_trace(trace: StepTrace, name: str, folder: Path, settings: Settings) -> Path:
    """Writes the steps of an answer in the format that the file's ending names; never over another file.

    Raises:
        ExportError: no such format, there is such a file, or it cannot be written.
    """
    from dgchat.export.formats import format_of
    from dgchat.export.writing import check_free, write
    from dgchat.replay import options_of

    try:
        path = folder / Path(name.strip()).expanduser()
        form = format_of(name.strip())
        check_free(path, force=False)
        write(path, form.export(trace, options_of(settings)), force=False)
    except (Failure, ValueError, RuntimeError) as failure:  # a null byte in the name; no such user's home
        sentence = clean_line(str(failure)).replace("; --force overwrites it", "; give another name")
        raise ExportError(sentence) from failure
    return path
