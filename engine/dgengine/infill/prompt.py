"""The prompt of an infill: one template for the engine and for the training of the built-in model. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dgengine.infill.request import Range

OPEN: Final = "\u27e6"
CLOSE: Final = "\u27e7"
_TEMPLATE: Final = (
    "Rewrite the marked part of the text. Keep everything else exactly as it is.\nInstruction: {instruction}\nText:\n"
)


def prompt(text: str, instruction: str = "") -> str:
    """The user's turn for a text whose spans stand between marks."""
    return _TEMPLATE.format(instruction=instruction.strip() or "none") + text


def marked(text: str, spans: Sequence[Range]) -> str:
    """`text` with marks around each span; those of an empty one stand together."""
    parts, end = [], 0
    for start, stop in spans:
        parts += [text[end:start], OPEN, text[start:stop], CLOSE]
        end = stop
    return "".join([*parts, text[end:]])


def only_marked(text: str, spans: Iterable[Range]) -> str:
    """The spans alone, without what stands around them."""
    return "".join(f"{OPEN}{text[start:stop]}{CLOSE}" for start, stop in spans)
