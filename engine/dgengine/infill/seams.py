"""Words that are said twice where a rewrite meets the text around it. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dgengine.infill.passage import Passage

_MOST_REPEATED = 6
_WORD = re.compile(r"\w+|[^\w\s]")
_SAID = re.compile(r"[\w.,;:!?]")


def said_twice(passage: Passage, written: Sequence[str]) -> int:
    """Words that are said twice across the seams of a passage."""
    total = 0
    for number, ((start, stop), text) in enumerate(zip(passage.spans, written, strict=True)):
        before = passage.text[passage.spans[number - 1][1] if number else 0 : start]
        end = passage.spans[number + 1][0] if number + 1 < len(written) else len(passage.text)
        total += repeated(before, text, passage.text[stop:end])
    return total


def repeated(before: str, inside: str, after: str) -> int:
    """Words said twice in a row across the seams: the end of one side and the beginning of the other.

    A full stop or comma alone counts too, a bracket alone does not; nor does what one part repeats within itself.
    """
    reach = 40 * _MOST_REPEATED
    left, right = _words(before[-reach:]), _words(after[:reach])
    return _overlap(left, _words(inside[:reach])) + _overlap(_words(inside[-reach:]), right)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _overlap(left: list[str], right: list[str]) -> int:
    for count in range(min(len(left), len(right), _MOST_REPEATED), 0, -1):
        if left[-count:] == right[:count] and (count > 1 or _SAID.match(right[0])):
            return count
    return 0
