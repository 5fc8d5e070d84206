"""Where the spans lie that are to be rewritten: by lines, by what stands there, by bytes, or between marks.

Positions in what is returned count characters; ends are exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from dgchat.documents import BOM, Contents
from dgchat.exits import Exit, Failure
from dgchat.notes import plural

Range: TypeAlias = tuple[int, int]
MARKS: Final = ("⟦", "⟧")
_LISTED: Final = 10  # places of a text that stands several times
_QUOTED: Final = 40  # characters of it


@dataclass(frozen=True)
class Places:
    """What the command line says of them.

    Attributes:
        lines: first and last line, from 1, inclusive.
        matches: texts that stand there exactly once.
        bytes: offsets in the file, end exclusive.
    """

    lines: tuple[Range, ...] = ()
    matches: tuple[str, ...] = ()
    bytes: tuple[Range, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lines or self.matches or self.bytes)


def find(contents: Contents, places: Places, name: str) -> tuple[Range, ...]:
    """The spans in order; `name` is that of the text.

    Raises:
        Failure: one is not there, stands there several times, or overlaps another (exit code 4).
    """
    found = [
        *(of_lines(contents, lines, name) for lines in places.lines),
        *(of_match(contents, text, name) for text in places.matches),
        *(of_bytes(contents, offsets, name) for offsets in places.bytes),
    ]
    spans = tuple(sorted(found))
    _check_apart(spans, contents.text)
    return spans


def _check_apart(spans: Sequence[Range], text: str) -> None:
    for before, after in pairwise(spans):
        if after[0] < max(before[1], before[0] + 1):
            at = position(text, after[0])
            raise Failure(f"Two of the spans lie upon each other at {at}; give them apart.", Exit.INPUT)


def of_lines(contents: Contents, lines: Range, name: str) -> Range:
    """From the beginning of the first line to the end of the last, without its newline.

    Raises:
        Failure: there are not so many lines (exit code 4).
    """
    text, first, last = contents.text, *lines
    newline = "\r" if contents.newline == "\r" else "\n"
    count = text.count(newline) + (not text.endswith(newline)) or 1
    if last > count:
        asked = f"line {first} is" if first == last else f"lines {first}-{last} are"
        raise Failure(f"{name} has {plural(count, 'line')}: {asked} not within it.", Exit.INPUT)
    start = 0
    for _ in range(first - 1):
        start = text.index(newline, start) + 1
    end = start
    for _ in range(last - first):
        end = text.index(newline, end) + 1
    end = text.find(newline, end) if newline in text[end:] else len(text)
    return start, end - (newline == "\n" and end > start and text[end - 1 : end + 1] == "\r\n")


def of_match(contents: Contents, wanted: str, name: str) -> Range:
    """Where a text stands. A newline in it is also found where lines end with CRLF.

    Raises:
        Failure: it stands there not once (exit code 4).
    """
    text = contents.text
    if wanted not in text and contents.newline == "\r\n":
        wanted = wanted.replace("\r\n", "\n").replace("\n", "\r\n")
    places = list(_occurrences(text, wanted))
    if not places:
        raise Failure(f"{_quoted(wanted)} does not stand in {name}; give it as it is there.", Exit.INPUT)
    if len(places) > 1:
        listed = ", ".join(position(text, place) for place in places[:_LISTED])
        more = f", and {len(places) - _LISTED:,} more" if len(places) > _LISTED else ""
        raise Failure(
            f"{_quoted(wanted)} stands {len(places):,} times in {name} ({listed}{more}); "
            "give more of the text around it, or --lines.",
            Exit.INPUT,
        )
    return places[0], places[0] + len(wanted)


def _occurrences(text: str, wanted: str) -> Iterator[int]:
    place = text.find(wanted)
    while place >= 0:
        yield place
        place = text.find(wanted, place + 1)


def of_bytes(contents: Contents, offsets: Range, name: str) -> Range:
    """From byte to byte, counted in the file with its byte order mark.

    Raises:
        Failure: the file is shorter, or a byte lies within a character (exit code 4).
    """
    data = contents.encode(contents.text)
    first = len(BOM) if contents.bom else 0
    if offsets[1] > len(data):
        asked = f"{offsets[0]}:{offsets[1]}"
        raise Failure(f"{name} has {plural(len(data), 'byte')}: {asked} is not within it.", Exit.INPUT)
    for offset in offsets:
        _check_boundary(data, offset, first, name)
    start = len(data[first : offsets[0]].decode())
    return start, start + len(data[offsets[0] : offsets[1]].decode())


def _check_boundary(data: bytes, offset: int, first: int, name: str) -> None:
    def is_boundary(place: int) -> bool:
        if place < first or place == len(data):
            return place >= first
        return data[place] & 0xC0 != 0x80 and data[place - 1 : place + 1] != b"\r\n"

    if is_boundary(offset):
        return
    after = next(place for place in range(offset, len(data) + 1) if is_boundary(place))
    before = next((place for place in range(offset, first - 1, -1) if is_boundary(place)), None)
    near = f"{before} and {after}" if before is not None else str(after)
    what = "the byte order mark" if offset < first else "a line ending" if data[offset] == 0x0A else "a character"
    raise Failure(f"Byte {offset} of {name} lies within {what}; the nearest boundaries are {near}.", Exit.INPUT)


def unmarked(text: str, marks: tuple[str, str] = MARKS) -> tuple[str, tuple[Range, ...]]:
    """The text without its marks, and the spans that stood between them.

    Raises:
        Failure: there are none, or they do not stand in pairs (exit code 4).
    """
    opening, closing = marks
    both = "|".join(map(re.escape, sorted(marks, key=len, reverse=True)))
    parts: list[str] = []
    spans: list[Range] = []
    opened: int | None = None  # where the mark stands in `text` that is not closed yet
    start = length = end = 0
    for match in re.finditer(both, text):
        parts.append(text[end : match.start()])
        length += match.start() - end
        end = match.end()
        if match[0] == opening and (opened is None or opening != closing):
            if opened is not None:
                raise _marks(text, f"{opening} at {position(text, match.start())} stands within the marks", opened)
            opened, start = match.start(), length
        elif opened is None:
            raise _marks(text, f"{closing} closes nothing", match.start())
        else:
            spans.append((start, length))
            opened = None
    if opened is not None:
        raise _marks(text, f"{opening} is not closed", opened)
    if not spans:
        raise Failure(
            f"There is no {opening}…{closing} in the text: put these marks around what is to be rewritten, "
            "or give --lines, --match or --bytes.",
            Exit.INPUT,
        )
    plain = "".join([*parts, text[end:]])
    _check_apart(spans, plain)
    return plain, tuple(spans)


def _marks(text: str, what: str, place: int) -> Failure:
    return Failure(f"{what} at {position(text, place)}; nothing was rewritten.", Exit.INPUT)


def position(text: str, place: int) -> str:
    """ "12:5": the line and the column of a character, from 1."""
    line, column = line_and_column(text, place)
    return f"{line}:{column}"


def line_and_column(text: str, place: int) -> Range:
    """The line and the column of a character, from 1."""
    return text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")
