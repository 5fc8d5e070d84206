"""What the transcript is made of: questions, answers, remarks and faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message as TextualMessage
from textual.widgets import Button, Collapsible, Markdown, Static

from dgchat import notes
from dgchat.app.canvas_view import CanvasView
from dgchat.app.files import split_files
from dgchat.canvas.looks import Styles
from dgchat.canvas.state import Canvas, Mode
from dgchat.history.records import Message
from dgchat.sanitize import clean, clean_line

if TYPE_CHECKING:
    from dgengine import Engine, Step

_LONGEST_LINE = 4_000  # characters of a line that is still drawn anew with each block
_LONGEST_MARKDOWN = 200_000  # characters; a longer text is shown as it is, which takes no time


@dataclass(frozen=True)
class Drawing:
    """How the canvas is drawn.

    Attributes:
        marks: looks are told apart by glyphs, for screens without colour.
        motion: whether noise moves.
    """

    styles: Styles
    marks: bool
    mode: Mode
    motion: bool


class Said(Vertical):
    """A question or an answer, with the way to its other branches."""

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = []

    @dataclass
    class Branch(TextualMessage):
        """The user wants the branch `by` places on."""

        said: Said
        by: int

    def __init__(self, message: Message | None, classes: str) -> None:
        super().__init__(classes=classes)
        self.message = message

    def branch_row(self) -> ComposeResult:
        """`‹ 2/3 ›` where there are branches beside this one."""
        with Horizontal(classes="branches"):
            yield Button("‹", classes="branch back", compact=True)
            yield Static(self._branch_text(), classes="branch-place", markup=False)
            yield Button("›", classes="branch on", compact=True)

    def on_mount(self) -> None:
        """Hides the way to other branches where there is none."""
        self._show_branches()

    def kept(self, message: Message) -> None:
        """The message as the store has it now."""
        self.message = message
        self._show_branches()

    def _show_branches(self) -> None:
        for row in self.query(".branches"):
            row.display = self.message is not None and len(self.message.siblings) > 1
        for place in self.query(".branch-place").results(Static):
            place.update(self._branch_text())

    def _branch_text(self) -> str:
        if self.message is None or not self.message.siblings:
            return ""
        return f"{self.message.siblings.index(self.message.id) + 1}/{len(self.message.siblings)}"

    @on(Button.Pressed, ".branch")
    def turn(self, pressed: Button.Pressed) -> None:
        """The mouse's way to another branch."""
        pressed.stop()
        self.post_message(self.Branch(self, -1 if pressed.button.has_class("back") else 1))

    @property
    def text(self) -> str:
        """Its text, cleaned."""
        return clean(self.message.text) if self.message is not None else ""


class Question(Said):
    """What the user has said."""

    def __init__(self, message: Message) -> None:
        super().__init__(message, "said question")

    def compose(self) -> ComposeResult:
        files, words = split_files(self.text)
        for file in files:
            lines = notes.plural(file.text.count("\n") + 1, "line")
            yield Collapsible(
                Static(file.text, markup=False), title=f"{clean_line(file.name)}, {lines}", classes="file"
            )
        yield Static(words, markup=False, classes="words")
        yield from self.branch_row()


class Prose(Vertical):
    """Plain text that grows at its end. Lines that are complete are drawn once, and then left alone."""

    def __init__(self) -> None:
        super().__init__(classes="words")
        self._fixed = ""  # what is drawn for good
        self.tail = ""  # the line that is not complete

    def compose(self) -> ComposeResult:
        yield Static("", markup=False, classes="tail")

    async def show(self, text: str, tail: bool = True) -> None:
        """Shows the text; without `tail` the line that is not complete is left to the canvas, which goes on with it."""
        if not text.startswith(self._fixed):
            await self.query(".fixed").remove()
            self._fixed = ""
        cut = _complete(text, len(self._fixed))
        if cut > len(self._fixed):
            lines = Static(text[len(self._fixed) : cut].removesuffix("\n"), markup=False, classes="fixed")
            await self.mount(lines, before=self.query_one(".tail"))
            self._fixed = text[:cut]
        self.tail = text[cut:]
        last = self.query_one(".tail", Static)
        last.update(self.tail)
        last.display = tail and bool(self.tail)


def _complete(text: str, start: int) -> int:
    """Where the complete lines from `start` on end; an endless line is complete at a space."""
    cut = text.rfind("\n", start) + 1
    if cut <= start and len(text) - start > _LONGEST_LINE:
        cut = text.rfind(" ", start) + 1
    return max(cut, start)


