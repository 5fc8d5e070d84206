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

_SHOWN = 60  # messages that are mounted when a chat is opened; on request as many more at a time


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

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._earlier: list[Message] = []  # the first messages of the chat, which are not mounted

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

    async def rebuild(self, path: Sequence[Message]) -> None:
        """Shows the end of these messages, and nothing else; of a long chat there is a way to those before."""
        self._earlier = list(path[:-_SHOWN])
        widgets = _widgets(path[-_SHOWN:])
        if self._earlier:
            widgets.insert(0, Button(self._earlier_text(), id="earlier", compact=True))
        with self.app.batch_update():
            await self.messages.remove_children()
            await self.messages.mount_all(widgets)
        self.bottom()

    def _earlier_text(self) -> str:
        return f"↑ {len(self._earlier)} earlier messages"

    @on(Button.Pressed, "#earlier")
    async def go_earlier(self, pressed: Button.Pressed) -> None:
        """Shows as many messages more, above what is in sight, which stays there."""
        pressed.stop()
        if not self._earlier:  # pressed twice
            return
        first = self.query(Said).first()
        more, self._earlier = self._earlier[-_SHOWN:], self._earlier[:-_SHOWN]
        self.messages.follows = False
        with self.app.batch_update():
            await self.messages.mount_all(_widgets(more), before=first)
            if self._earlier:
                pressed.button.label = self._earlier_text()
            else:
                await pressed.button.remove()
        self.call_after_refresh(self.messages.scroll_to_widget, first, animate=False, top=True)

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


def _widgets(messages: Sequence[Message]) -> list[Widget]:
    return [Question(item) if item.role == "user" else Answer(item) for item in messages]
