"""`dgchat history`: lists, searches and exports chats on the command line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click

from dgchat.exits import Exit, Failure, complain
from dgchat.export.formats import FORMATS as TRACE_FORMATS
from dgchat.history.export import FORMATS, conversation_dict, export, hit_dict, timestamp
from dgchat.history.opening import open_history
from dgchat.history.purging import copies_beside, purge
from dgchat.history.store import FOUND_BEGIN, FOUND_END, Store
from dgchat.history.traces import Wanted, export_trace
from dgchat.paths import history_file
from dgchat.sanitize import clean_line, clean_piece

_LISTED = 50
_USAGE = (
    f"dgchat history takes: list, search WORDS, resume ID, show ID, export ID [md|json], "
    f"export ID {'|'.join(TRACE_FORMATS)} [FILE], rename ID TITLE, delete ID, restore ID."
)


def history(words: Sequence[str], as_json: bool, out: TextIO | None = None, wanted: Wanted | None = None) -> Exit:
    """Runs `dgchat history WORDS`; `wanted` tells how a trace is to be exported.

    Raises:
        click.UsageError: the words are no command; Failure: no such chat (exit code 4).
    """
    out = out or sys.stdout
    opened = open_history(history_file())
    if opened.remark:
        complain(opened.remark)
    with opened.store as store:
        purge(store, copies_beside(store))
        command, *rest = list(words) or ["list"]
        if command == "list" and not rest:
            _list(store, as_json, out)
        elif command == "search" and rest:
            return _search(store, " ".join(rest), as_json, out)
        elif command == "export" and len(rest) in (2, 3) and rest[1] in TRACE_FORMATS:
            target = Path(rest[2]) if len(rest) == 3 else None
            export_trace(store, _known(store, rest[0]), TRACE_FORMATS[rest[1]], target, wanted or Wanted(), out)
        elif command in ("show", "export") and len(rest) in (1, 2) and (len(rest) == 1 or command == "export"):
            form = rest[1] if len(rest) == 2 else "json" if as_json else "md"
            if form not in FORMATS:
                known = ", ".join((*FORMATS, *TRACE_FORMATS))
                raise click.UsageError(f"A chat is exported as one of {known}, not {form!r}.")
            out.write(export(store, _known(store, rest[0]), form))
            if form == "json":
                out.write("\n")
        elif command in _CHANGES and len(rest) >= 1:
            _CHANGES[command](store, _known(store, rest[0]), " ".join(rest[1:]))
        else:
            raise click.UsageError(_USAGE)
    return Exit.FINE


def resumed(words: Sequence[str]) -> int | None:
    """The chat that `dgchat history resume ID` names; None where the words are another command.

    Raises:
        click.UsageError: there is no id, or none that is a number.
    """
    if list(words[:1]) != ["resume"]:
        return None
    if len(words) != 2 or not words[1].isdecimal():
        raise click.UsageError("dgchat history resume takes the id of a chat; dgchat history lists them.")
    return int(words[1])


def _list(store: Store, as_json: bool, out: TextIO) -> None:
    chats = store.conversations() if as_json else store.conversations(_LISTED)
    if as_json:
        out.write(json.dumps([conversation_dict(chat) for chat in chats], indent=2) + "\n")
        return
    width = max((len(str(chat.id)) for chat in chats), default=1)
    for chat in chats:
        out.write(f"{chat.id:>{width}}  {timestamp(chat.updated)}  {clean_line(chat.title)}\n")
    if not chats:
        complain("There are no chats yet.")


def _search(store: Store, words: str, as_json: bool, out: TextIO) -> Exit:
    hits = store.search(words)
    if as_json:
        out.write(json.dumps([hit_dict(hit) for hit in hits], indent=2) + "\n")
        return Exit.FINE
    for hit in hits:
        chat = hit.conversation
        head = f"{chat.id}  {timestamp(chat.updated)}  {clean_line(chat.title)}"
        out.write(f"{_bold(head, out)}\n    {_marked(hit.excerpt, out)}\n")
    if not hits:
        complain(f"No chat has {words!r} in it.")
    return Exit.FINE


def _marked(excerpt: str, out: TextIO) -> str:
    """One line, each word found in bold where `out` is a terminal."""
    parts = re.split(f"{FOUND_BEGIN}(.*?){FOUND_END}", excerpt, flags=re.DOTALL)
    cleaned = [clean_piece(part) for part in parts]
    return "".join(_bold(part, out) if place % 2 else part for place, part in enumerate(cleaned))


def _bold(text: str, out: TextIO) -> str:
    return f"\x1b[1m{text}\x1b[0m" if text and out.isatty() else text


def _known(store: Store, text: str) -> int:
    """The id of a chat that is there."""
    try:
        return store.conversation(int(text)).id
    except (ValueError, LookupError, OverflowError):
        raise Failure(f"There is no chat {text!r}; dgchat history lists them.", Exit.INPUT) from None


def _rename(store: Store, chat: int, title: str) -> None:
    if not clean_line(title).strip():
        raise click.UsageError("dgchat history rename takes an id and a title.")
    store.rename(chat, clean_line(title).strip())


def _delete(store: Store, chat: int, rest: str) -> None:
    if rest:
        raise click.UsageError("dgchat history delete takes one id.")
    store.delete(chat)
    complain(f"Deleted; dgchat history restore {chat} brings it back within a day.")


def _restore(store: Store, chat: int, rest: str) -> None:
    if rest:
        raise click.UsageError("dgchat history restore takes one id.")
    store.restore(chat)


_CHANGES = {"rename": _rename, "delete": _delete, "restore": _restore}
