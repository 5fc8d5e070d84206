"""The steps of an answer, to go through, to look into, and to change: the canvas with its bar, heat and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from dgchat.app.bindings import bind
from dgchat.app.card import card, quoted
from dgchat.app.drawing import Drawing
from dgchat.app.heat_strip import HeatStrip
from dgchat.app.player_messages import (
    PlayerExport,
    PlayerFreeze,
    PlayerHold,
    PlayerLeft,
    PlayerNextMode,
    PlayerReform,
    PlayerRetype,
)
from dgchat.app.prose import Prose
from dgchat.app.scrub_bar import Place, ScrubBar
from dgchat.app.stage import Stage, lines
from dgchat.canvas.cursor import across, beside, first_undecided
from dgchat.canvas.layout import Look, Span
from dgchat.canvas.state import Canvas
from dgchat.trace.playback import Playback
from dgchat.trace.steps import StepTrace
from dgchat.trace.story import tell

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_PARTS = 6  # that a player is composed of
_STEPS_A_SECOND = 6.0  # at speed 1
_KEYS = (
    "step-back step-on block-back block-on row-up row-down first-step last-step play slower faster inspect pin unpin"
    " retype export-trace leave"
).split()
_HOLDING = frozenset(("pin", "unpin", "retype"))


class Player(Vertical):
    """Goes through a trace, which may still grow. Where it can be steered, tokens can be held and typed anew.

    Attributes:
        live: whether the answer is still being written.
        frozen: whether it is held for that.
        pins: the tokens that are held in the block that is shown, by position.
    """

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = [bind(name, priority=False) for name in _KEYS]

    def __init__(self, trace: StepTrace, drawing: Drawing, *, live: bool = False, steerable: bool = False) -> None:
        """`steerable`: whether there is an engine that can take pins."""
        super().__init__(classes="player")
        self.trace = trace
        self.live = live
        self.frozen = False
        self.pins: dict[int, int] = {}
        self._pinned_texts: dict[int, str] = {}
        self._drawing = drawing
        self._steerable = steerable
        self._playback = Playback(trace, drawing.motion)
        self._canvas: Canvas | None = None
        self._cursor: int | None = None
        self._hovered: int | None = None
        self._playing: Timer | None = None
        self._speed = SPEEDS.index(1.0)
        self._following = True
        self._between = False  # a block has ended and the next one has no step yet
        self._offers_to_hold = False  # in the footer

    def compose(self) -> ComposeResult:
        yield Prose()
        yield Stage(self._drawing.styles, Span("▎", Look.PINNED))
        yield Input(placeholder="what is to stand here", classes="retype", compact=True)
        yield ScrubBar()
        yield HeatStrip(self._drawing.styles, self._drawing.marks)
        yield Static("", markup=False, classes="card")

    async def on_mount(self) -> None:
        """Shows the newest step; the field for a word comes when it is wanted."""
        self.query_one(Input).display = False
        self._show_tools()
        await self.draw()

    def on_focus(self) -> None:
        """The tools are for whoever has come here."""
        self._show_tools()

    def on_blur(self) -> None:
        """A live canvas that is left alone shows nothing but itself."""
        self._show_tools()

    @property
    def _is_whole(self) -> bool:
        """Whether there is all to draw on: of a canvas that is on its way off the screen, parts go one by one."""
        return len(self.children) == _PARTS

    def _show_tools(self) -> None:
        if not self._is_whole:
            return
        wanted = not self.live or self.has_focus_within or not self.following or self.frozen
        for tool in (ScrubBar, HeatStrip):
            self.query_one(tool).display = wanted
        self.query_one(".card").display = wanted and self._looked_at is not None

    @property
    def following(self) -> bool:
        """Whether the newest step is shown as it comes."""
        return self._following

    @property
    def block(self) -> int:
        """Number of the block that is shown, from 1."""
        return self._playback.block.number

    @property
    def length(self) -> int:
        """Tokens of the canvas that is shown."""
        return self._playback.block.length

    @property
    def taken_back(self) -> int:
        """Tokens of the block that is shown that were accepted and then changed, up to the step that is shown."""
        return self._canvas.taken_back if self._canvas is not None else 0

    # ---- what the answer does meanwhile

    async def grown(self) -> None:
        """The trace has more steps: whoever was looking at the newest one sees the newest."""
        if self._following:
            if self._playback.block is not self.trace.blocks[-1]:
                self._forget_pins()
            self._between = False
            self._playback.go(len(self._playback) - 1)
            await self.draw()
        elif self._is_whole:
            self._show_bar()

    async def block_ended(self, text: str) -> None:
        """A block has ended: all its text is settled."""
        if self.following and self._is_whole:
            self._between = True
            await self.query_one(Prose).show(text)
            for stage in self.query(Stage):  # none where it was removed meanwhile
                stage.display = False

    async def finished(self) -> None:
        """The answer is over."""
        self.live = self.frozen = False
        self._show_tools()
        await self.draw()

    def _forget_pins(self) -> None:
        self.pins.clear()
        self._pinned_texts.clear()

    async def hold(self, pins: Mapping[int, int], texts: Mapping[int, str]) -> None:
        """These tokens are held from now on, beside those that are held already."""
        self.pins.update(pins)
        self._pinned_texts.update(texts)
        await self.draw()

    async def release(self, place: int) -> None:
        """The token at this position is free again."""
        self.pins.pop(place, None)
        self._pinned_texts.pop(place, None)
        self._canvas = None
        await self.draw()

    # ---- drawing

    async def redraw(self, drawing: Drawing) -> None:
        """Draws everything in these colours, and at the present width."""
        self._drawing = drawing
        if self._is_whole:
            self.query_one(Stage).restyle(drawing.styles)
            self.query_one(HeatStrip).restyle(drawing.styles)
            await self.draw()

    async def draw(self) -> None:
        """Draws the step that is shown, unless there is nothing yet to draw on, or nothing any more."""
        if self._is_whole and not self._between:
            await self.query_one(Prose).show(self._playback.before(), tail=self._playback.thinks())
        if not self._is_whole:  # removed meanwhile
            return
        if not self._between:
            self._show_canvas()
        self._show_bar()
        self._show_card()
        if self._can_hold is not self._offers_to_hold:
            self._offers_to_hold = self._can_hold
            self.refresh_bindings()

    def _show_canvas(self) -> None:
        self._canvas = canvas = self._playback.canvas(self.pins, self._pinned_texts)
        stage = self.query_one(Stage)
        stage.display = True
        rows = canvas.rows(stage.room, self._drawing.marks, self._drawing.mode)
        stage.draw(lines(canvas, rows, self._looked_at))

    def _show_bar(self) -> None:
        bar = self.query_one(ScrubBar)
        if not bar.display:
            return
        place, number = self._playback.locate()
        blocks = self.trace.blocks
        bar.show(
            Place(
                self._playback.index, len(self._playback), number, len(blocks[place]), blocks[place].number,
                blocks[-1].number, self._playing is not None, self.live, self.frozen, SPEEDS[self._speed],
                self._drawing.mode.value, len(self.pins),
            )
        )  # fmt: skip
        self.query_one(HeatStrip).show(blocks[place], number)

    @property
    def _looked_at(self) -> int | None:
        return self._cursor if self._cursor is not None else self._hovered

    def _show_card(self) -> None:
        panel = self.query_one(".card", Static)
        place = self._looked_at
        panel.display = place is not None
        if place is not None:
            number = self._playback.locate()[1]
            story = tell(self.trace, self._playback.block, number, place)
            if place in self.pins:
                story = replace(story, text=self._pinned_texts[place], pinned=True)
            panel.update(card(story, number))

    # ---- going through the steps

    async def _go(self, index: int) -> None:
        self._between = False
        before = self._playback.block
        self._playback.go(index)
        self._following = self._playback.at_end
        if self._playback.block is not before:
            self._forget_pins()
        self._show_tools()
        await self.draw()

    async def action_step_back(self) -> None:
        """The step before, or the token before where there is a cursor."""
        await (self._walk(-1) if self._cursor is not None else self._go(self._playback.index - 1))

    async def action_step_on(self) -> None:
        """The step after, or the token after."""
        await (self._walk(1) if self._cursor is not None else self._go(self._playback.index + 1))

    async def action_block_back(self) -> None:
        """The beginning of this block, then of the one before."""
        await self._go(self._playback.block_start(-1))

    async def action_block_on(self) -> None:
        """The beginning of the next block."""
        await self._go(self._playback.block_start(1))

    async def action_first_step(self) -> None:
        """The first step of all."""
        await self._go(0)

    async def action_last_step(self) -> None:
        """The last step; of a live answer the newest, which is followed from then on."""
        await self._go(len(self._playback) - 1)

    async def action_play(self) -> None:
        """Holds a live answer, or lets it go on; forms a finished one anew around its pins; or plays it."""
        if self.live and self._steerable and (self.frozen or self.following):
            await self.freeze(not self.frozen)
        elif self.pins and self._steerable and not self.live:
            self.post_message(PlayerReform(self))
        elif self._playing is not None:
            await self._pause()
        else:
            if self._playback.at_end:
                await self._go(0)
            self._play()

    async def freeze(self, hold: bool) -> None:
        """Holds the answer, with a cursor on its tokens, or lets it go on."""
        self.frozen = hold
        self._cursor = self._first_undecided() if hold else None
        self.post_message(PlayerFreeze(self, hold))
        self._show_tools()
        await self.draw()

    def _first_undecided(self) -> int:
        step = self._playback.step
        return first_undecided(step.accepted, step.pinned)

    def _play(self) -> None:
        self._playing = self.set_interval(1 / (_STEPS_A_SECOND * SPEEDS[self._speed]), self._tick)
        self._show_bar()

    async def _pause(self) -> None:
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
            self._show_bar()

    async def _tick(self) -> None:
        if self._playback.at_end:
            await self._pause()
        else:
            await self._go(self._playback.index + 1)

    async def action_slower(self) -> None:
        """Plays more slowly."""
        await self._set_speed(self._speed - 1)

    async def action_faster(self) -> None:
        """Plays faster."""
        await self._set_speed(self._speed + 1)

    async def _set_speed(self, number: int) -> None:
        self._speed = min(max(number, 0), len(SPEEDS) - 1)
        if self._playing is not None:
            await self._pause()
            self._play()
        self._show_bar()

    # ---- looking at tokens

    async def action_inspect(self) -> None:
        """A cursor on the tokens, or none."""
        self._cursor = None if self._cursor is not None else self._hovered or 0
        await self.draw()

    async def _walk(self, by: int) -> None:
        assert self._cursor is not None and self._canvas is not None  # there is a cursor only on a canvas
        self._cursor = beside(self._canvas, self._cursor, by, self._playback.block.length)
        await self.draw()

    async def action_row_up(self) -> None:
        """The token above."""
        await self._walk_row(-1)

    async def action_row_down(self) -> None:
        """The token below."""
        await self._walk_row(1)

    async def _walk_row(self, by: int) -> None:
        if self._cursor is None or self._canvas is None:
            raise SkipAction
        self._cursor = across(self._canvas, self._cursor, by)
        await self.draw()

    @on(Stage.Pointed)
    async def pointed(self, pointed: Stage.Pointed) -> None:
        """The mouse chooses a token, or looks at one."""
        pointed.stop()
        place = self._canvas.place_at(pointed.row, pointed.column) if self._canvas is not None else None
        if pointed.clicked:
            self.focus()
            self._cursor = place
        if pointed.clicked or (place != self._hovered and self._cursor is None):
            self._hovered = place
            await self.draw()

    async def on_leave(self) -> None:
        """The mouse has gone."""
        if self._hovered is not None and self._cursor is None:
            self._hovered = None
            await self.draw()

    # ---- holding tokens

    @property
    def _can_hold(self) -> bool:
        """Whether there is a token that can be changed: the keys for that mean nothing without one."""
        return self._cursor is not None and self._steerable and (self.frozen or not self.live)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys mean something now."""
        return self._can_hold if action in _HOLDING else True

    def _target(self) -> int:
        """The position that is to be changed."""
        if self._cursor is None or not self._can_hold:
            raise SkipAction
        return self._cursor

    def action_pin(self) -> None:
        """Holds the token that stands at the cursor."""
        place = self._target()
        self.post_message(PlayerHold(self, place, int(self._playback.step.draft[place])))

    def action_unpin(self) -> None:
        """Frees the token at the cursor."""
        self.post_message(PlayerHold(self, self._target(), None))

    def action_retype(self) -> None:
        """Asks what is to stand at the cursor."""
        place = self._target()
        field = self.query_one(Input)
        field.border_title = quoted(self.piece(place))
        field.value, field.display = "", True
        field.focus()

    @on(Input.Submitted)
    def retyped(self, submitted: Input.Submitted) -> None:
        """Has it put there."""
        submitted.stop()
        submitted.input.display = False
        self.focus()
        if submitted.value and self._cursor is not None:
            self.post_message(PlayerRetype(self, self._cursor, submitted.value))

    def piece(self, place: int) -> str:
        """The text of the token that stands at a position of the step that is shown."""
        return self.trace.pieces(self._playback.step.draft.tolist())[place]

    # ---- the rest

    async def action_leave(self) -> None:
        """Out of the field, of the cursor, of the past, and then of here."""
        field = self.query_one(Input)
        if field.display:
            field.display = False
            self.focus()
        elif self.frozen:
            await self.freeze(False)
        elif self._cursor is not None:
            self._cursor = None
            await self.draw()
        elif self.live and not self.following:
            await self.action_last_step()
        else:
            self.post_message(PlayerLeft(self))

    def action_export_trace(self) -> None:
        """Asks for a file."""
        self.post_message(PlayerExport(self))

    @on(ScrubBar.Pressed)
    async def pressed(self, pressed: ScrubBar.Pressed) -> None:
        """The mouse's way to all that."""
        pressed.stop()
        self.focus()
        actions = {
            "back": self.action_step_back,
            "on": self.action_step_on,
            "play": self.action_play,
            "faster": self._next_speed,
        }
        if pressed.part in actions:
            await actions[pressed.part]()
        elif pressed.part == "mode":
            self.post_message(PlayerNextMode())
        elif pressed.part == "export":
            self.action_export_trace()
        elif pressed.part == "close":
            self.post_message(PlayerLeft(self))

    async def _next_speed(self) -> None:
        await self._set_speed((self._speed + 1) % len(SPEEDS))

    @on(ScrubBar.Dragged)
    async def dragged(self, dragged: ScrubBar.Dragged) -> None:
        """Goes where the slider was put."""
        dragged.stop()
        await self._go(dragged.index)

    @on(HeatStrip.Chosen)
    async def chosen(self, chosen: HeatStrip.Chosen) -> None:
        """Goes to the step that was clicked."""
        chosen.stop()
        place = self._playback.locate()[0]
        first = sum(len(block) for block in self.trace.blocks[:place])
        await self._go(first + int(chosen.share * len(self.trace.blocks[place])))
