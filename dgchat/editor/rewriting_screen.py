"""The part of the editor's screen that is about rewriting: asking, watching it resolve, choosing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message
from textual.widget import Widget

from dgchat.app.turns import in_turn
from dgchat.editor.area import Area, Location
from dgchat.editor.ask_bar import STRENGTHS, AskBar, Manner, WordKeys
from dgchat.editor.desk import Desk
from dgchat.editor.preview import Preview
from dgchat.editor.proposals import Proposals
from dgchat.editor.resolving import Resolving
from dgchat.editor.rewrite import Rewrite
from dgchat.editor.steering_screen import SteeringScreen
from dgchat.editor.words import Words, without_ends
from dgchat.host import Answered, Failed, Outlet
from dgchat.notes import plural
from dgchat.offered import why_not

if TYPE_CHECKING:
    from dgengine import Done, Event, InfillRequest

_FRAME = 1 / 30  # seconds between looks into the mailbox
_ENGLISH = 4.0  # cells that a token takes, where nothing tells
_ROOM_AROUND = 6  # rows of the text that stay in sight beside the hole


class RewritingScreen(SteeringScreen):
    """A screen with a text that can be rewritten."""

    desk: Desk

    @dataclass
    class Mail(Message):
        """There are events of the rewrite."""

    def begin_rewriting(self) -> None:
        """What there is before anything is rewritten; to be called before the screen is shown."""
        self.manner = Manner()
        self.begin_steering()
        self._words: Words | None = None  # of the selection, while one chooses how to rewrite it
        self._preview: Preview | None = None
        self._was_modified = False  # before a candidate was shown in the text
        self.unloaded = False  # whether loading the model has failed
        self._asked: tuple[InfillRequest, int | None] | None = None  # the request, and its seed
        self._origin: tuple[Location, int] = ((0, 0), 0)  # a place near the span, and its index in the text
        self._outlet = Outlet(lambda: self.post_message(self.Mail()))
        self._next_frame = 0.0
        self._opening_mail = False

    async def show_below(self, widget: Widget | None) -> None:
        """What stands below the text; None: the text has the keys again."""
        below = self.query_one("#below-text")
        await below.remove_children()
        if widget is not None:
            await below.mount(widget)
        else:
            self.area.focus()

    @property
    def busy(self) -> bool:
        """Whether a rewrite is being asked for, made or chosen."""
        return self.area.read_only

    def remark(self) -> str:
        """What is out of the ordinary with this text."""
        raise NotImplementedError

    def tell_model(self, text: str) -> None:
        """What the engine's thread is busy with; nothing once the model is loaded."""
        if self._turn and text:
            self.progress(text)
        elif not self.busy:
            self.say(text or self.remark())

    # ---- asking

    @in_turn
    async def action_infill(self) -> None:
        """Asks how to rewrite what is selected, or what to write at the cursor."""
        if self.busy:
            return
        reason = why_not(self.desk.host.engine, "infill")
        if reason is not None:
            self.say(reason)
            return
        self._span = self.area.selected
        self._origin = self._span[0], self.area.index_of(self._span[0])
        self._words = Words(self.area.get_text_range(*self._span))
        self.area.guard(choosing=True)
        bar = AskBar(self.manner, len(self._words.ranges))
        await self.show_below(bar)
        start, end = self._span
        self.say("the model writes at the cursor" if start == end else "the model rewrites what is selected")

    @on(AskBar.Left)
    async def left_asking(self) -> None:
        """The text as it is."""
        await self._to_text("")

    async def _to_text(self, said: str) -> None:
        self._words = self._rewrite = self._preview = None
        self._turn = 0
        self.let_go()
        self.area.close_hole()
        self.area.mark([])
        self.area.release()
        await self.show_below(None)
        self.show_title()
        self.say(said)

    @on(WordKeys.Moved)
    def word_moved(self, moved: WordKeys.Moved) -> None:
        """Another word is looked at."""
        if self._words is not None:
            self._words.move(moved.by)
            self._mark_words(looking=True)

    @on(WordKeys.Toggled)
    def word_toggled(self) -> None:
        """It is kept, or not."""
        if self._words is not None:
            self._words.toggle()
            self._mark_words(looking=True)

    @on(WordKeys.Left)
    def words_left(self) -> None:
        """No word is looked at."""
        self._mark_words(looking=False)

    @on(Area.WordChosen)
    def word_chosen(self, chosen: Area.WordChosen) -> None:
        """The mouse's way to keep a word."""
        if self._words is not None:
            within = self._span[0] <= chosen.location < self._span[1]
            number = self._words.at(len(self.area.get_text_range(self._span[0], chosen.location))) if within else None
            if number is not None and self._words.toggle(number):
                self._mark_words(looking=False)

    def _mark_words(self, looking: bool) -> None:
        words = self._words
        if words is None:
            return
        begin = self._origin[1]
        kept = [self._places(start + begin, end + begin) for start, end in words.kept_ranges()]
        now = words.ranges[words.now] if looking and words.ranges else None
        self.area.mark(kept, self._places(now[0] + begin, now[1] + begin) if now is not None else None)
        self.query_one(AskBar).word_keys.tell(len(words.kept), len(words.ranges))

    def _places(self, start: int, end: int) -> tuple[Location, Location]:
        """Where a part of the text lies, near what is being rewritten."""
        place, index = self._origin
        return self.area.place_behind(place, start - index), self.area.place_behind(place, end - index)

    @on(AskBar.Begun)
    async def asked(self, begun: AskBar.Begun) -> None:
        """Begins."""
        from dgengine import InfillError, InfillRequest

        self.manner = begun.manner
        begin, end = self._origin[1], self._origin[1] + len(self.area.get_text_range(*self._span))
        keep = [(start + begin, stop + begin) for start, stop in self._words.kept_ranges()] if self._words else []
        span, keep = without_ends((begin, end), keep)
        if begin < end and span[0] >= span[1]:
            self.say("every word is kept: there is nothing to rewrite")
            return
        try:
            request = InfillRequest(
                self.area.stand_ins.plain(self.area.document.text), (span,), self.manner.instruction,
                STRENGTHS[self.manner.strength], self.manner.candidates, keep=tuple(keep),
            )  # fmt: skip
        except InfillError as error:
            self.say(str(error))
            return
        await self._begin(request, self.desk.settings.seed)

    async def _begin(self, request: InfillRequest, seed: int | None) -> None:
        """Has the request done."""
        if self.unloaded:
            self.unloaded = False
            self.desk.host.load_again()
        self._span, self._asked = self._places(*request.spans[0]), (request, seed)
        self.let_go()
        self.area.mark([self._places(*kept) for kept in request.keep])
        self.area.guard()
        self._turn = self.desk.host.infill(request, self._outlet, seed)
        self._rewrite = Rewrite(request, self._turn, self.pieces, self.desk.settings.motion)
        loaded = self.desk.host.engine is not None
        await self.show_below(Resolving("reading" if loaded else "waiting for the model"))
        self.show_title()
        self.say("")

    # ---- resolving

    @on(Mail)
    async def mail(self) -> None:
        """Looks into the mailbox, 30 times a second at most."""
        wait = self._next_frame - time.monotonic()
        if wait <= 0:
            await self._open_mail()
        elif not self._opening_mail:
            self._opening_mail = True
            self.set_timer(wait, self._open_mail)

    async def _open_mail(self) -> None:
        self._opening_mail = False
        self._next_frame = time.monotonic() + _FRAME
        for post in self._outlet.mailbox.drain():
            match post:
                case Answered(turn, event) if turn == self._turn:
                    await self._event(event)
                case Failed(turn, text) if turn == self._turn:
                    self.unloaded = self.desk.host.engine is None
                    await self._to_text("")
                    self.trouble(text)
        self.draw()

    async def _event(self, event: Event) -> None:
        from dgengine import Done, Hole, Notice, Prefill

        rewrite = self._rewrite
        if rewrite is None:
            return
        rewrite.take(event)
        match event:
            case Notice():
                self.trouble(event.text)
            case Prefill():
                self.progress(f"reading {plural(event.total, 'token')}" if event.total else "reading")
            case Hole():
                self.forget_pins(event.candidate, event.block)
                if why_not(self.desk.host.engine, "drafts") is not None:
                    self.progress(f"candidate {event.candidate + 1} is being written; there are no steps to see")
            case Done():
                await self._finished(rewrite, event)

    async def _finished(self, rewrite: Rewrite, done: Done) -> None:
        """Shows the candidates, or the text as it was."""
        if done.reason == "cancelled":
            await self._to_text("stopped; the text is as it was")
        elif not rewrite.candidates:
            await self._to_text("no rewrite came of it; the text is as it was")
        else:
            await self._propose(rewrite)

    @on(Resolving.Done)
    async def resolving(self, done: Resolving.Done) -> None:
        """A key, while the hole resolves."""
        if not self._turn:
            return
        match done.name:
            case "leave":
                self.desk.host.stop()
                await self._to_text("stopped; the text is as it was")
            case "play":
                self.freeze(not self.frozen)
            case "step-back" | "step-on":
                self.walk(1 if done.name == "step-on" else -1)
            case "row-up" | "row-down":
                self.walk_row(1 if done.name == "row-down" else -1)
            case "retype" if not done.text:
                self.ask_token()
            case "retype":
                self.retype(done.text)
            case "pin":
                self.pin_here()
            case "unpin":
                self.unpin_here()

    # ---- choosing

    async def _propose(self, rewrite: Rewrite) -> None:
        self._turn = 0
        self._was_modified = self.modified
        self.area.close_hole()
        self.area.mark([])
        self._preview = Preview(self.area, *self._span)
        (start, end), text = rewrite.request.spans[0], rewrite.request.text
        around = text[max(0, start - 200) : start], text[start:end], text[end : end + 200]
        await self.show_below(
            Proposals(
                rewrite.candidates, rewrite.favourite, around, self.desk.palette, self.desk.marks,
                self.desk.settings.keys,
            )
        )  # fmt: skip
        self.say("")
        self.show_title()

    @on(Proposals.Shown)
    def shown(self, shown: Proposals.Shown) -> None:
        """A candidate in its place."""
        if self._preview is not None and self._rewrite is not None:
            self._preview.show(self._text_of(shown.place))

    def _text_of(self, place: int) -> str:
        """What a candidate puts into the text."""
        assert self._rewrite is not None  # it has candidates
        return self.area.stand_ins.take(self._rewrite.candidates[place].replacements[0])

    @on(Proposals.Decided)
    async def decided(self, decided: Proposals.Decided) -> None:
        """It is taken, left, or tried again."""
        preview, asked = self._preview, self._asked
        if preview is None or asked is None:
            return
        if decided.name == "accept":
            text = self._text_of(self.query_one(Proposals).place)
            same = text == self.area.stand_ins.take(self._old_text())
            preview.withdraw() if same else preview.accept(text)
            await self._to_text("it is what stood there" if same else "taken; Ctrl+Z brings the original back")
            return
        preview.withdraw()
        if decided.name == "retry":
            request, seed = asked
            self._preview = None
            await self._begin(request, seed + 1 if seed is not None else None)
        else:
            await self._to_text("the original stays")

    def _old_text(self) -> str:
        assert self._rewrite is not None  # there was something to decide
        start, end = self._rewrite.request.spans[0]
        return self._rewrite.request.text[start:end]

    @property
    def modified(self) -> bool:
        """A candidate that is only looked at is no change."""
        return super().modified if self._preview is None else self._was_modified

    def may_quit(self) -> bool:
        """As `Asking`; a candidate that has not been taken is left."""
        if self._preview is not None and self._was_modified:
            self._preview.withdraw()
            self._preview = None
            self.call_later(self._to_text, "the original stays")
        return super().may_quit()

    def stop_rewriting(self) -> None:
        """The screen goes away."""
        if self._turn:
            self.desk.host.stop()
