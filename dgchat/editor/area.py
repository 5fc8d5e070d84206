"""The text in the editor: a text area in which a hole can resolve in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeAlias, cast

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.document._document import DocumentBase, Selection
from textual.document._document_navigator import DocumentNavigator
from textual.events import MouseEvent
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from dgchat.app.bindings import bind
from dgchat.app.stage import Line
from dgchat.canvas.layout import Look, Span
from dgchat.canvas.looks import Styles
from dgchat.editor.drawing import HoleDrawing, styled
from dgchat.editor.highlights import Highlights
from dgchat.editor.hole import Need, Room, make_room
from dgchat.editor.languages import LONGEST_LINE, LONGEST_PARSED, LONGEST_WRAPPED, Kind
from dgchat.editor.lines import Lines, ParsedLines, Unwrapped, Wrapped
from dgchat.editor.stand_ins import StandIns
from dgchat.sanitize import clean_pasted

Location: TypeAlias = tuple[int, int]
Range: TypeAlias = tuple[Location, Location]

_KEYS = "infill save find find-next find-previous undo redo wrap leave-editor".split()
_CHECKPOINTS = 500  # undo steps that are kept
_PAUSE = 0.25  # seconds without a key after which a long text is parsed


class Area(TextArea):
    """The text. It is read-only while a part of it is being rewritten, and while candidates for that are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(name, f"screen.{name.replace('-', '_')}", priority=False) for name in _KEYS
    ]

    @dataclass
    class Pointed(Message):
        """The mouse has chosen a place in the hole; in rows of it, and columns of the text."""

        row: int
        column: int

    @dataclass
    class WordChosen(Message):
        """The mouse has chosen a word of the selection that is to be rewritten."""

        location: Location

    @dataclass
    class Rearranged(Message):
        """The hole has another place, since the window has another size."""

    def __init__(self, text: str, kind: Kind) -> None:
        """`text`: that of a file, as it is there."""
        self.stand_ins = StandIns(text)
        self.too_long_to_parse = len(text) > LONGEST_PARSED
        shown = self.stand_ins.show(text)
        self.too_long_to_wrap = len(text) > LONGEST_WRAPPED or any(
            end - start > LONGEST_LINE for start, end in pairwise(_breaks(shown))
        )
        self._hole: HoleDrawing | None = None
        self._kept: list[Range] = []
        self._kept_now: Range | None = None
        self._found: Range | None = None
        self._choosing = False  # whether the mouse chooses words to keep
        self._syntax = kind.language
        self.inks: Styles | None = None
        self._parsing: Timer | None = None
        super().__init__(
            id="text", compact=True, tab_behavior="indent", show_line_numbers=True, max_checkpoints=_CHECKPOINTS,
            soft_wrap=kind.prose and not self.too_long_to_wrap,
        )  # fmt: skip
        self.cursor_blink = False
        if any(line.startswith("\t") for line in shown[:LONGEST_PARSED].split("\n")):
            self.indent_type = "tabs"
        self._highlights = Highlights()
        self.load_text(shown)

    # ---- the text

    @property
    def file_text(self) -> str:
        """The text for the file."""
        return self.stand_ins.read(self.document.text)

    def _set_document(self, text: str, language: str | None) -> None:
        """Takes a text up. Textual's own documents take too long for large ones."""
        self._highlight_query = None
        self.document = self._new_document(text)
        wrapped = Wrapped if self.soft_wrap else Unwrapped
        self.wrapped_document = wrapped(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._build_highlight_map()
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def _build_highlight_map(self) -> None:
        """The text has changed: the highlights are found anew, those of the lines that are seen."""
        self._line_cache.clear()
        if isinstance(self._highlights, Highlights):  # the base class calls this before there are ours
            self._highlights.restart(self.document, self._highlight_query)
        if isinstance(self.document, ParsedLines) and self.document.stale and self.is_mounted:
            if self._parsing is not None:
                self._parsing.stop()
            self._parsing = self.set_timer(_PAUSE, self._parse)

    def _parse(self) -> None:
        """Nothing has been typed for a moment."""
        self._parsing = None
        if isinstance(self.document, ParsedLines) and self.document.stale:
            self.document.parse()
            self._build_highlight_map()
            self.refresh()

    def _new_document(self, text: str) -> DocumentBase:
        if self._syntax is None or self.too_long_to_parse:
            return Lines(text)
        from textual._tree_sitter import get_language

        language = get_language(self._syntax)
        if language is None:  # a language that is not installed is shown without colours
            return Lines(text)
        document = ParsedLines(text, language)
        self._highlight_query = document.prepare_query(self._get_builtin_highlight_query(self._syntax))
        return document

    def toggle_wrap(self) -> bool:
        """Wraps long lines, or does so no more; tells whether it could be done."""
        if self.too_long_to_wrap:
            return False
        wrapped = Unwrapped if self.soft_wrap else Wrapped
        self.wrapped_document = wrapped(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self.soft_wrap = not self.soft_wrap
        return True

    def find_matching_bracket(self, bracket: str, search_from: Location) -> Location | None:
        """The bracket that matches; not looked for in texts in which that would take long."""
        return None if self.too_long_to_parse else super().find_matching_bracket(bracket, search_from)

    async def _on_key(self, event: events.Key) -> None:
        """Escape is for the screen; the base class would give the focus away."""
        if event.key == "escape":
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        """What is pasted may hold escape sequences, which must not get into the file unseen."""
        event.prevent_default()
        await super()._on_paste(events.Paste(self.stand_ins.take(clean_pasted(event.text))))

    def undo(self) -> None:
        """Undoes the last edits. From the start of the text: the place of the cursor may go with them."""
        if self.history.undo_stack and not self.read_only:
            self.move_cursor((0, 0))
            super().undo()

    def redo(self) -> None:
        """Takes `undo` back; likewise."""
        if self.history.redo_stack and not self.read_only:
            self.move_cursor((0, 0))
            super().redo()

    @property
    def selected(self) -> Range:
        """What is selected, its beginning first."""
        start, end = sorted(self.selection)
        return start, end

    def select(self, start: Location, end: Location) -> None:
        """Selects a part of the text, and brings it in sight."""
        self.selection = Selection(start, end)

    def index_of(self, place: Location) -> int:
        """How many characters stand before a place."""
        row, column = place
        return sum(map(len, self.document.lines[:row])) + row + column

    def place_behind(self, place: Location, count: int) -> Location:
        """The place so many characters behind another one."""
        row, column = place
        column += count
        while column > len(self.document[row]) and row + 1 < self.document.line_count:
            column -= len(self.document[row]) + 1
            row += 1
        return row, column

    def take_up(self, text: str) -> None:
        """Takes up the text of a file; nothing before can be undone any more."""
        self.stand_ins = StandIns(text)
        self.load_text(self.stand_ins.show(text))

    def dress(self, styles: Styles, theme: TextAreaTheme) -> None:
        """Takes up the colours of the hole, and those of the syntax."""
        self.inks = styles
        self.register_theme(theme)
        self.theme = theme.name
        if self._hole is not None:
            self._hole.styles = styles
        self.refresh()

    # ---- being only read

    def guard(self, choosing: bool = False) -> None:
        """No key changes the text any more; `choosing`: the mouse chooses words of the selection."""
        self._choosing = choosing
        self.can_focus = False
        self.show_cursor = False
        self.read_only = True

    def release(self) -> None:
        """It can be written in again."""
        self._choosing = False
        self.can_focus = True
        self.read_only = False
        self.show_cursor = True

    def mark(self, kept: Sequence[Range], now: Range | None = None) -> None:
        """Shows which words are to be kept, and which one the keys would choose."""
        self._kept, self._kept_now = list(kept), now
        self.refresh()

    # ---- the hole

    def open_hole(self, span: Range, need: Need) -> Room:
        """Opens a part of the text; nothing else moves until it is closed.

        Args:
            span: the part.
            need: what the new text may take.
        """
        start, end = span
        column, row = self._offset(end)
        width = max(1, self.scrollable_content_region.width - self.gutter_width - (1 if self.soft_wrap else 0))
        room = make_room(
            self._offset(start), (column, row), width,
            self._cells_behind(end, column), need, widen=self.scroll_offset.x == 0,
        )  # fmt: skip
        rows = self._hole.lines if self._hole is not None else []
        self._hole = HoleDrawing(room, rows, span, need, self.inks)
        self._refresh_size()
        self.refresh()
        return room

    def _offset(self, place: Location) -> tuple[int, int]:
        column, row = self.wrapped_document.location_to_offset(place)
        return column, row

    def _cells_behind(self, end: Location, column: int) -> int:
        """Cells of what stands behind a place in its row."""
        row, place = end
        behind = [offset for offset in self.wrapped_document.get_offsets(row) if offset > place]
        return cell_len(self.document[row][place : behind[0] if behind else None].expandtabs(self.indent_width))

    def draw_hole(self, lines: Sequence[Line]) -> None:
        """Draws the hole; of what does not fit, the end is left out."""
        if self._hole is None:
            return
        for number in self._hole.draw(lines):
            self.refresh_lines(self._hole.room.top + number)

    def close_hole(self) -> None:
        """The text is as it was."""
        if self._hole is not None:
            self._hole = None
            self._refresh_size()
            self.refresh()

    @property
    def room(self) -> Room | None:
        """Where the hole lies; None for none."""
        return self._hole.room if self._hole is not None else None

    def show_hole(self) -> None:
        """Brings the hole in sight, its beginning above all."""
        if self._hole is not None:
            room, height = self._hole.room, self.size.height
            if room.top < self.scroll_offset.y or room.last >= self.scroll_offset.y + height:
                self.scroll_to(y=max(0, room.top - max(1, (height - room.rows) // 2)), animate=False, force=True)

    def _on_resize(self, event: events.Resize) -> None:  # type: ignore[override]
        event.prevent_default()  # the base class comes first
        super()._on_resize()
        if self._hole is not None:
            self.open_hole(self._hole.span, self._hole.need)
            self.post_message(self.Rearranged())

    def _refresh_size(self) -> None:
        super()._refresh_size()
        if self._hole is not None:
            self.virtual_size = Size(self.virtual_size.width, self.virtual_size.height + self._hole.room.extra)

    # ---- drawing

    def get_line(self, line_index: int) -> Text:
        """A line; signs stand for what must not reach the terminal."""
        line = self.document.get_line(line_index)
        return Text(line if line.isascii() else line.translate(self.stand_ins.signs), end="", no_wrap=True)

    def render_line(self, y: int) -> Strip:
        """One row: of the text, of the hole, or of the text behind it."""
        hole, row = self._hole, y + self.scroll_offset.y
        if hole is None:
            return self._with_marks(self._text_row(y), row)
        room = hole.room
        if row < room.top:
            return self._text_row(y)
        if row > room.last:
            return self._text_row(y - room.extra)
        scroll = self.scroll_offset.y
        base = self._theme.base_style or self.rich_style
        gutter = self._theme.gutter_style or base
        return hole.strip(
            row - room.top, self._text_row(room.top - scroll), self._text_row(room.bottom - scroll),
            self.gutter_width, self.scroll_offset.x, base, gutter,
        )  # fmt: skip

    def _text_row(self, y: int) -> Strip:
        """A row of the text alone. Not as the base class does: it puts the whole text together for each."""
        if self._highlight_query is not None:
            rows, row = self.wrapped_document._offset_to_line_info, y + self.scroll_offset.y
            if row < len(rows):
                cast(Highlights, self._highlights).look_at(rows[row][0])
        return self._render_line(y)

    @property
    def _kept_style(self) -> Style:
        pin = self.inks.of(Span("", Look.PINNED)) if self.inks is not None else Style()
        return pin + Style(bold=True, underline=True)

    def _with_marks(self, strip: Strip, row: int) -> Strip:
        for marked in self._kept:
            strip = self._with_mark(strip, row, marked, self._kept_style)
        if self._kept_now is not None:
            strip = self._with_mark(strip, row, self._kept_now, Style(reverse=True))
        return strip

    def _with_mark(self, strip: Strip, row: int, marked: Range, style: Style) -> Strip:
        (left, top), (right, bottom) = (self.wrapped_document.location_to_offset(place) for place in marked)
        if not top <= row <= bottom:
            return strip
        offset = self.gutter_width - self.scroll_offset.x
        start = max(self.gutter_width, (left if row == top else 0) + offset)
        end = right + offset if row == bottom else strip.cell_length
        return styled(strip, start, end, style)

    # ---- the mouse

    async def _on_mouse_down(self, event: events.MouseDown) -> None:
        event.prevent_default()  # else the base class would select as well
        if not self.read_only:
            await super()._on_mouse_down(event)
        elif self._hole is not None:
            row, column = self._place_of(event)
            self.post_message(self.Pointed(row - self._hole.room.top, column))
        elif self._choosing:
            self.post_message(self.WordChosen(self.get_target_document_location(event)))

    def _place_of(self, event: MouseEvent) -> tuple[int, int]:
        scroll_x, scroll_y = self.scroll_offset
        return event.y + scroll_y - self.gutter.top, event.x - self.gutter_width + scroll_x - self.gutter.left


def _breaks(text: str) -> list[int]:
    """Where lines begin and end."""
    places = [-1]
    while (place := text.find("\n", places[-1] + 1)) >= 0:
        places.append(place)
    return [*places, len(text)]
