"""A plain chat in the terminal: ask, and watch the answer resolve in place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.theme import Theme as TextualTheme
from textual.widgets import Footer, Static

from dgchat import notes, themes
from dgchat.app.widgets import Composer, GuideScreen, Reply
from dgchat.canvas.looks import Styles
from dgchat.exits import Exit, Failure
from dgchat.host import Answered, EngineHost, Failed, Loading, Ready
from dgchat.hush import hushed
from dgchat.inline.answer import system_messages
from dgchat.sanitize import clean, clean_line
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgengine import Done, Engine, Event, Step


def chat(settings: Settings) -> Exit:
    """Runs the chat until the user leaves it.

    Raises:
        Failure: the theme cannot be used (exit code 2).
    """
    with hushed() as screen:
        app = ChatApp(settings)
        before = sys.__stderr__
        vars(sys)["__stderr__"] = screen  # where Textual draws
        try:
            app.run()
        finally:
            vars(sys)["__stderr__"] = before
    if app.broken:
        raise Failure("The chat ended unexpectedly; DGCHAT_DEBUG=1 shows why.", Exit.ENGINE)
    return Exit.FINE


class ChatApp(App[None]):
    """The chat."""

    CSS_PATH = "chat.tcss"
    TITLE = "dgchat"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "stop", "Stop"),
        ("ctrl+l", "clear", "Clear"),
        ("f1", "guide", "Guide"),
        ("ctrl+q", "quit", "Quit"),
    ]

    @dataclass
    class Mail(Message):
        """The host's mailbox holds something."""

    def __init__(self, settings: Settings, load: Callable[..., Engine] | None = None) -> None:
        """`load` opens an engine, by default `Engine.load`.

        Raises:
            Failure: the theme cannot be used.
        """
        super().__init__()
        self._settings = settings
        self._palette = themes.load(settings.theme)
        self._host = EngineHost(settings, self._notify, load)
        self._engine: Engine | None = None
        self._messages: list[dict[str, Any]] = system_messages(settings)
        self._reply: Reply | None = None
        self._turn = 0  # the number of the answer that is awaited; 0 for none
        self._marks = bool(os.environ.get("NO_COLOR"))
        self._styles = Styles(self._palette, self._marks)

    def _notify(self) -> None:
        """On the engine's thread: `post_message` may be called there."""
        self.post_message(self.Mail())

    @property
    def broken(self) -> bool:
        """Whether the app ended by an error of its own."""
        return bool(self.return_code)

    def compose(self) -> ComposeResult:
        yield Static("dgchat", id="title", markup=False)
        yield VerticalScroll(id="transcript", can_focus=False)
        yield Static("", id="status", markup=False)
        yield Composer(id="composer", compact=True, highlight_cursor_line=False)
        yield Footer()

    def on_mount(self) -> None:
        self.register_theme(_textual(self._palette))
        self.theme = self._palette.name
        self.query_one("#transcript", VerticalScroll).anchor()
        self.query_one(Composer).focus()
        self.call_after_refresh(self._host.start)  # torch is imported once the first frame is painted

    def on_unmount(self) -> None:
        """Lets the engine rest."""
        self._host.close()

    # ---- what the user does

    @on(Composer.Sent)
    async def send(self, sent: Composer.Sent) -> None:
        """Asks, unless an answer is being written."""
        text = clean(sent.text).strip()
        if not text:
            return
        if self._turn:
            self._say("an answer is being written; Esc stops it")
            return
        self.query_one(Composer).clear()
        self._messages.append({"role": "user", "content": text})
        await self._show(Static(text, markup=False, classes="said"))
        self._turn = self._host.ask(self._messages)

    def action_stop(self) -> None:
        """Ends the answer within one step."""
        if self._turn:
            self._host.stop()

    async def action_clear(self) -> None:
        """Begins a new conversation."""
        self._host.forget()
        self._messages = system_messages(self._settings)
        self._reply, self._turn = None, 0
        await self.query_one("#transcript").remove_children()
        self._say("a new conversation")

    def action_guide(self) -> None:
        """Shows the guide."""
        self.push_screen(GuideScreen())

    # ---- what the engine says

    @on(Mail)
    async def open_mail(self) -> None:
        """Handles all that the host has put into the mailbox."""
        for post in self._host.mailbox.drain():
            match post:
                case Loading(text):
                    self._say(text)
                case Ready(engine):
                    await self._loaded(engine)
                case Failed(turn, text) if turn in (0, self._turn):
                    await self._failed(text)
                case Answered(turn, event) if turn == self._turn:
                    await self._event(event)

    async def _loaded(self, engine: Engine) -> None:
        self._engine = engine
        info = engine.info
        size = f"{info.parameters / 1e6:,.1f} M parameters"
        title = ("dgchat", clean_line(info.name), size, f"{info.device} {info.precision}")
        self.query_one("#title", Static).update("   ".join(title))
        self._say("thinking" if self._turn else "ready: write below, Enter sends")
        if self._settings.sources["model"] == "default" and not self._settings.quiet:
            await self._show(Static(notes.default_model_note(), markup=False, classes="remark"))

    async def _failed(self, text: str) -> None:
        await self._show(Static(text, markup=False, classes="remark failed"))
        self._say("")
        self._end()

    async def _event(self, event: Event) -> None:
        from dgengine import Block, Done, Notice, Step

        if isinstance(event, Notice):
            await self._show(Static(clean_line(event.text), markup=False, classes="remark"))
        elif isinstance(event, Step):
            self._step(event, await self._current())
        elif isinstance(event, Block):
            (await self._current()).block(event)
            self._say(notes.block_note(event) or f"settled in {notes.plural(event.steps, 'step')}")
        elif isinstance(event, Done):
            self._done(event)

    def _step(self, step: Step, reply: Reply) -> None:
        canvas = reply.step(step)
        self._say(
            f"block {step.block}, step {step.step}, T {step.temperature:.2f}: "
            f"{canvas.accepted} of {len(step.draft)} accepted"
        )

    def _done(self, done: Done) -> None:
        if done.reason == "cancelled":
            self._say("stopped by you")
        else:
            self._say(notes.done_note(done) or notes.summary(done))
        self._end()

    def _end(self) -> None:
        """The answer is over. What has settled stays in the conversation; a question without an answer does not."""
        reply, self._reply, self._turn = self._reply, None, 0
        if reply is not None:
            reply.settle()
        if reply is not None and reply.ids:
            self._messages.append({"role": "assistant", "content": reply.text, "ids": reply.ids})
        elif self._messages and self._messages[-1]["role"] == "user":
            self._messages.pop()

    # ---- the screen

    async def _current(self) -> Reply:
        """The answer being written, at the end of the transcript."""
        if self._reply is None:
            assert self._engine is not None  # events come from a loaded engine
            self._reply = Reply(self._engine, self._styles, self._marks)
            await self._show(self._reply)
        return self._reply

    async def _show(self, widget: Static) -> None:
        await self.query_one("#transcript").mount(widget)

    def _say(self, text: str) -> None:
        """One line that says what is happening."""
        self.query_one("#status", Static).update(clean_line(text))


def _textual(theme: themes.Theme) -> TextualTheme:
    """A palette as Textual's own kind of theme."""
    colors: dict[str, Any] = dict(theme.colors)
    return TextualTheme(name=theme.name, dark=theme.dark, variables=dict(theme.canvas), **colors)