class Answer(Said):
    """What the model says: first its canvas, then Markdown.

    `ended` is the text of blocks that have ended while the answer is being written.
    """

    def __init__(self, message: Message | None = None) -> None:
        super().__init__(message, "said answer")
        self.ended = ""
        self._canvas: Canvas | None = None
        self._view: CanvasView | None = None

    def compose(self) -> ComposeResult:
        if self.message is not None:
            yield from self._composed()
        else:
            yield Prose()
        yield from self.branch_row()

    # ---- while it is being written

    @property
    def draws(self) -> bool:
        """Whether the canvas is on the screen."""
        return self._canvas is not None

    async def step(self, step: Step, engine: Engine, drawing: Drawing) -> Canvas:
        """Draws a step of the block that is being denoised."""
        if self._canvas is None:
            prose = self.query_one(Prose)
            await prose.show(clean(self.ended), tail=False)
            self._canvas = Canvas(
                engine.info.canvas_length, engine.pieces, engine.eos_ids, prose.tail, motion=drawing.motion
            )
            self._view = CanvasView(drawing.styles)
            await self.mount(self._view, before=self.query_one(".branches"))
        self._canvas.take(step)
        self.redraw(drawing)
        return self._canvas

    def redraw(self, drawing: Drawing) -> None:
        """Draws the canvas, where there is one, at the present width and in these colours."""
        if self._canvas is None or self._view is None:
            return
        width = self._view.size.width or self.size.width or max(1, self.app.size.width - 6)
        self._view.restyle(drawing.styles)
        self._view.draw(self._canvas.rows(width, drawing.marks, drawing.mode))

    async def block(self, text: str) -> None:
        """Takes over the text of all blocks that have ended; the canvas goes."""
        self.ended = text
        await self._drop_canvas()
        await self.query_one(Prose).show(clean(text))

    async def settle(self, message: Message | None) -> None:
        """The answer is over: shows it as Markdown; None where nothing of it is kept."""
        await self._drop_canvas()
        if message is None:
            return
        self.message = message
        for old in self.query(".words"):
            await old.remove()
        await self.mount_all(self._composed(), before=self.query_one(".branches"))
        self._show_branches()

    def _composed(self) -> list[Markdown | Static | Collapsible]:
        assert self.message is not None  # called for messages that are kept
        thought, text = clean(self.message.thought), self.text
        long = len(text) > _LONGEST_MARKDOWN
        body = (
            Static(text, markup=False, classes="words") if long else Markdown(text, open_links=False, classes="words")
        )
        folded = Collapsible(Static(thought, markup=False), title="thinking", classes="thinking")
        return [folded, body] if thought else [body]

    async def hide_canvas(self) -> None:
        """Shows what has ended alone: the user does not want to watch any more."""
        await self._drop_canvas()
        if self.message is None:
            await self.query_one(Prose).show(clean(self.ended))

    async def _drop_canvas(self) -> None:
        view, self._view, self._canvas = self._view, None, None
        if view is not None:
            await view.remove()


class Remark(Static):
    """Something that dgchat itself has to say."""

    def __init__(self, text: str) -> None:
        super().__init__(clean_line(text), markup=False, classes="remark")


class Fault(Vertical):
    """An error: what happened, what it means, what to do; with a way to try again."""

    @dataclass
    class Retry(TextualMessage):
        """The user wants the same again."""

    def __init__(self, text: str, details: str, retry: bool) -> None:
        super().__init__(classes="fault")
        self._text, self._details, self._retry = clean_line(text), clean(details), retry

    def compose(self) -> ComposeResult:
        yield Static(self._text, markup=False, classes="fault-text")
        with Horizontal(classes="fault-buttons"):
            if self._retry:
                yield Button("Try again", classes="retry", compact=True)
            yield Button("Copy", classes="copy", compact=True)
        if self._details:
            with Collapsible(title="details", classes="details"):
                yield Static(self._details, markup=False)

    @on(Button.Pressed, ".retry")
    def retry(self, pressed: Button.Pressed) -> None:
        """Asks the app to try again."""
        pressed.stop()
        self.post_message(self.Retry())

    @on(Button.Pressed, ".copy")
    def copy(self, pressed: Button.Pressed) -> None:
        """The text and the details, for a report."""
        pressed.stop()
        self.app.copy_to_clipboard("\n\n".join(filter(None, [self._text, self._details])))


class Decision(Vertical):
    """A block did not settle: more steps, or as it stands?"""

    @dataclass
    class Made(TextualMessage):
        """The user has decided: "more", "keep" or "stop"."""

        choice: str

    def __init__(self, text: str, steps: int) -> None:
        """`steps`: how many more there would be."""
        super().__init__(classes="decision")
        self._text, self._steps = clean_line(text), steps

    def compose(self) -> ComposeResult:
        yield Static(self._text, markup=False, classes="decision-text")
        with Horizontal(classes="decision-buttons"):
            yield Button(f"{self._steps} more steps", id="more", compact=True)
            yield Button("Keep it, go on", id="keep", compact=True)
            yield Button("Stop here", id="stop", compact=True)

    @on(Button.Pressed)
    def decided(self, pressed: Button.Pressed) -> None:
        """Tells the screen."""
        pressed.stop()
        self.post_message(self.Made(pressed.button.id or "keep"))
