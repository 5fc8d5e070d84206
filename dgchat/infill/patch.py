"""A rewrite as a unified diff, as `patch` and `git apply` take it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final, TypeAlias

from dgchat.infill.spans import Range

Change: TypeAlias = tuple[int, int, int, int]
"""Lines of the old text that become lines of the new one: first and end of the old, first and end of the new."""

_CONTEXT: Final = 3
_NO_NEWLINE: Final = "\\ No newline at end of file\n"
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_ODD: Final = re.compile(r'[\x00-\x1f"\\\x7f]')
_MOST_LINES: Final = 2000  # of a span; what is longer is one change
_STYLES: Final = {"---": "1", "+++": "1", "@@ ": "36", "-": "31", "+": "32"}


def unified(name: str, old: str, spans: Sequence[Range], replacements: Sequence[str]) -> list[str]:
    """The lines of the diff, each with its newline; none where nothing changes.

    The text outside the spans is not compared: it is the same. So a large file costs little.

    Args:
        name: of the file, for the header.
        old: its text.
        spans: what is replaced, in order.
        replacements: what takes its place.
    """
    before, after, changes = _changes(old, spans, replacements)
    lines = [f"--- {_named('a/', name)}\n", f"+++ {_named('b/', name)}\n"] if changes else []
    for group in _grouped(changes):
        lines += _hunk(before, after, group)
    return lines


def display_name(path: Path) -> str:
    """A file's name in a diff: relative to the working directory where it lies below, and never beginning with /."""
    whole = Path(os.path.abspath(path))
    try:
        return whole.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return whole.as_posix().lstrip("/")


def painted(line: str) -> str:
    """A line of a diff with the colours of the terminal; it must be free of control characters."""
    body = line.rstrip("\n")
    style = next((style for start, style in _STYLES.items() if body.startswith(start)), None)
    return line if style is None else f"\x1b[{style}m{body}\x1b[0m\n"


def _named(prefix: str, name: str) -> str:
    """As git writes a name: in quotes with escapes where it must be, with a tab behind one with a space."""
    if _ODD.search(name):
        return '"' + prefix + _ODD.sub(lambda match: f"\\{ord(match[0]):03o}", name) + '"'
    return prefix + name + ("\t" if " " in name else "")


def _changes(
    old: str, spans: Sequence[Range], replacements: Sequence[str]
) -> tuple[list[str], list[str], list[Change]]:
    """The lines of both texts, and what differs."""
    before: list[str] = []
    after: list[str] = []
    changes: list[Change] = []
    end = 0
    for start, stop, new in _regions(old, spans, replacements):
        same = _LINE.findall(old[end:start])
        before, after, end = before + same, after + same, stop
        removed, added = _LINE.findall(old[start:stop]), _LINE.findall(new)
        changes += _compared(removed, added, len(before), len(after))
        before, after = before + removed, after + added
    same = _LINE.findall(old[end:])
    return before + same, after + same, changes


def _regions(old: str, spans: Sequence[Range], replacements: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Whole lines that hold spans: where they begin and end in the old text, and what they become."""
    held: tuple[int, int, str] | None = None  # up to the end of its last span
    for (start, stop), new in zip(spans, replacements, strict=True):
        first = old.rfind("\n", 0, start) + 1
        if held is not None and (first == held[1] or first < _line_end(old, held[1])):
            held = held[0], stop, held[2] + old[held[1] : start] + new
            continue
        if held is not None:
            yield _completed(old, held)
        held = first, stop, old[first:start] + new
    if held is not None:
        yield _completed(old, held)


def _completed(old: str, region: tuple[int, int, str]) -> tuple[int, int, str]:
    start, stop, new = region
    end = _line_end(old, stop)
    return start, end, new + old[stop:end]


def _line_end(text: str, place: int) -> int:
    """Where the line ends that a character stands in, with its newline."""
    end = text.find("\n", place)
    return end + 1 if end >= 0 else len(text)


def _compared(removed: Sequence[str], added: Sequence[str], first: int, other: int) -> list[Change]:
    if max(len(removed), len(added)) > _MOST_LINES:
        codes = [("replace", 0, len(removed), 0, len(added))] if removed != added else []
    else:
        codes = SequenceMatcher(None, removed, added, autojunk=False).get_opcodes()  # type: ignore[assignment]
    return [(first + a, first + b, other + c, other + d) for tag, a, b, c, d in codes if tag != "equal"]


def _grouped(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Changes whose context would touch, together."""
    group: list[Change] = []
    for change in changes:
        if group and change[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _hunk(before: Sequence[str], after: Sequence[str], group: Sequence[Change]) -> Iterator[str]:
    lead = min(_CONTEXT, group[0][0])
    tail = min(_CONTEXT, len(before) - group[-1][1])
    start, other = group[0][0] - lead, group[0][2] - lead
    old_range, new_range = _counted(start, group[-1][1] + tail), _counted(other, group[-1][3] + tail)
    yield f"@@ -{old_range} +{new_range} @@\n"
    place = start
    for a, b, c, d in group:
        yield from _marked(" ", before[place:a])
        yield from _marked("-", before[a:b])
        yield from _marked("+", after[c:d])
        place = b
    yield from _marked(" ", before[place : place + tail])


def _counted(start: int, end: int) -> str:
    """ "12,3": the first line, from 1, and how many; of none the one before."""
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + (count > 0)},{count}"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line if line.endswith("\n") else f"{mark}{line}\n"
        if not line.endswith("\n"):
            yield _NO_NEWLINE
