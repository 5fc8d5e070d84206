"""The candidates of a rewrite, to be compared, taken or left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from dgchat.app.bindings import bind
from dgchat.editor.ask_bar import Pick
from dgchat.keys import keys_of
from dgchat.notes import plural
from dgchat.sanitize import strip_controls
from dgchat.themes import Theme
from dgchat.worddiff import diff

if TYPE_CHECKING:
    from dgengine import Candidate

_KEYS = "next-candidate previous-candidate accept retry reject".split()
_AROUND: Final = 60  # characters of the text around that are shown with the change


class Proposals(Vertical):
    """One candidate at a time.

    Attributes:
        place: the number of the one that is shown, from 0.
    """

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = [bind(name, priority=False) for name in _KEYS]

    @dataclass
    class Shown(Message):
        """Another candidate is to be shown."""

        place: int

    @dataclass
    class Decided(Message):
        """What is to be done: "accept", "retry" or "reject"."""

        name: str

    def __init__(
        self, candidates: Sequence[Candidate], place: int, around: tuple[str, str, str], palette: Theme, marks: bool,
        own_keys: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Begins with one of the candidates.

        Args:
            candidates: best first, at least one.
            place: which one to begin with.
            around: the text before the span, the old span, the text after it.
            palette: the colours.
            marks: whether changes are told apart by signs.
            own_keys: the user's own, by their names.
        """
        super().__init__(id="proposals")
        self.place = place
        self._candidates, self._around = candidates, around
        self._palette, self._marks = palette, marks
        self._numbers = keys_of("choose", own_keys)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Static("", id="which", markup=False)
            for number in range(len(self._candidates)):
                yield Pick(str(number + 1), str(number))
            yield Static("", id="facts", markup=False)
        with VerticalScroll(id="change", can_focus=False):
            yield Static("", id="diff")

    def on_mount(self) -> None:
        """Shows the first one."""
        self.focus()
        self.show(self.place)

    def show(self, place: int) -> None:
        """Shows a candidate."""
        self.place = place
        candidate = self._candidates[place]
        count = len(self._candidates)
        self.query_one("#which", Static).update(f"candidate {place + 1} of {count}")
        self.query_one("#facts", Static).update(facts(candidate))
        before, old, after = self._around
        self.query_one("#diff", Static).update(
            change(before, old, candidate.replacements[0], after, self._palette, self._marks)
        )
        for pick in self.query(Pick):
            pick.set_class(pick.name == str(place), "chosen")
        self.post_message(self.Shown(place))

    def action_next_candidate(self) -> None:
        """The next one; behind the last, the first."""
        self.show((self.place + 1) % len(self._candidates))

    def action_previous_candidate(self) -> None:
        """The one before."""
        self.show((self.place - 1) % len(self._candidates))

    def on_key(self, event: events.Key) -> None:
        """A number chooses."""
        if event.key in self._numbers and self._numbers.index(event.key) < len(self._candidates):
            event.stop()
            self.show(self._numbers.index(event.key))

    @on(Pick.Picked)
    def picked(self, picked: Pick.Picked) -> None:
        """The mouse's way to a number."""
        picked.stop()
        self.show(int(picked.pick.name or 0))

    def action_accept(self) -> None:
        """Takes the one that is shown."""
        self.post_message(self.Decided("accept"))

    def action_retry(self) -> None:
        """Tries again."""
        self.post_message(self.Decided("retry"))

    def action_reject(self) -> None:
        """Keeps the original."""
        self.post_message(self.Decided("reject"))


def facts(candidate: Candidate) -> str:
    """`joins well · 0.42 nats a token · 18 steps · 0.3 s`"""
    parts = [
        "joins well" if candidate.joins else "does not join well",
        f"{max(0.0, -candidate.fluency):.2f} nats a token",
        plural(candidate.steps, "step"),
        f"{candidate.seconds:.1f} s",
    ]
    if not candidate.converged:
        parts.append("did not settle")
    if candidate.method == "splice":
        parts.append("written freely, and put in")
    return " · ".join(parts)


def change(before: str, old: str, new: str, after: str, palette: Theme, marks: bool) -> Text:
    """What is different, word by word, with a little of the text around."""
    quiet = Style(dim=True)
    signs = {"removed": ("[-", "-]"), "added": ("{+", "+}")} if marks else {}
    styles = {
        "removed": Style(strike=True, color=None if marks else palette.canvas["canvas-back"]),
        "added": Style(bold=True, color=None if marks else palette.colors["success"]),
    }
    text = Text(_line_before(before), quiet)
    for kind, part in diff(old, new):
        left, right = signs.get(kind, ("", ""))
        text.append(left + _shown(part) + right, styles.get(kind, Style()))
    return text.append(_line_after(after), quiet)


def _line_before(text: str) -> str:
    line = text[-_AROUND:].rpartition("\n")[2]
    return _shown(("…" if len(line) == _AROUND else "") + line)


def _line_after(text: str) -> str:
    line = text[:_AROUND].partition("\n")[0]
    return _shown(line + ("…" if len(line) == _AROUND else ""))


def _shown(text: str) -> str:
    return strip_controls(text).expandtabs(4)
