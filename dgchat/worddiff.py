"""What is different between two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["same", "removed", "added"]
Part: TypeAlias = tuple[Kind, str]

_MARKS: Final = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\u200d"
# Han and kana have no spaces: a word is a character there. A combining mark stays with what it is on.
_WORD: Final = re.compile(rf"[\u3040-\u30ff\u3400-\u9fff][{_MARKS}]*|[\w{_MARKS}]+|\n|[^\S\n]+|[^\w\s][{_MARKS}]*")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
# The time grows with the square of the number of parts: of more words, lines are compared first; of more lines, none.
_MOST_WORDS: Final = 2000
_MOST_LINES: Final = 5000


def diff(old: str, new: str) -> list[Part]:
    """The way from `old` to `new`.

    Returns:
        (kind, text) in order, no text empty and no kind twice in a row; what is removed comes before what is added in
        its place. "same" and "removed" together are `old`, "same" and "added" together are `new`.
    """
    return list(_joined(_compare(old, new)))


def _compare(old: str, new: str) -> Iterator[Part]:
    before, after = _WORD.findall(old), _WORD.findall(new)
    if max(len(before), len(after)) <= _MOST_WORDS:
        yield from _parts(before, after)
        return
    before, after = _LINE.findall(old), _LINE.findall(new)
    if max(len(before), len(after)) > _MOST_LINES:
        before, after = [old], [new]
    for group in _grouped(_parts(before, after)):
        yield from _refined(*group)


def _refined(same: str, removed: str, added: str) -> Iterator[Part]:
    """A group of lines; those that were changed are compared word by word where they are not too many."""
    yield "same", same
    before, after = _WORD.findall(removed), _WORD.findall(added)
    if before and after and max(len(before), len(after)) <= _MOST_WORDS:
        yield from _parts(before, after)
    else:
        yield from (("removed", removed), ("added", added))


def _parts(before: Sequence[str], after: Sequence[str]) -> Iterator[Part]:
    """The parts of two lists of words or lines. What is alike at both ends needs no search."""
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    a, b = before[head : len(before) - tail], after[head : len(after) - tail]
    yield "same", "".join(before[:head])
    # Blanks are alike everywhere: they only widen what words have found.
    matcher = SequenceMatcher(str.isspace, a, b, autojunk=len(b) > _MOST_WORDS)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            yield "same", "".join(a[i1:i2])
        else:
            yield from (("removed", "".join(a[i1:i2])), ("added", "".join(b[j1:j2])))
    yield "same", "".join(before[len(before) - tail :])


def _alike(before: Sequence[str], after: Sequence[str]) -> int:
    """How many are the same from the beginning on."""
    count = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        count += 1
    return count


def _grouped(parts: Iterable[Part]) -> Iterator[tuple[str, str, str]]:
    """What stayed the same, and then what was removed and added behind it."""
    same, changes = "", {"removed": "", "added": ""}
    for kind, text in parts:
        if kind == "same" and text and any(changes.values()):
            yield same, changes["removed"], changes["added"]
            same, changes = "", {"removed": "", "added": ""}
        if kind == "same":
            same += text
        else:
            changes[kind] += text
    yield same, changes["removed"], changes["added"]


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Neighbours of a kind as one; a blank between two changes is a part of them, for what is read as one change."""
    groups = [list(group) for group in _grouped(parts)]
    for place in range(len(groups) - 1, 0, -1):
        same, removed, added = groups[place]
        before = groups[place - 1]
        # With changes on both sides, of which at least one side each has something to be joined to.
        if same.isspace() and "\n" not in same and (removed or added) and (before[1] or before[2]):
            before[1] += same + removed
            before[2] += same + added
            del groups[place]
    for same, removed, added in groups:
        changes: tuple[Part, ...] = (("same", same), ("removed", removed), ("added", added))
        yield from (part for part in changes if part[1])
