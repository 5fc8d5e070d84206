"""The bar that asks how a selection is to be rewritten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from dgchat.app.bindings import bind
from dgchat.app.screens import Line
from dgchat.notes import plural

STRENGTHS: Final = {"polish": 0.3, "rephrase": 0.6, "rewrite": 1.0}
MOST_CANDIDATES: Final = 9  # one for each digit
_CELLS = 5  # of the meter
_BAR_KEYS = "stronger milder more-candidates fewer-candidates keep-words leave-rewriting".split()
_WORD_KEYS = "keep-word word-back word-on rewrite-now".split()


@dataclass(frozen=True)
class Manner:
    """How a rewrite is to be made.

    Attributes:
        instruction: in words; may be empty.
        strength: one of `STRENGTHS`.
        candidates: how many, 1 to `MOST_CANDIDATES`.
    """

    instruction: str = ""
    strength: str = "rewrite"
    candidates: int = 3

    def stronger(self, by: int) -> Manner:
        """With the next strength, or the one before."""
        names = list(STRENGTHS)
        return replace(self, strength=names[min(max(names.index(self.strength) + by, 0), len(names) - 1)])

    def more(self, by: int) -> Manner:
        """With more candidates, or fewer."""
        return replace(self, candidates=min(max(self.candidates + by, 1), MOST_CANDIDATES))


def meter(strength: str) -> str:
    """`▮▮▮▯▯ .6`"""
    full = round(STRENGTHS[strength] * _CELLS + 0.01)
    figure = f"{STRENGTHS[strength]:.1f}".removeprefix("0")
    return "▮" * full + "▯" * (_CELLS - full) + f" {figure}"


class Pick(Static):
    """A word that can be clicked."""

    @dataclass
    class Picked(Message):
        """It has been."""

        pick: Pick

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text, name=name, classes="pick", markup=False)

    def on_click(self, event: events.Click) -> None:
        """The mouse."""
        event.stop()
        self.post_message(self.Picked(self))


class Instruction(Line):
    """The line for the instruction. A line has keys of its own for scrolling, which would hide those of the bar."""

    BINDINGS: ClassVar[list[BindingType]] = [bind(name, priority=False) for name in _BAR_KEYS[:4]]

    @property
    def _bar(self) -> AskBar:
        return next(node for node in self.ancestors if isinstance(node, AskBar))

    def action_stronger(self) -> None:
        """A stronger rewrite."""
        self._bar.action_stronger()

    def action_milder(self) -> None:
        """A milder one."""
        self._bar.action_milder()

    def action_more_candidates(self) -> None:
        """One candidate more."""
        self._bar.action_more_candidates()

    def action_fewer_candidates(self) -> None:
        """One less."""
        self._bar.action_fewer_candidates()


class WordKeys(Static):
    """Where the keys go that choose words to keep; says how many are kept."""

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = [bind(name, priority=False) for name in _WORD_KEYS]

    @dataclass
    class Moved(Message):
        """Another word is looked at."""

        by: int

    @dataclass
    class Toggled(Message):
        """The word that is looked at is to be kept, or is free again."""

    @dataclass
    class Left(Message):
        """No word is looked at any more."""

    def action_word_back(self) -> None:
        """The word before."""
        self.post_message(self.Moved(-1))

    def action_word_on(self) -> None:
        """The word after."""
        self.post_message(self.Moved(1))

    def action_keep_word(self) -> None:
        """Keeps the word, or not."""
        self.post_message(self.Toggled())

    def action_rewrite_now(self) -> None:
        """Begins from here, too."""
        next(node for node in self.ancestors if isinstance(node, AskBar)).begin()

    def on_focus(self) -> None:
        """A word is looked at."""
        self.post_message(self.Moved(0))

    def on_blur(self) -> None:
        """And no more."""
        self.post_message(self.Left())

    def tell(self, kept: int, words: int) -> None:
        """How many of the words are kept."""
        self.display = words > 0
        self.update(f"keeps {plural(kept, 'word')}" if kept else "keeps no word")


class AskBar(Vertical):
    """An instruction, a strength, a number of candidates."""

    BINDINGS: ClassVar[list[BindingType]] = [bind(name, priority=False) for name in _BAR_KEYS]

    @dataclass
    class Begun(Message):
        """It is to begin."""

        manner: Manner

    @dataclass
    class Left(Message):
        """Out of here."""

    def __init__(self, manner: Manner, words: int) -> None:
        """`words`: how many there are that can be kept."""
        super().__init__(id="ask")
        self.manner = manner
        self._words = words

    def compose(self) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Static("instruction ›", classes="label", markup=False)
            yield Instruction(self.manner.instruction, placeholder="how is it to be? may stay empty", id="instruction")
            yield Pick("begin", "begin")
        with Horizontal(classes="row"):
            yield Static("strength", classes="label", markup=False)
            yield Static(meter(self.manner.strength), id="meter", markup=False)
            for name in STRENGTHS:
                yield self._marked(Pick(name, name))
            yield Static("candidates", classes="label apart", markup=False)
            yield Pick("‹", "fewer")
            yield Static(str(self.manner.candidates), id="count", markup=False)
            yield Pick("›", "more")
            keys = WordKeys("", id="word-keys", markup=False, classes="apart")
            keys.tell(0, self._words)
            yield keys

    def on_mount(self) -> None:
        """One writes at once. A bar that is taken away before it is there has nothing in it."""
        self.query(Input).focus()

    def _marked(self, pick: Pick) -> Pick:
        pick.set_class(pick.name == self.manner.strength, "chosen")
        return pick

    def _show(self) -> None:
        self.query_one("#meter", Static).update(meter(self.manner.strength))
        self.query_one("#count", Static).update(str(self.manner.candidates))
        for pick in self.query(Pick):
            self._marked(pick)

    def begin(self) -> None:
        """Has it begun, with what stands here."""
        self.manner = replace(self.manner, instruction=self.query_one(Input).value.strip())
        self.post_message(self.Begun(self.manner))

    @on(Input.Submitted)
    def submitted(self, submitted: Input.Submitted) -> None:
        """Enter in the line."""
        submitted.stop()
        self.begin()

    def _change(self, manner: Manner) -> None:
        self.manner = replace(manner, instruction=self.query_one(Input).value)
        self._show()

    def action_stronger(self) -> None:
        """A stronger rewrite."""
        self._change(self.manner.stronger(1))

    def action_milder(self) -> None:
        """A milder one."""
        self._change(self.manner.stronger(-1))

    def action_more_candidates(self) -> None:
        """One candidate more."""
        self._change(self.manner.more(1))

    def action_fewer_candidates(self) -> None:
        """One less."""
        self._change(self.manner.more(-1))

    def action_keep_words(self) -> None:
        """To the words, and back."""
        keys = self.query_one(WordKeys)
        if keys.has_focus or not keys.display:
            self.query_one(Input).focus()
        else:
            keys.focus()

    def action_leave_rewriting(self) -> None:
        """From the words to the line, and then out of here."""
        if self.query_one(WordKeys).has_focus:
            self.query_one(Input).focus()
        else:
            self.post_message(self.Left())

    @on(Pick.Picked)
    def picked(self, picked: Pick.Picked) -> None:
        """The mouse's way to all that."""
        picked.stop()
        match picked.pick.name:
            case "fewer":
                self.action_fewer_candidates()
            case "more":
                self.action_more_candidates()
            case "begin":
                self.begin()
            case str(name):
                self._change(replace(self.manner, strength=name))

    @property
    def word_keys(self) -> WordKeys:
        """Where words are chosen."""
        return self.query_one(WordKeys)
