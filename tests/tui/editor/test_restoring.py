"""Whatever is tried, the original comes back exactly, and nothing outside the span is ever another character."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from textual.document._document import Selection

from dgchat.editor.area import Area
from dgchat.editor.languages import Kind
from dgchat.editor.preview import Preview

HARD = "\r\n\t \x1b\x0c\u2028é̈🏳️‍🌈漢ａ\u202e}(\"'"
TEXTS = st.text(st.one_of(st.sampled_from(HARD), st.characters(exclude_categories=["Cs"])), max_size=60)
KINDS = st.sampled_from([Kind(None, True), Kind(None, False), Kind("python", False), Kind("markdown", True)])


def spanned(data: st.DataObject, text: str, kind: Kind) -> tuple[Area, tuple[int, int], tuple[int, int]]:
    """An area with a selection; where that begins, and where it ends."""
    area = Area(text, kind)
    length = len(area.text)
    first, last = sorted(data.draw(st.tuples(st.integers(0, length), st.integers(0, length))))
    start, end = area.place_behind((0, 0), first), area.place_behind((0, 0), last)
    assert area.index_of(start) == first and area.index_of(end) == last
    area.selection = Selection(end, start) if data.draw(st.booleans()) else Selection(start, end)
    return area, start, end


def state(area: Area) -> tuple[object, ...]:
    document = area.document
    return list(document.lines), area.selection, area.file_text, area.wrapped_document.height, document.line_count


@given(TEXTS, KINDS, st.lists(TEXTS, min_size=1, max_size=4), st.data())
def test_what_was_tried_and_left_leaves_nothing(
    text: str, kind: Kind, candidates: Sequence[str], data: st.DataObject
) -> None:
    area, start, end = spanned(data, text, kind)
    before = state(area)
    preview = Preview(area, start, end)
    for candidate in candidates:
        preview.show(area.stand_ins.take(candidate))
    preview.withdraw()
    assert state(area) == before and area.file_text == text
    assert not area.history.undo_stack and not area.history.redo_stack


@given(TEXTS, KINDS, st.lists(TEXTS, min_size=1, max_size=3), st.data())
def test_what_was_taken_is_one_step_that_can_be_undone(
    text: str, kind: Kind, candidates: Sequence[str], data: st.DataObject
) -> None:
    area, start, end = spanned(data, text, kind)
    before, first, last = state(area), area.index_of(start), area.index_of(end)
    shown = area.text
    preview = Preview(area, start, end)
    for candidate in candidates:
        preview.show(area.stand_ins.take(candidate))
    new = area.stand_ins.take(candidates[-1])
    preview.accept(new)
    assert area.text == shown[:first] + new + shown[last:]
    outside = area.stand_ins.read(shown[:first]), area.stand_ins.read(shown[last:])
    assert area.file_text.startswith(outside[0]) and area.file_text.endswith(outside[1])
    assert len(area.history.undo_stack) == (1 if new or first != last else 0)
    area.undo()
    assert state(area) == before
    area.redo()
    assert area.text == shown[:first] + new + shown[last:]


@given(TEXTS, KINDS, st.data())
def test_what_is_typed_before_and_after_is_undone_step_by_step(text: str, kind: Kind, data: st.DataObject) -> None:
    area, start, _ = spanned(data, text, kind)
    area.move_cursor(start)
    before = list(area.document.lines)
    area.insert("x")
    preview = Preview(area, start, area.cursor_location)
    preview.accept("yy")
    area.insert("z")
    for _ in range(3):
        area.undo()
    assert area.document.lines == before
