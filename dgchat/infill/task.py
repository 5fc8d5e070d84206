"""The text of an order and the spans in it, read and checked before any model is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgchat.documents import LIMIT, Contents, Document, fit_newlines
from dgchat.exits import Exit, Failure
from dgchat.infill.order import Order
from dgchat.infill.spans import Range, find, of_match, unmarked
from dgchat.prompt import check_text, read_bytes

if TYPE_CHECKING:
    from dgengine import InfillRequest

_PIPED = "The text on standard input"


@dataclass(frozen=True)
class Task:
    """What is to be rewritten.

    Attributes:
        contents: the text as it was, without marks.
        spans: characters of it.
        document: the file that it comes from; None where it came through a pipe.
        tail: what stood behind piped text that is a part of a file, and is not rewritten: its last newline.
    """

    contents: Contents
    spans: tuple[Range, ...]
    document: Document | None = None
    tail: str = ""

    def replacements(self, found: Sequence[str]) -> list[str]:
        """What takes the place of the spans, with the newlines of the text."""
        return [fit_newlines(text, self.contents) for text in found]

    def spliced(self, found: Sequence[str]) -> str:
        """The whole text with it. Every character outside the spans is as it was."""
        from dgengine.infill.request import splice

        return splice(self.contents.text, self.spans, self.replacements(found))


def task_of(order: Order) -> Task:
    """Reads the text and finds the spans.

    Raises:
        Failure: it cannot be read, cannot be written where that is asked for, or has no such spans (exit code 4).
    """
    check_text(order.instruction, "The instruction")
    for text in (*order.places.matches, *order.marks):
        check_text(text, "What stands in the text")
    if order.file is not None:
        document = Document.read(order.file)
        if order.write:
            document.check_writable()
        return Task(_as_read(document), find(document, order.places, str(order.file)), document)
    if sys.stdin is None:
        raise Failure("There is no standard input; give a FILE.", Exit.INPUT)
    piped = Contents.of(read_bytes(sys.stdin.buffer, LIMIT), _PIPED)
    if order.within is not None:
        return _part_of(order.within, piped)
    if order.places:
        return Task(piped, find(piped, order.places, _PIPED.lower()))
    text, spans = unmarked(piped.text, order.marks)
    return Task(Contents(text, piped.bom), spans)


def _part_of(path: Path, piped: Contents) -> Task:
    """The place of the piped text in a file. A last newline stays outside, so that lines stay lines."""
    document = Document.read(path)
    part = piped.text.removesuffix("\n").removesuffix("\r")
    if not part:
        raise Failure("There is no text on standard input; select what is to be rewritten.", Exit.INPUT)
    return Task(_as_read(document), (of_match(document, part, str(path)),), tail=piped.text[len(part) :])


def _as_read(document: Document) -> Contents:
    """The text by itself: that of the document is another one once it is written."""
    return Contents(document.text, document.bom)


def request_of(order: Order, task: Task) -> InfillRequest:
    """The request to the engine.

    Raises:
        InfillError: it cannot be met.
    """
    from dgengine import InfillRequest

    return InfillRequest(
        task.contents.text,
        task.spans,
        instruction=order.instruction,
        strength=order.strength,
        candidates=order.candidates,
        length=order.length,  # type: ignore[arg-type]
    )
