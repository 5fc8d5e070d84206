"""A candidate in its place in the text, for as long as it is looked at; the text's own history knows nothing of it."""

from __future__ import annotations

from typing import TypeAlias

from textual.document._document import Selection
from textual.widgets import TextArea

Location: TypeAlias = tuple[int, int]


class Preview:
    """Puts texts in the place of a part of a text area's text, one after another, and takes them out again.

    Of all this nothing is left in the history of what can be undone: that of the preview takes its place meanwhile.
    """

    def __init__(self, area: TextArea, start: Location, end: Location) -> None:
        """`start`, `end`: the part, its beginning first."""
        self._area, self._start, self._end = area, start, end
        self._history, self._selection, self._scroll = area.history, area.selection, area.scroll_offset
        self._shown = False

    def show(self, text: str) -> None:
        """Shows a text in the place of the part, and selects it."""
        self._take_out()
        area = self._area
        area.history = type(self._history)(max_checkpoints=4, checkpoint_timer=0.0, checkpoint_max_characters=1)
        end = area.replace(text, self._start, self._end, maintain_selection_offset=False).end_location
        area.selection = Selection(self._start, end)
        self._shown = True

    def _take_out(self) -> None:
        if self._shown:
            self._area.selection = Selection.cursor(self._start)  # that of the text now may lie outside that of before
            TextArea.undo(self._area)
            self._shown = False

    def withdraw(self) -> None:
        """The text, the selection and the history are as they were."""
        self._take_out()
        self._area.history = self._history
        self._area.selection = self._selection
        if self._area.is_mounted:
            self._area.scroll_to(*self._scroll, animate=False, force=True)

    def accept(self, text: str) -> None:
        """Takes a text for good, as one step that can be undone; the cursor stands behind it."""
        self.withdraw()
        area = self._area
        area.history.checkpoint()
        area.replace(text, self._start, self._end, maintain_selection_offset=False)
        area.history.checkpoint()
