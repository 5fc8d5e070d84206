"""The chat on the screen: transcript, panel, composer, and what the keys do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message as TextualMessage
from textual.widgets import Footer, Static

from dgchat import notes
from dgchat.app.answering import MORE_STEPS, Answering, end_note
from dgchat.app.bindings import bind
from dgchat.app.commands import ALIASES, COMMANDS, choices
from dgchat.app.completing import Candidate, complete
from dgchat.app.composer import Composer
from dgchat.app.conversation import Conversation
from dgchat.app.files import FileError, split_files, with_files
from dgchat.app.keeping import told
from dgchat.app.messages import Answer, Decision, Fault, Question, Remark, Said
from dgchat.app.panel import Panel
from dgchat.app.reading_screen import ReadingScreen
from dgchat.app.seldom import Seldom
from dgchat.app.steps_screen import heads
from dgchat.app.terminal import behind
from dgchat.app.transcript import Transcript
from dgchat.app.turns import in_turn
from dgchat.history.records import Message
from dgchat.host import Again, Answered, Failed, Loading, Post, Ready
from dgchat.offered import why_no_action, why_not
from dgchat.opening import planned
from dgchat.sanitize import clean, clean_line

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgchat.app.chat import ChatApp
    from dgchat.trace.steps import StepTrace
    from dgengine import Event

_FRAME = 1 / 60  # seconds between looks into the mailbox
_FIGURES = 0.1  # seconds between looks at the figures beside the canvas
_MOST_BEHIND = 1.0  # seconds for which a terminal that is slow to take a frame is waited for
_MOST_LATE = 0.1  # seconds more, where frames take longer than that to draw
_KEYS = (
    "stop again edit thoughts previous-branch next-branch copy-answer copy-code rewrite watch mode panel canvas page-up"
    " page-down bottom new history theme help"
).split()


class ChatScreen(ReadingScreen):
    """A conversation, and the answer that is being written."""

    BINDINGS: ClassVar[list[BindingType]] = [bind(name) for name in _KEYS]
    AUTO_FOCUS = "#editor"

    @dataclass
    class Mail(TextualMessage):
        """The host's mailbox holds something."""

    @dataclass
    class Command(TextualMessage):
        """A /command, and the words behind it."""

        name: str
        words: str

    def __init__(self, desk: ChatApp, conversation: Conversation) -> None:
        """`desk`: the app, which has the settings, the engine's thread, the theme and the memory."""
        super().__init__(desk)
        self._conversation = conversation
        self._engine: Backend | None = None
        self._answering: Answering | None = None
        self._asked = 0  # the turn that is awaited; 0 for none
        self._kept_blocks = 0  # of an answer that forms anew, those that stay
        self._thinking = desk.settings.thinking
        self._editing: Message | None = None
        self._deleted: int | None = None
        self._next_frame = 0.0
        self._figures = Seldom(self, _FIGURES, self._tell_figures)
        self._opening = False  # the mailbox will be looked into at the next frame
        self._unloaded = False  # whether loading the model has failed

    # ---- what stands where

    def compose(self) -> ComposeResult:
        yield Static("dgchat", id="title", markup=False)
        with Horizontal(id="middle"):
            yield Transcript(id="talk")
            yield Panel(id="panel")
        yield Static("", id="status", markup=False)
        yield Composer(self._complete, self._desk.settings.keys, id="composer")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Before the engine is there."""
        self._arrange()
        self.restyle()
        self.say("starting")

    @property
    def transcript(self) -> Transcript:
        """The messages."""
        return self.query_one(Transcript)

    @property
    def composer(self) -> Composer:
        """Where one writes."""
        return self.query_one(Composer)

    def say(self, text: str) -> None:
        """One line that says what is happening."""
        self.query_one("#status", Static).update(clean_line(text), layout=False)

    def _title(self) -> None:
        parts = ["dgchat"]
        if self._engine is not None:
            info = self._engine.info
            size = f"{info.parameters / 1e9:,.1f} B" if info.parameters >= 1e9 else f"{info.parameters / 1e6:,.1f} M"
            parts += [clean_line(info.name), f"{size} parameters" if info.parameters else ""]
            parts += [f"{info.device} {info.precision}".strip()]
        parts.append(clean_line(self._conversation.title))
        self.query_one("#title", Static).update(" · ".join(filter(None, parts)))

    # ---- writing and sending

    def on_key(self, event: events.Key) -> None:
        """Whoever types while a message is chosen means the composer."""
        if isinstance(self.focused, Said) and event.is_printable and event.character:
            event.stop()
            self.composer.editor.focus()
            self.composer.editor.insert(event.character)

    def _complete(self, before: str) -> list[Candidate]:
        helps = {name: command.help for name, command in COMMANDS.items()}
        return complete(before, helps, choices, Path.cwd())

    @on(Composer.Sent)
    async def send(self, sent: Composer.Sent) -> None:
        """Runs a /command, decides about a block that waits, or asks."""
        text = clean(sent.text).strip()
        if not text:
            await self._more_steps()
            if self.composer.images and not self._asked:
                self.say("write a question to go with the image; Enter sends both")
        elif (command := _command(text)) is not None:
            await self._run_command(*command)
        elif self._asked:
            self._refuse(sent.text, "an answer is being written; Esc stops it")
        else:
            await self._ask(text)

    def _refuse(self, text: str, why: str) -> None:
        self.composer.give_back(text)
        self.say(why)

    async def _ask(self, text: str) -> None:
        try:
            message = with_files(text, Path.cwd())
        except FileError as error:
            self._refuse(text, str(error))
            return
        images = self.composer.images
        reason = await self.why_not_see() if images else None
        if reason is not None:
            self._refuse(text, f"{reason} Take the image away, or choose another model: /models.")
            return
        editing, self._editing = self._editing, None
        if editing is not None and editing in self._conversation.path:
            self._conversation.edit(editing, clean(message), images)
            await self._rebuild()
        else:
            replaced = bool(self._conversation.path) and self._conversation.path[-1].role == "user"
            question = self._conversation.ask(clean(message), images)
            await (self._rebuild() if replaced else self.transcript.show(Question(question)))
        if images:
            await asyncio.to_thread(self._conversation.keep_copies, images)  # a large one takes a while
        await self.composer.take_images_away()
        self.transcript.bottom()
        self._await_answer()

    def _await_answer(self, again: Again | None = None, trace: StepTrace | None = None) -> None:
        """Asks the host for the answer to the end of the path; a model that could not be loaded is tried again."""
        if self._unloaded:
            self._load_again()
        self._kept_blocks = again.blocks if again is not None else 0
        messages = self.messages_to_ask()
        self._asked = self._desk.host.ask(messages, self._thinking, asks=True, again=again, trace=trace)
        self.say("reading" if self._engine is not None else "waiting for the model")
        self._title()
        self._recallable()

    def _recallable(self) -> None:
        self.composer.remember([_words_of(item) for item in self._conversation.path if item.role == "user"])

    async def _run_command(self, name: str, words: str) -> None:
        command = COMMANDS.get(ALIASES.get(name, name))
        if command is None:
            self._refuse(" ".join(filter(None, [f"/{name}", words])), f"there is no command /{name}; /help lists them")
            return
        reason = why_no_action(self._engine, command.action)
        if reason is not None:
            self.say(reason)
            return
        words_of = f"({words!r})" if command.takes else ""
        await self.run_action(f"screen.{command.action}{words_of}" if command.action != "quit" else "app.quit")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for what the engine cannot do are not offered (the panel says why), nor one that the steps have too."""
        if action == "stop" and self.in_steps:
            return False
        return why_no_action(self._engine, action) is None

    @on(Command)
    async def command(self, command: Command) -> None:
        """From the command palette."""
        await self._run_command(command.name, command.words)

    # ---- what the engine says

    @on(Mail)
    async def mail(self) -> None:
        """Looks into the mailbox, 60 times a second at most: what nobody would see is left out there."""
        wait = self._next_frame - time.monotonic()
        if wait <= 0:
            await self._open_mail()
        elif not self._opening:
            self._opening = True
            self.set_timer(wait, self._open_mail)

    async def _open_mail(self) -> None:
        now = time.monotonic()
        if behind() and now < self._next_frame + _MOST_BEHIND:
            self._opening = True
            self.set_timer(_FRAME / 4, self._open_mail)
            return
        late = now - self._next_frame if self._opening else 0.0  # what else there was to do, such as drawing
        self._opening = False
        self._next_frame = now + _FRAME + min(max(late, 0.0), _MOST_LATE)  # so much time is for keys
        posts = self._desk.host.mailbox.drain()
        overtaken = _last_block(posts)
        for place, post in enumerate(posts):
            match post:
                case Loading(text):
                    self.say(text)
                case Ready(engine):
                    await self._loaded(engine)
                case Failed(turn, text, details) if turn in (0, self._asked):
                    await self._failed(text, details)
                case Answered(turn, event) if turn == self._asked:
                    await self._event(event, place >= overtaken)

    def _unload(self) -> None:
        self._engine, self._unloaded = None, False
        self._title()

    async def _loaded(self, engine: Backend) -> None:
        self._engine = engine
        self._title()
        self.say("reading" if self._asked else "ready: write below, Enter sends")
        self.panel.explain(why_not(engine, "drafts"))
        self.refresh_bindings()
        self.check_thinking()  # which may have been wished before it was known whether the model can
        if self.composer.images:
            await self.tell_attached()
        for note in engine.info.notes:
            await self.transcript.show(Remark(note))
        settings = self._desk.settings
        if settings.sources["model"] == "default" and planned(settings).is_default and not settings.quiet:
            await self.transcript.show(Remark("pocket answers; /models shows the full model, and fetches it"))

    async def _failed(self, text: str, details: str) -> None:
        waiting = bool(self._asked)
        self._unloaded = self._engine is None
        await self._end("failed")
        await self.transcript.show(Fault(text, details, retry=waiting or self._unloaded))
        self.say("")

    async def _event(self, event: Event, drawn: bool) -> None:
        """Takes an event; not `drawn`: the end of a later block stands behind it, and that is drawn."""
        from dgengine import Block, Done, Notice, Prefill, Step

        answering = self._current()
        if not isinstance(event, Step):
            self._figures.settle()  # those of the last step, before something else is said
        answering.draft.take(event)
        following = self.transcript.follows
        match event:
            case Notice():
                await self.transcript.show(Remark(event.text))
            case Prefill():
                self.say(f"reading {event.total:,} tokens" if event.total else "reading")
            case Step() if drawn:
                await self._place(answering)
                if self._watch:
                    await answering.step(self.drawing())
                self._figures.wish()
            case Block() if not drawn:
                await answering.block(event, shown=False)
            case Block():
                await self._place(answering)
                said = await answering.block(event)
                if not answering.frozen:
                    self.say(said)
                await self._offer_more(event)
            case Done():
                await self._end(event.reason)
        self.transcript.grown(following)

    def _tell_figures(self) -> None:
        answering = self._answering
        if answering is not None and answering.draft.step is not None:
            said = answering.tell(answering.draft.step, self.panel)
            if not answering.frozen:  # else the line says what can be done now
                self.say(said)

    def _current(self) -> Answering:
        if self._answering is None or self._answering.turn != self._asked:
            assert self._engine is not None  # events come from a loaded engine
            from dgchat.inline.answer import sampling_of

            sampling = sampling_of(self._desk.settings).resolve(self._engine.generation_config)
            trace = self._desk.host.trace
            self._answering = Answering(
                self._asked, self._engine, sampling.max_denoising_steps, trace, heads(trace, self._kept_blocks),
                trace.about.thinking,
            )  # fmt: skip
        return self._answering

    async def _place(self, answering: Answering) -> None:
        """Makes the answer's place in the transcript."""
        if answering.widget is None:
            answering.widget = Answer()
            await self.transcript.show(answering.widget)

    async def _end(self, reason: str) -> None:
        """The answer is over: what there is of it is kept, and shown as it will stay."""
        answering, self._answering, self._asked = self._answering, None, 0
        await self.query(Decision).remove()
        if answering is None:
            if reason == "cancelled":
                self.say("stopped by you")
            return
        new = answering.new_answer(reason)
        message = self._conversation.answer(new) if new is not None else None
        if answering.widget is not None:
            await answering.widget.settle(message)
            if message is None:
                await answering.widget.remove()
        if reason not in ("cancelled", "failed") and answering.draft.steps:
            self.panel.finish(answering.draft)
        note = end_note(answering.draft.done, answering.draft, reason)
        self.panel.outcome(note.partition(" · ")[0])
        self.say(note)
        self._title()

    def keep(self) -> None:
        """Keeps what stands of the answer that is being written: the program ends."""
        answering, self._answering = self._answering, None
        new = answering.new_answer("cancelled") if self._asked and answering is not None else None
        if new is not None:
            self._conversation.answer(new)

    async def _abandon(self) -> None:
        """Ends the answer at once, because the user goes elsewhere."""
        if self._asked:
            self._desk.host.stop()
            await self._end("cancelled")

    # ---- a block that did not settle

    async def _offer_more(self, block: object) -> None:
        draft = self._current().draft
        await self.query(Decision).remove()
        if draft.waiting is not None:
            text = f"did not settle in {notes.plural(draft.waiting.steps, 'step')}"
            await self.transcript.show(Decision(f"Block {draft.waiting.block} {text}.", MORE_STEPS))
            self.say(f"{text}: Enter for {MORE_STEPS} more")

    async def _more_steps(self) -> None:
        if self._answering is not None and self._answering.draft.waiting is not None:
            await self._decide("more")

    @on(Decision.Made)
    async def decided(self, made: Decision.Made) -> None:
        """More steps, as it stands, or no more at all."""
        await self._decide(made.choice)

    async def _decide(self, choice: str) -> None:
        await self.query(Decision).remove()
        if self._answering is None or self._answering.draft.waiting is None:
            return
        self._answering.draft.waiting = None
        match choice:
            case "more":
                self._desk.host.extend(MORE_STEPS)
            case "keep":
                self._desk.host.commit()
            case _:
                self._desk.host.stop()
        self.composer.editor.focus()

    # ---- answers

    @in_turn
    async def action_stop(self) -> None:
        """Out of here, nothing lost: completions, editing, the answer."""
        if self.composer.close():
            return
        if self._editing is not None:
            self._editing = None
            self.composer.clear()
            await self.composer.take_images_away()
            self.say("")
        elif self._asked:
            self._desk.host.stop()
            if self._answering is None:  # nothing has come yet, and the model may still be loading
                await self._end("cancelled")
        elif self.focused is not self.composer.editor:
            self.composer.editor.focus()

    @in_turn
    async def action_again(self) -> None:
        """Another answer to the last question, as a branch."""
        await self._abandon()
        if self._conversation.again() is None:
            self.say("there is no question to answer yet")
            return
        await self._rebuild()
        self._await_answer()

    async def reform(self, message: Message, again: Again, trace: StepTrace) -> None:
        """Has an answer formed anew, as another branch; its canvas is watched."""
        with told(self.say):
            if not self._conversation.reopen(message):
                self.say("that answer is no longer here")
                return
            await self._rebuild()
            self._watch = True
            self._await_answer(again, trace)
            self.composer.editor.focus()

    @in_turn
    async def action_edit(self) -> None:
        """Puts the chosen question, or the last one, into the composer; sent, it is a branch."""
        chosen = self.focused
        question = chosen.message if isinstance(chosen, Question) else None
        asked = [message for message in self._conversation.path if message.role == "user"]
        if question is None and not asked:
            self.say("there is no question yet")
        elif self._asked:
            self.say("an answer is being written; Esc stops it")
        else:
            self._editing = question or asked[-1]
            self.composer.fill(_words_of(self._editing))
            self.say("Enter asks it as another branch, Esc leaves it as it is")
            await self.attach_again(self._editing.images)

    async def _rebuild(self) -> None:
        self._conversation.refresh()
        await self.transcript.rebuild(self._conversation.path)
        self._title()
        self._recallable()

    @on(Fault.Retry)
    async def retry(self) -> None:
        """After a fault: loads the model, or asks again."""
        if self._asked:
            return
        await self.query(Fault).remove()
        last = self._conversation.path[-1] if self._conversation.path else None
        if last is not None and last.reason == "failed":
            await self.action_again()
        elif last is not None and last.role == "user":
            self._await_answer()
        elif self._unloaded:
            self._load_again()

    def _load_again(self) -> None:
        self._unloaded = False
        self._desk.host.load_again()


def _last_block(posts: Sequence[Post]) -> int:
    """The place of the last end of a block; 0 for none. A fast engine may end several between two frames."""
    from dgengine import Block

    ends = [place for place, post in enumerate(posts) if isinstance(post, Answered) and isinstance(post.event, Block)]
    return ends[-1] if ends else 0


def _command(text: str) -> tuple[str, str] | None:
    """The name and the words of a /command; None for a message, such as one that begins with a path."""
    first, _, rest = text.partition(" ")
    name = first[1:]
    return (name, rest.strip()) if first[:1] == "/" and name.isalpha() and "\n" not in text else None


def _words_of(question: Message) -> str:
    """What the user wrote, without the files, which are read anew when it is sent."""
    return split_files(clean(question.text))[1]
