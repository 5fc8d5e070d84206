"""The terminal app: what holds for all of its screens. The chat itself is `chat_screen`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.errors import NoWidget
from textual.screen import Screen

from dgchat import remembered as memory
from dgchat.app.asking import Asking
from dgchat.app.bindings import bind
from dgchat.app.chat_screen import ChatScreen
from dgchat.app.commands import COMMANDS
from dgchat.app.conversation import Conversation
from dgchat.app.options import Palette
from dgchat.app.themed import ThemedApp
from dgchat.exits import Exit, Failure, of_engine
from dgchat.history.opening import Opened, open_history
from dgchat.history.purging import copies_beside, purge
from dgchat.history.store import Store
from dgchat.host import EngineHost
from dgchat.hush import screen_alone
from dgchat.opening import VLLM, planned
from dgchat.paths import history_file, log_file
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgbackends.protocol import Backend

_GARBAGE = (700, 10, 100)  # as is usual, but what has lasted is searched ten times less often: that takes a frame


def chat(settings: Settings, resume: int | None = None, images: Sequence[Path] = ()) -> Exit:
    """Runs the app until the user leaves it.

    Args:
        resume: a chat of the history to go on with.
        images: files that go with the first message.

    Raises:
        Failure: there is no such chat, or a file is no image (exit code 4), or the app ended by an error of its own.
    """
    _check_images(images)
    gc.set_threshold(*_GARBAGE)
    with screen_alone():
        app = ChatApp(settings, _load, resume, images)
        try:
            app.run()
        finally:
            app.store.close()
    if app.broken:
        raise Failure(f"The chat ended unexpectedly; the traceback is in {log_file()}.", Exit.ENGINE)
    return Exit.FINE


def _check_images(images: Sequence[Path]) -> None:
    """What is wrong with a file is told before there is a screen: there, what the model says of itself follows at once.

    Raises:
        Failure: exit code 4.
    """
    if not images:
        return
    from dgchat.images.attaching import attach
    from dgengine.errors import ImageError

    try:
        for path in images:
            attach(path)
    except ImageError as error:
        raise of_engine(error) or error from None


def _load(*args: Any, **options: Any) -> Backend:
    """`open_backend`. What is there after it stays for good: the collector of garbage is not to search it again.

    To go through the objects of a toolkit, or of torch, takes longer than a frame.
    """
    from dgbackends.opening import open_backend

    engine = open_backend(*args, **options)
    gc.collect()
    gc.freeze()
    return engine


class ChatApp(ThemedApp):
    """The app: its theme, its keys, what it remembers, and the engine's thread."""

    BINDINGS: ClassVar[list[BindingType]] = [bind("commands", "command_palette"), bind("quit")]

    def __init__(
        self,
        settings: Settings,
        load: Callable[..., Backend] | None = None,
        resume: int | None = None,
        images: Sequence[Path] = (),
    ) -> None:
        """`load` opens an engine, by default `open_backend`; `images` go with the first message.

        Raises:
            Failure: `resume` is no chat, or the settings do not go together.
        """
        label = planned(settings).label
        self.remembered = memory.load()
        super().__init__(self.remembered.over(settings))
        self._early: list[events.Event] | None = []  # keys that have come before the first frame; None after it
        opened = open_history(history_file()) if settings.history else Opened(Store(None))
        self.store = opened.store
        self._opened = opened
        self._resume = self._known(resume)
        self._images = list(images)
        self.host = EngineHost(self.settings, self._mail, load)
        self._copies = copies_beside(self.store)
        conversation = Conversation(self.store, label, self.settings.system, self.trouble, self._copies)
        self.chat = ChatScreen(self, conversation)

    def _known(self, chat: int | None) -> int | None:
        if chat is not None:
            try:
                self.store.conversation(chat)
            except LookupError:
                self.store.close()
                raise Failure(f"There is no chat {chat}; dgchat history lists them.", Exit.INPUT) from None
        return chat

    def _mail(self) -> None:
        """On the engine's thread: `post_message` may be called there."""
        self.chat.post_message(ChatScreen.Mail())

    def get_default_screen(self) -> Screen[Any]:
        """The chat."""
        return self.chat

    def on_mount(self) -> None:
        """Looks and keys; then, once the first frame is painted, the engine."""
        self.dress()
        for sentence in filter(None, [self._opened.remark, *self.settings.warnings]):
            self.trouble(sentence)
        self.call_after_refresh(self._begin)

    async def on_event(self, event: events.Event) -> None:
        """Keys that come before there is a place for them wait for it: who knows the program types at once."""
        if self._early is not None and isinstance(event, events.Key | events.Paste):
            self._early.append(event)
        elif not (isinstance(event, events.MouseEvent) and self._misses(event)):
            await super().on_event(event)

    def _misses(self, event: events.MouseEvent) -> bool:
        """Whether the mouse points at what has been removed since the last frame; Textual would stumble over it."""
        try:
            widget, _ = self.get_widget_at(event.x, event.y)
        except NoWidget:
            return False
        return widget is not self.screen and not widget.is_attached

    def pop_screen(self) -> AwaitComplete:
        """Closes the screen on top. The chat stays: two keys in a row may close the command palette twice."""
        return super().pop_screen() if len(self.screen_stack) > 1 else AwaitComplete()

    async def _take_early_keys(self) -> None:
        early, self._early = self._early or [], None
        self.chat.set_focus(self.chat.composer.editor)
        for event in early:
            await super().on_event(event)

    async def _begin(self) -> None:
        if self._resume is not None:
            await self.chat.open_chat(self._resume)
        self.host.start()
        await self.chat.attach(self._images)
        await self._take_early_keys()
        purge(self.store, self._copies)
        asked = self.settings.sources["model"] == "command line" or not planned(self.settings).is_default
        if not self.remembered.welcomed and not asked:
            self.remember(welcomed=True)
            from dgchat.app.screens import WelcomeScreen
            from dgchat.machine import probe

            self.push_screen(WelcomeScreen(lambda: probe.find()))

    def use_model(self, name: str) -> None:
        """Loads another model in the place of this one; one of this machine in the place of a server's."""
        sources = {**self.settings.sources, "model": "the chat"}
        self.settings = replace(self.settings, model=name, sources=sources)
        if planned(self.settings).backend == VLLM:
            sources |= {"backend": "the chat"}
            self.settings = replace(self.settings, backend="embedded", server=None, sources=sources)
        self.host.use(self.settings)

    def action_command_palette(self) -> None:
        """Opens it."""
        if not Palette.is_open(self):  # type: ignore[arg-type]
            self.push_screen(Palette(id="--command-palette"))

    def on_unmount(self) -> None:
        """Lets the engine rest; what stands of an answer is kept."""
        self.chat.keep()
        self.host.close()

    def restyled(self) -> None:
        """The chat draws its canvas in the new colours."""
        self.chat.restyle()

    def remember(self, **choices: Any) -> None:
        """Keeps choices for the next start; where that cannot be done, they hold for this one."""
        self.remembered = replace(self.remembered, **choices)
        try:
            memory.save(self.remembered)
        except OSError as error:
            self.log(f"remembered.json cannot be written: {error}")

    # ---- the command palette

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The commands are those of the chat: the editor over it has none."""
        return not (action == "command_palette" and isinstance(self.screen, Asking))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The /commands that need no words, for Ctrl+P."""
        if screen is not self.chat:
            return
        for name, command in COMMANDS.items():
            if not command.takes or command.takes in ("[NAME]", "[TEXT]", "[on|off]"):
                yield SystemCommand(f"/{name}", command.help, self._runner(name))

    def _runner(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.chat.post_message(ChatScreen.Command(name, ""))

        return run
