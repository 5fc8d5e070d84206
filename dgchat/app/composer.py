"""Where one writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList, TextArea
from textual.widgets.option_list import Option

from dgchat.app.attachments import Attachments
from dgchat.app.bindings import bind
from dgchat.app.completing import Candidate
from dgchat.app.options import Options
from dgchat.images.attaching import Attachment
from dgchat.images.pasting import pasted_images
from dgchat.keys import keys_of
from dgchat.sanitize import clean_line, clean_pasted

_KEYS = ("send", "newline", "complete", "older", "newer")
_HELP_COLUMN = 12
_RECALLED = 200  # messages that can be recalled


class Editor(TextArea):
    """A text area whose Enter sends.

    Its keys are handled here, in the order in which they come with the text that is typed: a binding with priority
    would overtake the text before it, and send half a message. The bindings are for the footer; one for Up would take
    the place of the text area's own.
    """

    BINDINGS: ClassVar[list[BindingType]] = [bind(name, priority=False) for name in ("send", "newline")]

    def __init__(self, own_keys: Mapping[str, str]) -> None:
        """`own_keys`: the user's, by their names in `dgchat.keys`."""
        super().__init__(id="editor", compact=True, highlight_cursor_line=False, tab_behavior="focus", soft_wrap=True)
        self.cursor_blink = False
        self._names = {key: name for name in _KEYS for key in keys_of(name, own_keys)}

    async def _on_key(self, event: events.Key) -> None:
        if self._do(self._names.get(event.key, "")) or (event.key == "backspace" and await self._take_image_away()):
            event.stop()
            event.prevent_default()
        else:
            await super()._on_key(event)

    def _do(self, name: str) -> bool:
        """What a key of this name does; False where it does nothing here, and has its usual meaning."""
        composer = self._composer
        first, last = self.cursor_location[0] == 0, self.cursor_location[0] == self.document.line_count - 1
        match name:
            case "send":
                composer.enter()
            case "newline":
                self.insert("\n")
            case "complete":
                return composer.accept()
            case "older":
                return composer.move(-1) or (first and composer.recall(-1))
            case "newer":
                return composer.move(1) or (last and composer.recall(1))
            case _:
                return False
        return True

    @property
    def _composer(self) -> Composer:
        return next(node for node in self.ancestors if isinstance(node, Composer))

    async def _take_image_away(self) -> bool:
        """At the beginning of the text Backspace takes the last image away; False where there is none."""
        at_beginning = self.cursor_location == (0, 0) and self.selection.is_empty
        return at_beginning and await self._composer.take_image_away()

    async def _on_paste(self, event: events.Paste) -> None:
        """What is pasted may hold escape sequences, which must not reach the terminal; or it names image files."""
        event.prevent_default()
        text = clean_pasted(event.text)
        paths = pasted_images(text, Path.cwd())
        if paths:
            event.stop()
            self.post_message(Composer.Dropped(paths))
        else:
            await super()._on_paste(events.Paste(text))

    def undo(self) -> None:
        """Undoes the last edits. From the start of the text: the place of the cursor may go with them."""
        if self.history.undo_stack:
            self.move_cursor((0, 0))
            super().undo()

    def redo(self) -> None:
        """Takes `undo` back; likewise."""
        if self.history.redo_stack:
            self.move_cursor((0, 0))
            super().redo()

    def action_send(self) -> None:
        """For the mouse, on the footer."""
        self._do("send")

    def action_newline(self) -> None:
        """For the mouse, on the footer."""
        self._do("newline")


