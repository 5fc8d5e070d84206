"""The text in the editor: Textual's documents, quick enough for files of ten megabytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rich.cells import cell_len
from textual.document._document import Document, DocumentBase, EditResult, Location
from textual.document._syntax_aware_document import SyntaxAwareDocument
from textual.document._wrapped_document import WrappedDocument
from textual.expand_tabs import get_tab_widths
from textual.geometry import Size

if TYPE_CHECKING:
    from tree_sitter import Language

PARSED_AT_ONCE: Final = 50_000  # characters

_Value = TypeVar("_Value")


class Lines(Document):
    """Plain text. How wide it is, is kept up with every change, and not found out anew; so it may only grow."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._widest = _Widest()

    def get_size(self, tab_width: int) -> Size:
        """The width of the widest line that there is or was, and the number of lines."""
        return Size(self._widest.of(self._lines, tab_width), len(self._lines))

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        """The only way in which the text changes."""
        result = super().replace_range(start, end, text)
        self._widest.grow(self._lines[min(start, end)[0] : result.end_location[0] + 1])
        return result


class ParsedLines(SyntaxAwareDocument):
    """Text with a syntax tree; the same holds for its width.

    Attributes:
        stale: whether the text has changed since it was parsed. The tree fits it roughly until then.
    """

    def __init__(self, text: str, language: Language) -> None:
        self._widest = _Widest()
        self.stale = False
        super().__init__(text, language)

    def get_size(self, tab_width: int) -> Size:
        """As of `Lines`."""
        return Size(self._widest.of(self._lines, tab_width), len(self._lines))

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        """As of `Lines`. A long text is parsed when `parse` is called, so that a key shows soon."""
        top, bottom = sorted((start, end))
        start_byte, old_end_byte = self._location_to_byte_offset(top), self._location_to_byte_offset(bottom)
        start_point, old_end_point = self._location_to_point(top), self._location_to_point(bottom)
        result = Document.replace_range(self, start, end, text)
        self._syntax_tree.edit(
            start_byte=start_byte, old_end_byte=old_end_byte, new_end_byte=start_byte + len(text.encode()),
            start_point=start_point, old_end_point=old_end_point,
            new_end_point=self._location_to_point(result.end_location),
        )  # fmt: skip
        self._widest.grow(self._lines[top[0] : result.end_location[0] + 1])
        self.stale = True
        if sum(map(len, self._lines)) <= PARSED_AT_ONCE:
            self.parse()
        return result

    def parse(self) -> None:
        """Brings the tree up to date."""
        # As bytes: Textual's way, line by line through a function, takes several times as long.
        self._syntax_tree = self._parser.parse(self.text.encode(), self._syntax_tree)
        self.stale = False


class _Widest:
    """The width of the widest line so far."""

    def __init__(self) -> None:
        self._width: int | None = None
        self._tab_width = 0

    def of(self, lines: Sequence[str], tab_width: int) -> int:
        if self._width is None or tab_width != self._tab_width:
            self._width, self._tab_width = 0, tab_width
            self.grow(lines)
        return self._width

    def grow(self, lines: Sequence[str]) -> None:
        if self._width is not None:
            self._width = max(self._width, max((_cells(line, self._tab_width) for line in lines), default=0))


def _cells(line: str, tab_width: int) -> int:
    if line.isascii() and "\t" not in line:
        return len(line)
    return cell_len(line.expandtabs(tab_width))


class Wrapped(WrappedDocument):
    """Lines in rows. Their number is known, and not counted for each row that is drawn."""

    @property
    def height(self) -> int:
        """Rows."""
        return len(self._offset_to_line_info)


class Unwrapped(WrappedDocument):
    """A row for each line: nothing has to be kept for that, and nothing to be done when the text changes."""

    def wrap(self, width: int, tab_width: int | None = None) -> None:
        """Takes over the width of tabs; there is no wrapping."""
        self._width = 0
        self._tab_width = tab_width or self._tab_width
        document = self.document
        self._wrap_offsets = _ForEachLine(document, lambda line: [])  # type: ignore[assignment]
        self._offset_to_line_info = _ForEachLine(document, lambda line: (line, 0))  # type: ignore[assignment]
        self._line_index_to_offsets = _ForEachLine(document, lambda line: [line])  # type: ignore[assignment]
        self._tab_width_cache = _ForEachLine(document, self._tabs)  # type: ignore[assignment]

    def _tabs(self, line: int) -> list[int]:
        return [width for _, width in get_tab_widths(self.document[line], self._tab_width)]

    @property
    def height(self) -> int:
        """Rows."""
        return self.document.line_count

    def wrap_range(self, start: Location, old_end: Location, new_end: Location) -> None:
        """Nothing is kept."""


class _ForEachLine(Generic[_Value]):
    """What looks like a list with an entry for each line, each of which is made when it is asked for."""

    def __init__(self, document: DocumentBase, make: Callable[[int], _Value]) -> None:
        self._document, self._make = document, make

    def __len__(self) -> int:
        return self._document.line_count

    def __getitem__(self, line: int) -> _Value:
        count = self._document.line_count
        if not -count <= line < count:
            raise IndexError(line)
        return self._make(line % count)
