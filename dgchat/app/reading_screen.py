"""What one does with what stands there: the part of the chat's screen that is about looks, branches and copying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual import events, on

from dgchat import notes
from dgchat.app.copying import CodeBlocks
from dgchat.app.drawing import Drawing
from dgchat.app.images_screen import ImagesScreen
from dgchat.app.keeping import told
from dgchat.app.messages import Answer, Said
from dgchat.app.panel import Panel
from dgchat.app.turns import in_turn
from dgchat.canvas.state import Mode
from dgchat.sanitize import clean

if TYPE_CHECKING:
    from dgchat.app.chat import ChatApp
    from dgchat.history.records import Message

_PANEL_FROM: Final = 100  # columns


class ReadingScreen(ImagesScreen):
    """A screen with a chat on it that one reads, and watches as it is written."""

    def __init__(self, desk: ChatApp) -> None:
        """`desk`: the app, which has the settings, the engine's thread, the theme and the memory."""
        super().__init__()
        self._desk = desk
        self._watch = desk.settings.watch
        self._mode = Mode(desk.settings.colors)
        self._panel_wanted = desk.remembered.panel is not False
        self._blocks = CodeBlocks()
        self._rewritten = CodeBlocks()

    # ---- how it looks

    @on(events.Resize)
    def _arrange(self) -> None:
        """The panel has its place where there is room; the canvas is laid out anew."""
        self.panel.display = self._panel_wanted and self.app.size.width >= _PANEL_FROM
        self.call_after_refresh(self.redraw_players)

    @property
    def panel(self) -> Panel:
        """The figures beside them."""
        return self.query_one(Panel)

    def restyle(self) -> None:
        """The theme has changed."""
        if self.query("#legend"):  # the app takes up its theme before this screen is composed
            self.panel.legend(self._desk.canvas_styles, self._mode, self._desk.marks)
            self.call_later(self.redraw_players)

    def drawing(self) -> Drawing:
        """How canvases are drawn now."""
        return Drawing(self._desk.canvas_styles, self._desk.marks, self._mode, self._desk.settings.motion)

    @in_turn
    async def action_watch(self) -> None:
        """Turns the live canvas on or off, and remembers it."""
        self._watch = not self._watch
        self._desk.remember(watch=self._watch)
        if self._answering is not None and self._answering.widget is not None and not self._watch:
            await self._answering.widget.hide_canvas()
        self.say("answers resolve before your eyes" if self._watch else "answers appear block by block")

    def action_mode(self) -> None:
        """The next meaning of the colours."""
        modes = list(Mode)
        self.action_colors(modes[(modes.index(self._mode) + 1) % len(modes)].value)

    def action_colors(self, name: str) -> None:
        """What the colours of the canvas tell."""
        if name not in [mode.value for mode in Mode]:
            self.say(f"the colours tell one of {', '.join(mode.value for mode in Mode)}")
            return
        self._mode = Mode(name)
        self._desk.remember(colors=name)
        self.restyle()
        self.say(f"the colours tell: {name}")

    def action_panel(self) -> None:
        """Shows or hides the panel."""
        self._panel_wanted = not self._panel_wanted
        self._desk.remember(panel=self._panel_wanted)
        self._arrange()
        if self._panel_wanted and not self.panel.display:
            self.say(f"the panel shows in a window of {_PANEL_FROM} columns or more")

    def action_page_up(self) -> None:
        """A page up."""
        self.transcript.messages.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        """A page down."""
        self.transcript.messages.scroll_page_down(animate=False)

    def action_bottom(self) -> None:
        """To the end, which is followed from then on."""
        self.transcript.bottom()

    # ---- branches

    @in_turn
    async def action_previous_branch(self) -> None:
        """The branch before."""
        await self._turn_branch(None, -1)

    @in_turn
    async def action_next_branch(self) -> None:
        """The branch after."""
        await self._turn_branch(None, 1)

    @on(Said.Branch)
    async def branch(self, branch: Said.Branch) -> None:
        """The mouse's way to another branch."""
        await self._turn_branch(branch.said.message, branch.by)

    async def _turn_branch(self, message: Message | None, by: int) -> None:
        await self._abandon()
        self._conversation.refresh()
        path = self._conversation.path
        focused = self.focused.message if isinstance(self.focused, Said) else None
        wanted = message or focused
        chosen = [item for item in path if wanted is not None and item.id == wanted.id]
        # Without one, the last fork that goes on in this direction.
        places = chosen or [item for item in reversed(path) if len(item.siblings) > 1]
        if not places:
            self.say("there is no other branch")
            return
        with told(self.say):
            place = next((item for item in places if self._conversation.switch(item, by)), None)
            if place is None:
                self.say("there is no branch further on")
                return
            await self._rebuild()
            number, count = _place_of(self._conversation.path, place)
            self.say(f"branch {number} of {count}")

    # ---- copying and rewriting

    def action_copy_answer(self) -> None:
        """Copies the chosen message, or the last answer."""
        chosen = self.focused if isinstance(self.focused, Said) else None
        answers = self._answers()
        text = chosen.text if chosen is not None else answers[-1] if answers else ""
        if text:
            self.app.copy_to_clipboard(text)
        self.say(f"copied {notes.plural(len(text), 'character')}" if text else "there is no answer to copy yet")

    def action_copy_code(self) -> None:
        """Copies a code block; the next one at each call."""
        found = self._blocks.next(self._answers())
        if found is None:
            self.say("there is no code block in this chat")
            return
        code, number, count = found
        self.app.copy_to_clipboard(code)
        self.say(f"copied code block {number} of {count}, {notes.plural(len(code.splitlines()), 'line')}")

    def action_rewrite(self, words: str = "") -> None:
        """Opens the chosen answer, the last one, or the next code block in the editor."""
        from dgchat.app.rewriting import open_editor

        chosen = self.focused.message if isinstance(self.focused, Answer) else None
        if self._asked:
            self.say("an answer is being written; Esc stops it")
        else:
            answers = [clean(chosen.text)] if chosen is not None else self._answers()
            self.say(open_editor(self._desk, answers, self._rewritten, words.strip()))

    def _answers(self) -> list[str]:
        return [clean(message.text) for message in self._conversation.path if message.role == "assistant"]


def _place_of(path: list[Message], message: Message) -> tuple[int, int]:
    """The number of the branch that the path takes where `message` or a sibling of it stands, and of how many."""
    taken = next(item for item in path if item.id in message.siblings)
    return taken.siblings.index(taken.id) + 1, len(taken.siblings)
