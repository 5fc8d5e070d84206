"""The conversation on the screen. It follows its end, until one scrolls up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message as TextualMessage
from textual.widget import Widget
from textual.widgets import Button

from dgchat.app.messages import Answer, Question, Said
from dgchat.history.records import Message

_SHOWN = 60  # messages that are mounted when a chat is opened; more on request


class Messages(VerticalScroll):
    """The messages themselves."""

    can_focus = False

    @dataclass
    class Scrolled(TextualMessage):
        """The end came into sight, or went out of it."""

        at_end: bool

    follows = True  # whether the end stays in sight when something is added

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Scrolling up lets go of the end, scrolling down to it follows it again."""
        super().watch_scroll_y(old, new)
        self.follows = self.is_vertical_scroll_end
        self.post_message(self.Scrolled(self.follows))

    def watch_virtual_size(self) -> None:
        """What has been added comes into sight. Textual's own anchor would push a short chat to the bottom."""
        if self.follows:
            self.to_end()

    def to_end(self) -> None:
        """Goes to the end, and follows it."""
        self.follows = True
        self.scroll_end(animate=False, immediate=True)


class Transcript(Vertical):
    """The messages, and a mark while something new stands below what is in sight."""

    def compose(self) -> ComposeResult:
        yield Messages(id="transcript")
        below = Button("↓ more below", id="below", compact=True)
        below.display = False
        yield below

    @property
    def messages(self) -> Messages:
        """Where the messages are."""
        return self.query_one(Messages)

    @property
    def follows(self) -> bool:
        """Whether the end stays in sight."""
        return self.messages.follows

    async def show(self, widget: Widget) -> None:
        """Adds something at the end."""
        following = self.follows
        await self.messages.mount(widget)
        self.grown(following)

    def grown(self, following: bool | None = None) -> None:
        """Something below may have grown: marks it where it is not in sight."""
        self.query_one("#below").display = not (self.follows if following is None else following)

    async def rebuild(self, path: Sequence[Message], from_start: bool = False) -> None:
        """Shows these messages, and nothing else; of a long chat the last ones, with a way to the others.

        Goes to the end; with `from_start` to where one was.
        """
        hidden = 0 if from_start else max(0, len(path) - _SHOWN)
        widgets: list[Widget] = [Question(item) if item.role == "user" else Answer(item) for item in path[hidden:]]
        if hidden:
            widgets.insert(0, Button(f"↑ {hidden} earlier messages", id="earlier", compact=True))
        with self.app.batch_update():
            await self.messages.remove_children()
            await self.messages.mount_all(widgets)
        if from_start:
            self._stay_at(widgets[-_SHOWN])
        else:
            self.bottom()

    def _stay_at(self, widget: Widget) -> None:
        """Keeps in sight what was the first of all before the earlier messages came."""
        self.messages.follows = False
        self.call_after_refresh(self.messages.scroll_to_widget, widget, animate=False, top=True)

    def bottom(self) -> None:
        """Goes to the end, and follows it."""
        self.messages.to_end()
        self.query_one("#below").display = False

    def last(self) -> Said | None:
        """The last question or answer."""
        said = list(self.query(Said))
        return said[-1] if said else None

    @on(Messages.Scrolled)
    def scrolled(self, scrolled: Messages.Scrolled) -> None:
        """Takes the mark away when the end is in sight."""
        if scrolled.at_end:
            self.query_one("#below").display = False

    @on(Button.Pressed, "#below")
    def go_below(self, pressed: Button.Pressed) -> None:
        """The mouse's way to the end."""
        pressed.stop()
        self.bottom()
