"""Text in rows: pieces of tokens, with their looks, wrapped by display cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final, TypeAlias

from rich.cells import cell_len

NEWLINE: Final = "⏎"
_SLACK = 0.88  # Share of the width that a new row fills, so that its words may grow without spilling.
_REACH = 10  # Tokens ahead in which a row looks for the place where it broke before.
_TAB = 8

cells_of: Final = lru_cache(1 << 14)(cell_len)  # of a text; what rich itself keeps takes several times as long to find


class Look(Enum):
    """What a piece of the canvas is."""

    NOISE = auto()
    PROVISIONAL = auto()
    ACCEPTED = auto()
    BACK = auto()
    PINNED = auto()
    SETTLED = auto()


@dataclass(slots=True)  # not frozen, nor are the two below: hundreds are made for each frame, and it would show
class Span:
    """A piece of a row. `shade`: 0 (uncertain) to `SHADES` - 1 (nearly certain), for PROVISIONAL only."""

    text: str
    look: Look
    shade: int = 0

    def saying(self, text: str) -> Span:
        """The same look with another text; `dataclasses.replace` takes several times as long."""
        return Span(text, self.look, self.shade)


Row: TypeAlias = tuple[Span, ...]


@dataclass(slots=True)
class Cell:
    """Where a piece of a token lies in its row, in terminal cells. Places below zero are text before the canvas."""

    place: int
    column: int
    width: int


@dataclass(slots=True)
class Atom:
    """A piece of one token: its text without newlines, or a break of the row (`hard`)."""

    place: int
    span: Span
    hard: bool = False


def split(text: str, place: int, look: Span, breaks: bool) -> Iterable[Atom]:
    """A token's text as atoms; newlines show, and break the row where they are to."""
    for number, line in enumerate(text.split("\n")):
        if number:
            shown = "" if look.look is Look.SETTLED else NEWLINE
            yield Atom(place, look.saying(shown), hard=breaks)
        if line:
            yield Atom(place, look.saying(line))


def words(text: str) -> list[str]:
    """`text` cut before each run of spaces, so that each part may start a row."""
    parts: list[str] = []
    for char in text:
        if not parts or (char == " " and not parts[-1].endswith(" ")):
            parts.append("")
        parts[-1] += char
    return parts


class Layout:
    """Fills rows with words. Where a row of the last call began, a row begins again if it can.

    Attributes:
        same_width: whether the last two calls had the same width.
        cells: for each row of the last call, the pieces of tokens in it.
    """

    def __init__(self) -> None:
        self.cells: list[list[Cell]] = []
        self._width = 0
        self._starts: frozenset[int] = frozenset()
        self.same_width = False

    def rows(self, atoms: Iterable[Atom], width: int) -> list[Row]:
        """The atoms in rows of at most `width` cells."""
        self.same_width = width == self._width
        if not self.same_width:
            self._width, self._starts = width, frozenset()
        filler = _Filler(width, self._starts)
        for word in _group(atoms):
            filler.add(word)
        self._starts, self.cells = frozenset(filler.starts), filler.cells
        return filler.finish()


def _group(atoms: Iterable[Atom]) -> Iterable[list[Atom]]:
    """Words: atoms that no row break may part. A word begins at a space or after a break."""
    word: list[Atom] = []
    for atom in atoms:
        if word and (atom.span.text[:1] in (" ", "\t") or word[-1].hard):
            yield word
            word = []
        word.append(atom)
    if word:
        yield word


class _Filler:
    """Rows being filled, from left to right and top to bottom."""

    def __init__(self, width: int, anchors: frozenset[int]) -> None:
        self._width = width
        self._anchors = anchors
        self._rows: list[list[Span]] = [[]]
        self.cells: list[list[Cell]] = [[]]
        self._column = 0
        self._fresh = True  # at the start of a line of the text: spaces are indents, and stay
        self.starts: list[int] = []

    def add(self, word: list[Atom]) -> None:
        """Appends a word to the row, or to a new one."""
        if not self._fresh and self._must_break(word):
            self._new_row()
            self.starts.append(word[0].place)
            word = [
                Atom(word[0].place, word[0].span.saying(word[0].span.text.lstrip(" ")), word[0].hard),
                *word[1:],
            ]
        for atom in word:
            self._put(atom.span, atom.place)
            if atom.hard:
                self._new_row()
                self._fresh = True

    def finish(self) -> list[Row]:
        """The rows."""
        return [tuple(row) for row in self._rows]

    def _must_break(self, word: list[Atom]) -> bool:
        end = self._column
        for atom in word:
            end += cells_of(atom.span.text)
        if end > self._width:
            return True
        place = word[0].place
        if place in self._anchors:
            return self._column >= self._width // 2
        if end <= self._width * _SLACK:
            return False
        return self._anchors.isdisjoint(range(place + 1, place + _REACH + 1))

    def _put(self, span: Span, place: int) -> None:
        text = span.text
        while "\t" in text:
            before, _, text = text.partition("\t")
            stop = _TAB - (self._column + cells_of(before)) % _TAB
            self._put(span.saying(before + " " * min(stop, max(1, self._width))), place)
        whole = self._column + cells_of(text) <= self._width
        for chunk in [text] if whole else _clusters(text, self._width):
            self._append(chunk, span, place)

    def _append(self, chunk: str, span: Span, place: int) -> None:
        cells = cells_of(chunk)
        if self._column + cells > self._width and self._column:
            self._new_row()
        self._fresh = self._fresh and not chunk.strip()
        if cells:
            self.cells[-1].append(Cell(place, self._column, cells))
        self._column += cells
        row = self._rows[-1]
        if row and row[-1].look is span.look and row[-1].shade == span.shade:
            row[-1].text += chunk
        else:
            row.append(span.saying(chunk))

    def _new_row(self) -> None:
        self._rows.append([])
        self.cells.append([])
        self._column = 0


def _clusters(text: str, width: int) -> list[str]:
    """The characters of `text`, each with what combines with it; "?" for one that is wider than a row."""
    clusters: list[str] = []
    for char in text:
        if clusters and (cells_of(char) == 0 or clusters[-1].endswith("\u200d")):
            clusters[-1] += char
        else:
            clusters.append(char)
    return [cluster if cells_of(cluster) <= width else "?" for cluster in clusters]
