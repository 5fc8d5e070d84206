"""The parts of the chat's screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static, TextArea

from dgchat import guide
from dgchat.canvas.looks import Styles
from dgchat.canvas.state import Canvas
from dgchat.sanitize import clean

if TYPE_CHECKING:
    from dgengine import Block, Engine, Step


class Composer(TextArea):
    """Where one writes: Enter sends, Ctrl+J begins a new line."""

    @dataclass
    class Sent(Message):
        """The user has sent `text`."""

        text: str

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Sent(self.text))
        elif event.key == "ctrl+j":
            event.stop()
            event.prevent_default()
            self.insert("\n")
        else:
            await super()._on_key(event)


class Reply(Static):
    """An answer: its settled text, and after it the canvas while there is one."""

    def __init__(self, engine: Engine, styles: Styles, marks: bool) -> None:
        super().__init__("", markup=False, classes="reply")
        self.ids: list[int] = []
        self.text = ""
        self._engine = engine
        self._styles = styles
        self._marks = marks
        self._canvas: Canvas | None = None
        self._rows = 0

    def step(self, step: Step) -> Canvas:
        """Draws a step of the block that is being denoised."""
        if self._canvas is None:
            head = clean(self.text)
            self._canvas = Canvas(self._engine.info.canvas_length, self._engine.pieces, self._engine.eos_ids, head)
        self._canvas.take(step)
        self._draw()
        return self._canvas

    def block(self, block: Block) -> None:
        """Takes over a block that has settled."""
        self.ids += block.tokens.tolist()
        self.text = self._engine.decode(self.ids)
        self.settle()

    def settle(self) -> None:
        """Shows the settled text alone."""
        self._canvas, self._rows = None, 0
        self.update(Text(clean(self.text)))

    def on_resize(self) -> None:
        """Lays the canvas out anew."""
        if self._canvas is not None:
            self._draw()

    def _draw(self) -> None:
        if self._canvas is None:
            return
        rows = self._canvas.rows(max(1, self.content_size.width or self.app.size.width - 6), self._marks)
        lines = [Text.assemble(*((span.text, self._styles.of(span)) for span in row)) for row in rows]
        self.update(Text("\n").join(lines), layout=len(rows) != self._rows)
        self._rows = len(rows)


class GuideScreen(Screen[None]):
    """The guide."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "Back"),
        ("f1", "dismiss", "Back"),
    ]

    def compose(self) -> ComposeResult:
        yield Static("dgchat: the guide", id="title")
        with VerticalScroll(id="guide"):
            for section, entries in guide.sections(guide.entries()):
                yield Static(Text(section.upper() + "\n", style="bold"))
                for entry in entries:
                    body = Text.assemble((entry.title + "\n", "bold"), *guide.code_spans(entry.answer), "\n")
                    yield Static(body)
        yield Footer()
