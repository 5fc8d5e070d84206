"""What the transcript is made of: questions, answers, remarks and faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widget import Widget
from textual.widgets import Button, Collapsible, Static

from dgchat import notes
from dgchat.app.attachments import ImageLine
from dgchat.app.drawing import Drawing
from dgchat.app.files import split_files
from dgchat.app.prose import Prose
from dgchat.history.records import Message
from dgchat.sanitize import clean, clean_line
from dgchat.thoughts import words

if TYPE_CHECKING:
    from dgchat.app.player import Player
    from dgchat.trace.steps import StepTrace

_LONGEST_MARKDOWN = 200_000  # characters; a longer text is shown as it is, which takes no time


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
            title = Content(f"{clean_line(file.name)}, {lines}")  # a text would be read as markup
            yield Collapsible(Static(file.text, markup=False), title=title, classes="file")  # type: ignore[arg-type]
        yield from (ImageLine(image) for image in (self.message.images if self.message is not None else ()))
        yield Static(words, markup=False, classes="words")
        yield from self.branch_row()


class Answer(Said):
    """What the model says: first its canvas, then Markdown, and its steps for whoever wants to see them again."""

    @dataclass
    class Steps(TextualMessage):
        """The user wants to see the steps of an answer that is over."""

        answer: Answer

    def __init__(self, message: Message | None = None) -> None:
        super().__init__(message, "said answer")
        self._ended = ""  # the text of blocks that have ended while the answer is being written

    def compose(self) -> ComposeResult:
        if self.message is not None:
            if self.message.thought:
                yield Thought(self.message.thought, over=True)
            yield from self._composed()
        else:
            yield Prose()
        yield from self.branch_row()

    # ---- while it is being written

    @property
    def player(self) -> Player | None:
        """The canvas, where it is on the screen."""
        found = (child for child in self.children if child.has_class("player"))  # for each frame: a query takes longer
        return cast("Player | None", next(found, None))

    async def step(self, trace: StepTrace, drawing: Drawing, steerable: bool = True) -> int:
        """Draws the newest step of a trace that grows; returns how many tokens of its block were taken back."""
        from dgchat.app.player import Player  # and with it numpy, for which the first frame does not wait

        player, row = self.player, self._row
        if row is None:
            return 0
        if player is None:
            player = Player(trace, drawing, live=True, steerable=steerable)
            self.query_one(Prose).display = False
            await self.mount(player, before=row)
        await player.grown()
        return player.taken_back

    async def redraw(self, drawing: Drawing) -> None:
        """Draws the canvas, where there is one, at the present width and in these colours."""
        if self.player is not None:
            await self.player.redraw(drawing)

    async def block(self, text: str, thought: str = "") -> None:
        """Takes over the text of all blocks that have ended, and what the model thought in them."""
        self._ended = text
        await self._think(thought)
        if self.player is not None:
            await self.player.block_ended(clean(text))
        else:
            await self.query_one(Prose).show(clean(text))

    async def settle(self, message: Message | None) -> None:
        """The answer is over: shows it as Markdown; None where nothing of it is kept.

        Whoever is looking at an earlier step goes on to do so.
        """
        if message is None:
            return
        self.message = message
        for old in self.query(".words").results():
            if old.parent is self:
                await old.remove()
        player = self.player
        looking = player is not None and (player.has_focus_within or not player.following)
        if player is not None:
            await (player.finished() if looking else player.remove())
        await self._think(message.thought, over=True)
        if (row := self._row) is None:
            return
        await self.mount_all(self._composed(), before=row)
        self._show_body(not looking)
        self._show_branches()

    @property
    def _row(self) -> Widget | None:
        """That of the branches, before which the rest stands; None where the message is on its way off the screen."""
        return next(iter(self.query(".branches")), None)

    def _composed(self) -> list[Widget]:
        from textual.widgets import Markdown  # for which the first frame does not wait

        assert self.message is not None  # called for messages that are kept
        text = self.text
        long = len(text) > _LONGEST_MARKDOWN
        body: Widget = (
            Static(text, markup=False, classes="words") if long else Markdown(text, open_links=False, classes="words")
        )
        parts: list[Widget] = [body]
        if self.message.traced:
            parts.append(StepsLine(self.message.stats))
        return parts

    async def _think(self, thought: str, over: bool = False) -> None:
        """Shows the thought so far, folded until the user unfolds it."""
        found = self.thought
        if found is not None and thought:
            found.grow(thought, over)
        elif found is not None:
            await found.remove()
        elif thought:
            await self.mount(Thought(thought, over), before=0)

    @property
    def thought(self) -> Thought | None:
        """What the model has thought, where there is anything."""
        return next((child for child in self.children if isinstance(child, Thought)), None)

    async def hide_canvas(self) -> None:
        """Shows what has ended alone: the user does not want to watch any more."""
        player = self.player
        if self.message is None and player is not None:
            await player.remove()
            prose = self.query_one(Prose)
            prose.display = True
            await prose.show(clean(self._ended))

    # ---- when it is over

    async def show_steps(self, trace: StepTrace, drawing: Drawing, steerable: bool) -> None:
        """Shows the steps in the place of the text."""
        from dgchat.app.player import Player

        if (row := self._row) is None:
            return
        if self.player is None:
            self._show_body(False)
            await self.mount(Player(trace, drawing, steerable=steerable), before=row)
        assert self.player is not None  # just mounted
        self.player.focus()

    async def hide_steps(self) -> None:
        """Shows the text again."""
        if self.player is not None and self.message is not None:
            await self.player.remove()
            self._show_body(True)

    def _show_body(self, shown: bool) -> None:
        for part in self.query_children(".words, StepsLine"):
            part.display = shown

    @on(events.Click, "StepsLine")
    def steps_wanted(self, event: events.Click) -> None:
        """The mouse's way to the steps."""
        event.stop()
        self.post_message(self.Steps(self))


class Thought(Collapsible):
    """What the model thought before it answered: one line that tells how much that is, until it is unfolded."""

    def __init__(self, thought: str, over: bool = False) -> None:
        """`over`: whether no more will come."""
        self._text = clean(thought)
        self._words = Static(self._text, markup=False)
        super().__init__(self._words, title=_thought_title(self._text, over), classes="thinking")

    def grow(self, thought: str, over: bool) -> None:
        """The thought as it is now."""
        self.title = _thought_title(thought, over)
        if clean(thought) != self._text:
            self._text = clean(thought)
            self._words.update(self._text)


def _thought_title(thought: str, over: bool) -> str:
    return f"{'thought' if over else 'thinking'}: {words(thought)}"


class StepsLine(Static):
    """A quiet line under an answer whose steps are kept."""

    def __init__(self, stats: Mapping[str, Any]) -> None:
        steps = stats.get("steps")
        count = notes.plural(steps, "step") if isinstance(steps, int) else "steps"
        steered = " · steered by hand" if stats.get("steered") else ""
        super().__init__(f"◂ {count} ▸{steered}", markup=False, classes="steps")


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
