"""`dgchat history export ID FORMAT [FILE]`: how the last answer of a chat came about, as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dgchat.exits import Exit, Failure
from dgchat.export.formats import Format
from dgchat.history.store import Store

if TYPE_CHECKING:
    from dgchat.export.options import Options


@dataclass(frozen=True)
class Wanted:
    """How a trace is to be exported: see `dgchat.replay.options_of`."""

    width: int | None = None
    speed: float | None = None
    step: int | None = None
    force: bool = False


def export_trace(store: Store, chat: int, form: Format, target: Path | None, wanted: Wanted, out: TextIO) -> None:
    """Writes the trace of the chat's last traced answer to a file, or where none is named to `out`.

    Raises:
        Failure: no answer is traced, or the trace is damaged (exit code 4); the format needs a file and there is
            none, or it cannot be written (exit code 2).
    """
    from dgchat.export.writing import check_free, write
    from dgchat.trace.files import opened

    if target is None and form.binary:
        raise Failure(f"{form.name} is no text: name a file, such as chat-{chat}{form.ending}.", Exit.USAGE)
    if target is not None:
        check_free(target, wanted.force)
    data = form.export(opened(_last(store, chat), f"chat {chat}"), _options(wanted))
    if target is not None:
        write(target, data, wanted.force)
    else:
        out.write(data.decode())


def _last(store: Store, chat: int) -> bytes:
    """The trace of the last answer that has one, on the branch that the chat stands at."""
    for message in reversed(store.path(store.conversation(chat).leaf)):
        data = store.trace(message.id) if message.traced else None
        if data is not None:
            return data
    raise Failure(f"No answer of chat {chat} is traced.", Exit.INPUT)


def _options(wanted: Wanted) -> Options:
    from dgchat.replay import options_of
    from dgchat.settings import load

    return options_of(load({}), wanted.width, wanted.speed, wanted.step)
