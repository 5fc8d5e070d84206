"""What is to be rewritten, and how. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from dgengine.errors import InfillError

Range: TypeAlias = tuple[int, int]
Length: TypeAlias = int | Literal["search", "same"]
Method: TypeAlias = Literal["ladder", "pinned", "splice"]

STRENGTHS: Final = MappingProxyType({"polish": 0.3, "rephrase": 0.6, "rewrite": 1.0})
MOST_CANDIDATES: Final = 16


@dataclass(frozen=True, slots=True)
class InfillRequest:
    """A text, the spans of it to rewrite, and how.

    Attributes:
        text: the whole document. All positions below count its characters (code points), ends exclusive.
        spans: what to rewrite, in order and apart from each other; an empty one (5, 5) asks for an insertion.
        instruction: what the new text is to be like; may be empty.
        strength: the share of a span's tokens that starts as noise, above 0 and at most 1: polish 0.3,
            rephrase 0.6, rewrite 1.0. What stands at first is not pinned.
        candidates: how many different rewrites to give at most, 1 to 16.
        length: "search" tries several lengths and keeps the best; "same" keeps the number of tokens (an
            insertion gets 16); a number is the number of tokens that each span gets.
        keep: parts of the spans that must stay as they are (words pinned beforehand), in order.
        method: "pinned" holds both sides on the canvas; "splice" writes on freely and cuts where the text
            after the span begins; "ladder" is pinned, and splice where no pinned candidate joins.
        show_sides: whether the prompt shows the text around the span; for measuring what that is worth.
    """

    text: str
    spans: tuple[Range, ...]
    instruction: str = ""
    strength: float = 1.0
    candidates: int = 3
    length: Length = "search"
    keep: tuple[Range, ...] = ()
    method: Method = "ladder"
    show_sides: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", _ranges(self.spans))
        object.__setattr__(self, "keep", _ranges(self.keep))
        self._check_text()
        self._check_ranges()
        self._check_values()

    @classmethod
    def around(cls, before: str, span: str, after: str, **how: object) -> InfillRequest:
        """A request for one span, given as the text before it, the span, and the text after it."""
        spans = ((len(before), len(before) + len(span)),)
        return cls(before + span + after, spans, **how)  # type: ignore[arg-type]

    def _check_text(self) -> None:
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise InfillError(f"The text has a lone surrogate at character {error.start}: it is no Unicode.") from error

    def _check_ranges(self) -> None:
        if not self.spans:
            raise InfillError("There is nothing to rewrite: give at least one span.")
        end = 0
        for start, stop in self.spans:
            if not 0 <= start <= stop <= len(self.text):
                raise InfillError(f"The span {start}:{stop} is not within the text of {len(self.text):,} characters.")
            if start < end:
                raise InfillError(f"The span {start}:{stop} is not behind the one before it: give them in order.")
            end = max(stop, start + 1)
        last = 0
        for start, stop in self.keep:
            if start < last or start >= stop or not any(a <= start and stop <= b for a, b in self.spans):
                raise InfillError(f"What is to be kept, {start}:{stop}, does not lie within a span, in order.")
            last = stop

    def _check_values(self) -> None:
        if not (_is_number(self.strength) and 0 < self.strength <= 1):
            raise InfillError(f"The strength must be above 0 and at most 1, not {self.strength!r}.")
        if not (_is_whole(self.candidates) and 1 <= self.candidates <= MOST_CANDIDATES):
            raise InfillError(f"The number of candidates must be 1 to {MOST_CANDIDATES}, not {self.candidates!r}.")
        if self.length not in ("search", "same") and not (_is_whole(self.length) and int(self.length) >= 1):
            raise InfillError(f"The length must be search, same, or a number of tokens, not {self.length!r}.")
        if self.method not in ("ladder", "pinned", "splice"):
            raise InfillError(f"The method must be ladder, pinned or splice, not {self.method!r}.")


def splice(text: str, spans: Sequence[Range], replacements: Iterable[str]) -> str:
    """`text` with each span replaced; every character outside the spans stays as it was."""
    parts, end = [], 0
    for (start, stop), replacement in zip(spans, replacements, strict=True):
        parts += [text[end:start], replacement]
        end = stop
    return "".join([*parts, text[end:]])


def fitted(text: str, document: str) -> str:
    """`text` with the line ends of a document that has one kind of them."""
    if "\r\n" in document and document.count("\n") == document.count("\r\n"):
        return text.replace("\r\n", "\n").replace("\n", "\r\n")
    return text


def _ranges(ranges: Iterable[Range]) -> tuple[Range, ...]:
    return tuple((int(start), int(stop)) for start, stop in ranges)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