class Composer(Vertical):
    """The editor, and above it what may complete the word that is being written."""

    @dataclass
    class Sent(Message):
        """The user has sent `text`."""

        text: str

    @dataclass
    class Dropped(Message):
        """The user has pasted the paths of image files, or dropped these files."""

        paths: list[Path]

    def __init__(
        self, complete: Callable[[str], Sequence[Candidate]], own_keys: Mapping[str, str], id: str | None = None
    ) -> None:
        """`complete` offers completions of what stands before the cursor; `own_keys` as for the editor."""
        super().__init__(id=id)
        self._own_keys = own_keys
        self._complete = complete
        self._candidates: list[Candidate] = []
        self._closed_for: str | None = None  # the text for which the user has closed the completions
        self._said: list[str] = []
        self._recalled: int | None = None
        self._unsent = ""

    def compose(self) -> ComposeResult:
        options = Options(id="completions", compact=True, markup=False)
        options.can_focus = False
        options.display = False
        yield options
        yield Attachments(id="attachments")
        yield Editor(self._own_keys)

    @property
    def editor(self) -> Editor:
        """The text area."""
        return self.query_one(Editor)

    @property
    def text(self) -> str:
        """What has been written."""
        return self.editor.text

    def fill(self, text: str) -> None:
        """Puts `text` into the editor, the cursor behind it."""
        self.editor.load_text(text)
        self.editor.move_cursor(self.editor.document.end)
        self.editor.focus()

    def insert(self, text: str) -> None:
        """Writes at the cursor."""
        self.editor.insert(text)

    def clear(self) -> None:
        """Empties the editor."""
        self.editor.load_text("")
        self._recalled = None

    # ---- images

    @property
    def images(self) -> tuple[Attachment, ...]:
        """Those that go with the next message."""
        return self.query_one(Attachments).images

    async def attach(self, image: Attachment) -> None:
        """Has an image go with the next message."""
        await self.query_one(Attachments).add(image)

    async def take_images_away(self) -> None:
        """No image goes with the next message."""
        if self.images:
            await self.query_one(Attachments).remove_all()

    async def take_image_away(self) -> bool:
        """Takes the last image away; False where there is none."""
        there = bool(self.images)
        if there:
            await self.query_one(Attachments).remove_last()
        return there

    # ---- sending and recalling

    def enter(self) -> None:
        """Takes a completion that would change the text, or sends it; what is typed meanwhile is something new."""
        if self.accept():
            return
        text = self.text
        self.clear()
        self.post_message(self.Sent(text))

    def give_back(self, text: str) -> None:
        """Puts what was sent, and cannot be taken now, in front of what has been typed since."""
        self.fill(text + self.text)

    def remember(self, texts: Sequence[str]) -> None:
        """The messages that can be recalled, oldest first."""
        self._said = list(dict.fromkeys(reversed(texts)))[:_RECALLED][::-1]
        self._recalled = None

    def recall(self, by: int) -> bool:
        """Goes to an earlier or a later message; False where there is none, or something new is being written."""
        if self._recalled is None:
            if by > 0 or not self._said or self.text.strip():
                return False
            self._unsent, self._recalled = self.text, len(self._said)
        elif self._recalled < len(self._said) and self.text != self._said[self._recalled]:
            self._recalled = None  # it has been changed: from now on it is something new
            return False
        place = self._recalled + by
        if place < 0:
            return True
        if place >= len(self._said):
            self.fill(self._unsent)
            self._recalled = None
            return True
        self._recalled = place
        self.fill(self._said[place])
        return True

    # ---- completing

    @on(TextArea.Changed)
    @on(TextArea.SelectionChanged)
    def offer(self) -> None:
        """Offers what may complete the word at the cursor."""
        row, column = self.editor.cursor_location
        before = "\n".join([*self.editor.text.split("\n")[:row], self.editor.text.split("\n")[row][:column]])
        fresh = before != self._closed_for and self.editor.selection.is_empty
        self._candidates = [
            candidate
            for candidate in (self._complete(before) if fresh else ())
            if candidate.text != before[candidate.start :]
        ]
        options = self.query_one("#completions", OptionList)
        options.clear_options()
        options.add_options([Option(_label(candidate)) for candidate in self._candidates])
        options.display = bool(self._candidates)
        options.highlighted = 0 if self._candidates else None

    def move(self, by: int) -> bool:
        """Moves among the completions; False when none are offered."""
        if not self._candidates:
            return False
        options = self.query_one("#completions", OptionList)
        options.highlighted = ((options.highlighted or 0) + by) % len(self._candidates)
        return True

    def accept(self) -> bool:
        """Takes the chosen completion; False when none is offered."""
        if not self._candidates:
            return False
        chosen = self._candidates[self.query_one("#completions", OptionList).highlighted or 0]
        row, column = self.editor.cursor_location
        line = self.editor.text.split("\n")[row][:column]
        before_line = len("\n".join(self.editor.text.split("\n")[:row])) + (1 if row else 0)
        start = max(0, chosen.start - before_line)
        text = chosen.text if chosen.text.endswith("/") else chosen.text + " "
        self.editor.replace(text, (row, start), (row, len(line)))
        return True

    def close(self) -> bool:
        """Closes the completions; False when none are offered."""
        if not self._candidates:
            return False
        row, column = self.editor.cursor_location
        lines = self.editor.text.split("\n")
        self._closed_for = "\n".join([*lines[:row], lines[row][:column]])
        self.offer()
        return True

    @on(OptionList.OptionSelected, "#completions")
    def chosen(self, selected: OptionList.OptionSelected) -> None:
        """The mouse's way to take a completion."""
        selected.stop()
        self.query_one("#completions", OptionList).highlighted = selected.option_index
        self.accept()
        self.editor.focus()


def _label(candidate: Candidate) -> Text:
    return Text.assemble(clean_line(candidate.text).ljust(_HELP_COLUMN), (clean_line(candidate.help), "dim"))
