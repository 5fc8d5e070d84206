"""The editor: a text, what the keys do to it, and the lines around it."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Static, TextArea

from dgchat.app.bindings import bind
from dgchat.app.turns import in_turn
from dgchat.editor.ask_bar import meter
from dgchat.editor.colors import syntax_theme
from dgchat.editor.desk import Desk
from dgchat.editor.files import TextFile
from dgchat.editor.find_bar import FindBar, find
from dgchat.editor.languages import Kind
from dgchat.editor.rewriting_screen import RewritingScreen
from dgchat.opening import planned
from dgchat.sanitize import clean_line

_MODIFIED = "●"
_MARGIN = 2  # cells beside the title


class EditorScreen(RewritingScreen):
    """A text in an editor. `dismiss` follows where one leaves."""

    CSS_PATH = "editor.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [bind("help")]
    AUTO_FOCUS = "#text"

    def __init__(self, desk: Desk, file: TextFile, kind: Kind, alone: bool = False) -> None:
        """Shows the text of a file.

        Args:
            desk: the app.
            file: the text; it may have no place yet.
            kind: what kind of text it is.
            alone: whether nothing is behind this screen.
        """
        super().__init__()
        self.desk = desk
        self.file = file
        self._kind, self._alone = kind, alone
        self._saved: list[str] = []
        self._found = ""  # the words that were looked for last
        self._themes = 0
        self.begin_rewriting()

    # ---- what stands where

    def compose(self) -> ComposeResult:
        yield Static("", id="title", markup=False)
        from dgchat.editor.area import Area

        yield Area(self.file.text, self._kind)
        yield Vertical(id="below-text")
        with Horizontal(id="lines"):
            yield Static("", id="status", markup=False)
            yield Static("", id="place", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """The text, and what there is to say of it."""
        self._saved = list(self.area.document.lines)
        self.restyle()
        self.watch(self.app, "theme", self.restyle, init=False)
        self.show_title()
        self._show_place()
        self.say(self.remark())
        self.watch_file()
        self.area.focus()

    def on_unmount(self) -> None:
        """A rewrite in the making is no longer wanted."""
        self.stop_rewriting()

    def remark(self) -> str:
        """What is out of the ordinary with this text."""
        area = self.area
        without = [
            *(["colours"] if area.too_long_to_parse and self._kind.language else []),
            *(["wrapping"] if area.too_long_to_wrap else []),
        ]
        parts = [
            "a new file" if self.file.path is not None and self.file.is_new else "",
            f"a long text: without {' and '.join(without)}" if without else "",
            "lines end in different ways: ␍ and ␊ mark those that are not as most" if area.stand_ins.mixed else "",
        ]
        return "; ".join(filter(None, parts)) or "Ctrl+R rewrites what is selected"

    def restyle(self) -> None:
        """Another theme has been taken up."""
        self._themes += 1
        self.area.dress(self.desk.canvas_styles, syntax_theme(self.desk.palette, self._themes))
        self.draw()

    def say(self, text: str) -> None:
        """One line that says what is happening."""
        self.query_one("#status", Static).update(clean_line(text), layout=False)

    @on(events.Resize)
    def show_title(self) -> None:
        """The name of the file, and how the next rewrite will be."""
        if not self.query("#title"):
            return
        modified = f" {_MODIFIED}" if self.lost_on_leaving else ""
        left = clean_line(self.file.name) + modified
        engine = self.desk.host.engine
        model = engine.info.name if engine is not None else planned(self.desk.settings).label
        right = f"{self.manner.strength} {meter(self.manner.strength)} · {clean_line(model)}"
        room = self.app.size.width - _MARGIN - cell_len(left) - cell_len(right)
        text = left + " " * room + right if room > 1 else left
        self.query_one("#title", Static).update(text, layout=False)

    @on(TextArea.SelectionChanged)
    def _show_place(self) -> None:
        """Where the cursor stands, and how much is selected."""
        row, column = self.area.cursor_location
        parts = [f"line {row + 1:,} of {self.area.document.line_count:,}, col {column + 1:,}"]
        start, end = self.area.selected
        if start != end and end[0] - start[0] < 10_000:
            parts.insert(0, f"{len(self.area.get_text_range(start, end)):,} selected")
        if self._kind.language:
            parts.append(self._kind.language)
        self.query_one("#place", Static).update(" · ".join(parts))

    # ---- what the keys do

    def action_undo(self) -> None:
        """Undoes the last edits, or the last rewrite."""
        self.area.undo()

    def action_redo(self) -> None:
        """Takes it back."""
        self.area.redo()

    def action_wrap(self) -> None:
        """Wraps long lines, or does so no more."""
        if not self.area.toggle_wrap():
            self.say("the text is too long to be wrapped")
        else:
            self.say("long lines are wrapped" if self.area.soft_wrap else "long lines go on to the right")

    def action_help(self) -> None:
        """Keys, commands and the guide."""
        from dgchat.app.screens import HelpScreen

        self.app.push_screen(HelpScreen(self.desk.settings.keys))

    @in_turn
    async def action_find(self) -> None:
        """Asks for words to find."""
        if not self.busy:
            await self.show_below(FindBar(self._found))

    def action_find_next(self) -> None:
        """The next place where they stand."""
        self._find(self._found, 1)

    def action_find_previous(self) -> None:
        """The place before."""
        self._find(self._found, -1)

    @on(FindBar.Wanted)
    def find_wanted(self, wanted: FindBar.Wanted) -> None:
        """As one types, or asks for the next place."""
        self._find(wanted.words, wanted.by)

    @on(FindBar.Closed)
    async def find_closed(self) -> None:
        """Back to the text, at the place that was found."""
        await self.show_below(None)

    def _find(self, words: str, by: int) -> None:
        self._found = words
        if not words:
            return
        start, end = self.area.selected
        place = find(self.area.document.lines, words, end if by > 0 else start, by or 1)
        if place is None:
            self.say(f"{words!r} does not stand in this text")
            return
        row, column = place
        self.area.select(place, (row, column + len(words)))
        self.say("")

    # ---- leaving

    @property
    def lost_on_leaving(self) -> bool:
        """What is unsaved counts where there is a file; the text of an answer is kept by the chat."""
        return self.modified

    def action_leave_editor(self) -> None:
        """Lets go of the selection; then back to the chat, where there is one."""
        if not self.area.selection.is_empty:
            self.area.move_cursor(self.area.cursor_location)
        elif self._alone:
            self.say("Ctrl+Q quits")
        else:
            self.ask_before(self.leave)

    def leave(self) -> None:
        """Back to what is behind this screen; alone, out of the program."""
        if self._alone:
            self.app.exit()
        else:
            self.dismiss()
