"""What one does in the steps of an answer: the part of the chat's screen that is about the player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from textual import on

from dgchat.app.card import quoted
from dgchat.app.drawing import Drawing
from dgchat.app.exporting import ExportError, write_trace
from dgchat.app.keeping import told
from dgchat.app.messages import Answer
from dgchat.app.player_messages import (
    PlayerExport,
    PlayerFreeze,
    PlayerHold,
    PlayerLeft,
    PlayerNextMode,
    PlayerReform,
    PlayerRetype,
)
from dgchat.app.sized import Sized
from dgchat.app.steering import SteeringError, place_text
from dgchat.app.turns import in_turn
from dgchat.history.records import Message
from dgchat.host import Again, new_trace
from dgchat.offered import why_not

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgchat.app.answering import Answering
    from dgchat.app.chat import ChatApp
    from dgchat.app.composer import Composer
    from dgchat.app.conversation import Conversation
    from dgchat.app.player import Player
    from dgchat.trace.steps import StepTrace


WRITE_TO: Final = "Write to: a file .html, .anim.svg, .svg, .cast, .gif or .npz"


class StepsScreen(Sized[None]):
    """A screen of answers, whose steps one can go through, look into and change."""

    _desk: ChatApp
    _conversation: Conversation
    _engine: Backend | None
    _answering: Answering | None
    _asked: int

    # ---- what the chat's screen gives

    def say(self, text: str) -> None:
        """One line that says what is happening."""
        raise NotImplementedError

    @property
    def composer(self) -> Composer:
        """Where one writes."""
        raise NotImplementedError

    def drawing(self) -> Drawing:
        """How canvases are drawn now."""
        raise NotImplementedError

    def action_mode(self) -> None:
        """The next meaning of the colours."""
        raise NotImplementedError

    async def reform(self, message: Message, again: Again, trace: StepTrace) -> None:
        """Has an answer formed anew, as another branch."""
        raise NotImplementedError

    # ---- going in and out

    @in_turn
    async def action_canvas(self) -> None:
        """Goes into the last answer: its live canvas, or its steps."""
        answers = list(self.query(Answer))
        if answers and answers[-1].player is not None:
            answers[-1].player.focus()
        elif answers and answers[-1].message is not None and answers[-1].message.traced:
            await self._show_steps(answers[-1])
        else:
            self.say("there is no canvas to go into; F2 shows the next answer's")

    @on(Answer.Steps)
    async def steps_wanted(self, wanted: Answer.Steps) -> None:
        """The mouse's way into an answer."""
        await self._show_steps(wanted.answer)

    async def _show_steps(self, answer: Answer) -> None:
        from dgchat.trace.codec import TraceError, unpack

        message = answer.message
        data = None
        with told(self.say):
            data = self._conversation.store.trace(message.id) if message is not None else None
        if data is None:
            return
        try:
            own = message is not None and self._conversation.is_own(message)
            able = self._engine is not None and why_not(self._engine, "pins") is None
            await answer.show_steps(unpack(data), self.drawing(), steerable=own and able)
        except (TraceError, ValueError) as error:
            self.say(f"the steps cannot be shown: {error}")
            return
        self.say("left and right: the steps, i: the tokens, Space plays, e exports, Esc goes back")

    @property
    def in_steps(self) -> bool:
        """Whether the focus is within a player, which has an Esc of its own: a step out of it."""
        around = self.focused.ancestors_with_self if self.focused is not None else []
        return any(node.has_class("player") for node in around)

    @on(PlayerLeft)
    async def left(self, left: PlayerLeft) -> None:
        """Back to writing; a finished answer is text again."""
        answer = _answer_of(left.player)
        if answer is not None:
            await answer.hide_steps()
        self.composer.editor.focus()
        if not self._asked:  # else the line tells of the answer
            self.say("")

    async def redraw_players(self) -> None:
        """The theme, the colours' meaning or the width has changed."""
        for player in self.query(".player"):
            await cast("Player", player).redraw(self.drawing())

    @on(PlayerNextMode)
    def next_mode(self) -> None:
        """The mouse's way to another meaning of the colours."""
        self.action_mode()

    # ---- holding tokens

    @on(PlayerFreeze)
    def freeze(self, freeze: PlayerFreeze) -> None:
        """Holds the answer, or lets it go on."""
        self._desk.host.hold(freeze.hold)
        if freeze.hold:
            self.say("frozen: arrows choose a token, Enter types another, p pins, x frees, Space goes on")
        else:
            self.say("it goes on")

    @on(PlayerHold)
    async def hold(self, hold: PlayerHold) -> None:
        """Holds the token that stands there, or frees it."""
        player, place = hold.player, hold.place
        if self._is_over(player):
            return
        if player.live:
            self._desk.host.pin(place, hold.token, player.block)
        if hold.token is None:
            await player.release(place)
            self.say("free again")
        else:
            await player.hold({place: hold.token}, {place: player.piece(place)})
            self.say(f"held: {quoted(player.piece(place))}{_then(player)}")

    @on(PlayerRetype)
    async def retype(self, retype: PlayerRetype) -> None:
        """Puts a text there, and holds it."""
        player, place = retype.player, retype.place
        if self._engine is None:
            self.say("the model is not loaded yet")
            return
        if self._is_over(player):
            return
        try:
            held = place_text(self._engine, retype.text, player.piece(place), place, player.length)
        except SteeringError as error:
            self.say(str(error))
            return
        if player.live:
            for position, token in held.tokens.items():
                self._desk.host.pin(position, token, player.block)
        await player.hold(held.tokens, held.texts)
        self.say(held.sentence + _then(player))

    def _is_over(self, player: Player) -> bool:
        """Whether nothing can be held any more in the block of a live canvas; says so."""
        draft = self._answering.draft if player.live and self._answering is not None else None
        if draft is None or player.block not in draft.blocks or player.block == draft.open:
            return False
        self.say(f"block {player.block} is written already; after the answer it can be changed in its steps")
        return True

    @on(PlayerReform)
    async def reform_wanted(self, wanted: PlayerReform) -> None:
        """Forms a finished answer anew around what is held."""
        player, answer = wanted.player, _answer_of(wanted.player)
        if answer is None or answer.message is None:
            return
        if self._asked:
            self.say("an answer is being written; Esc stops it")
            return
        if not self._conversation.is_own(answer.message):
            self.say("another model wrote this answer; only that one can form it anew")
            return
        kept = [block for block in player.trace.blocks if block.number < player.block]
        head = tuple(id_ for block in kept for id_ in block.tokens.tolist())
        trace = new_trace()
        trace.blocks = [replace(block) for block in kept]
        await self.reform(answer.message, Again(head, len(kept), dict(player.pins)), trace)

    # ---- files

    @on(PlayerExport)
    def export(self, export: PlayerExport) -> None:
        """Asks for a file, and writes the steps to it."""
        from dgchat.app.screens import LineScreen

        trace = export.player.trace
        if export.player.live:
            self.say("the answer is still being written; export it when it is over")
            return

        def chosen(name: str | None) -> None:
            if name and name.strip():
                self._write(trace, name)

        self.app.push_screen(LineScreen(WRITE_TO, "answer.html"), chosen)

    def _write(self, trace: StepTrace, name: str) -> None:
        try:
            self.say(f"written to {write_trace(trace, name, Path.cwd(), self._desk.settings)}")
        except ExportError as error:
            self.say(str(error))


def heads(trace: StepTrace, blocks: int) -> Sequence[Sequence[int]]:
    """The tokens of each of the first blocks."""
    return [block.tokens.tolist() for block in trace.blocks[:blocks]]


def _answer_of(player: Player) -> Answer | None:
    return next((node for node in player.ancestors if isinstance(node, Answer)), None)


def _then(player: Player) -> str:
    return "; Space goes on" if player.live else "; Space forms the rest anew"
