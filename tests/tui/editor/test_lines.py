"""The documents: quick ones, that say the same as those of Textual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.document._document import Document
from textual.document._wrapped_document import WrappedDocument
from textual.geometry import Offset

from dgchat.editor.area import Area
from dgchat.editor.languages import Kind
from dgchat.editor.lines import PARSED_AT_ONCE, Lines, ParsedLines, Unwrapped, Wrapped

TEXTS = st.text(st.sampled_from("ab \n\té漢"), max_size=80)


@given(TEXTS, TEXTS, st.data())
def test_the_width_is_never_less_than_that_of_the_widest_line(text: str, new: str, data: st.DataObject) -> None:
    lines = Lines(text)
    lines.get_size(4)
    place = st.integers(0, len(lines.lines) - 1).flatmap(
        lambda row: st.tuples(st.just(row), st.integers(0, len(lines.lines[row])))
    )
    lines.replace_range(data.draw(place), data.draw(place), new)
    width, height = lines.get_size(4)
    assert height == len(lines.lines)
    assert width >= max(cell_len(line.expandtabs(4)) for line in lines.lines)


@given(TEXTS, st.integers(0, 6), st.integers(0, 30))
def test_unwrapped_lines_are_where_textual_has_them(text: str, row: int, column: int) -> None:
    document = Document(text)
    ours, theirs = Unwrapped(document, tab_width=4), WrappedDocument(document, tab_width=4)
    assert ours.height == theirs.height
    assert ours.offset_to_location(Offset(column, row)) == theirs.offset_to_location(Offset(column, row))
    row = min(row, document.line_count - 1)
    place = row, min(column, len(document[row]))
    assert ours.location_to_offset(place) == theirs.location_to_offset(place)
    assert ours.get_tab_widths(row) == theirs.get_tab_widths(row) and ours.get_sections(row) == theirs.get_sections(row)


@given(TEXTS, st.integers(2, 20))
def test_the_height_of_wrapped_lines(text: str, width: int) -> None:
    document = Document(text)
    wrapped = Wrapped(document, width)
    assert wrapped.height == WrappedDocument(document, width).height


def test_there_is_no_line_behind_the_last() -> None:
    unwrapped = Unwrapped(Document("a\nb"))
    assert unwrapped.get_offsets(1) == []
    with pytest.raises(ValueError, match="out of bounds"):
        unwrapped.get_offsets(2)


@pytest.mark.parametrize("length", [100, PARSED_AT_ONCE * 2])
def test_a_long_text_is_parsed_when_nothing_is_typed(length: int) -> None:
    area = Area("x = 1\n" * (length // 6 + 1), Kind("python", False))
    document = area.document
    assert isinstance(document, ParsedLines)
    area.insert('"')
    assert document.stale is (length > PARSED_AT_ONCE)
    document.parse()
    assert not document.stale


def test_highlights_are_found_for_the_lines_that_are_seen() -> None:
    area = Area('def f() -> int:\n    """Says\n    it."""\n    return 1\n' * 100, Kind("python", False))
    highlights = area._highlights
    assert not highlights
    area._highlights.look_at(1000)  # type: ignore[attr-defined]
    assert not highlights
    area._highlights.look_at(0)  # type: ignore[attr-defined]
    assert all("string" in {name for _, _, name in highlights[line]} for line in (1, 2))
    assert max(highlights) < 64 and "keyword.function" in {name for _, _, name in highlights[0]}
