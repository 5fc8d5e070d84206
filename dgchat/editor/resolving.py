"""What one does while the hole resolves: hold it, look at its tokens, change them, or leave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from dgchat.app.bindings import bind
from dgchat.app.card import quoted
from dgchat.sanitize import clean_line

_KEYS = "play step-back step-on row-up row-down pin unpin retype leave".split()
_FROZEN: Final = frozenset("step_back step_on row_up row_down pin unpin retype".split())


class Resolving(Vertical):
    """Keys, and what there is to say. What they do is told to the screen.

    Attributes:
        frozen: whether the rewrite is held.
    """

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # Tab is for the candidates, which may come at any moment: a key too soon must not throw them away.
        Binding("tab", "wait", show=False, priority=True),
        *[bind(name, priority=False) for name in _KEYS],
    ]

    @dataclass
    class Done(Message):
        """A key has been pressed: its name in `dgchat.keys`; with the text that was typed, for "retype"."""

        name: str
        text: str = ""

    def __init__(self, said: str) -> None:
        """`said`: what is happening at first."""
        super().__init__(id="resolving")
        self.frozen = False
        self._said = Static(clean_line(said), id="progress", markup=False)

    def compose(self) -> ComposeResult:
        yield self._said
        yield Input(placeholder="what is to stand here", classes="retype", compact=True)

    def on_mount(self) -> None:
        """The field for a word comes when it is wanted."""
        self.query_one(Input).display = False
        self.focus()

    def say(self, text: str) -> None:
        """What is happening."""
        self._said.update(clean_line(text), layout=False)

    def freeze(self, frozen: bool) -> None:
        """It is held, or goes on."""
        self.frozen = frozen
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tokens can be walked over and changed while it is held."""
        return self.frozen if action in _FROZEN else True

    def ask(self, piece: str) -> None:
        """Asks what is to stand in the place of a token."""
        field = self.query_one(Input)
        field.border_title = quoted(piece)
        field.value, field.display = "", True
        field.focus()

    @on(Input.Submitted)
    def typed(self, submitted: Input.Submitted) -> None:
        """It has been typed."""
        submitted.stop()
        self._close_field()
        if submitted.value:
            self.post_message(self.Done("retype", submitted.value))

    def _close_field(self) -> None:
        self.query_one(Input).display = False
        self.focus()

    def action_wait(self) -> None:
        """Too soon: there is no candidate yet. Out of the field and of the hold it leads as Esc does."""
        if self.frozen or self.query_one(Input).display:
            self.action_leave()
        else:
            self.say("no candidate yet; Esc stops the search")

    def action_leave(self) -> None:
        """Out of the field, of the hold, and then of the rewrite."""
        if self.query_one(Input).display:
            self._close_field()
        else:
            self.post_message(self.Done("play" if self.frozen else "leave"))

    def action_retype(self) -> None:
        """Asks for a word."""
        self.post_message(self.Done("retype"))

    def action_play(self) -> None:
        """Holds it, or lets it go on."""
        self.post_message(self.Done("play"))

    def action_step_back(self) -> None:
        """The token before."""
        self.post_message(self.Done("step-back"))

    def action_step_on(self) -> None:
        """The token after."""
        self.post_message(self.Done("step-on"))

    def action_row_up(self) -> None:
        """The token above."""
        self.post_message(self.Done("row-up"))

    def action_row_down(self) -> None:
        """The token below."""
        self.post_message(self.Done("row-down"))

    def action_pin(self) -> None:
        """Holds what stands there."""
        self.post_message(self.Done("pin"))

    def action_unpin(self) -> None:
        """Frees it."""
        self.post_message(self.Done("unpin"))
