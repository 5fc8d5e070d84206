"""The canvas as rows of text: which look each token has, and where it lies.

Nothing here knows a screen: `inline` and `app` draw the rows. Rows keep their first token from step to step
where they can (`layout.Layout`), so that a word that changes its length moves its own row and not all that follow; the
text flows anew once, when the block has settled.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len

from dgchat.canvas.layout import Atom, Layout, Look, Row, Span, split, words
from dgchat.sanitize import strip_controls
from dgchat.themes import SHADES

if TYPE_CHECKING:
    from dgengine import Step

Pieces: TypeAlias = Callable[[Sequence[int]], list[str]]
"""The text of each token of a sequence, "" for special ones: `Engine.pieces`."""

class Mode(Enum):
    """What the colours of the canvas tell."""

    STATE = "state"
    ENTROPY = "entropy"
    AGE = "age"
    CHANGE = "change"


OLD_STEPS = 8  # A token that has stood for so many steps is as bright as can be.
MANY_CHANGES = 6  # One that has changed so often is as cold as can be.
NOISE_NATS = 2.0  # Above this entropy the most probable token says nothing yet.
RAIN = "░▒░·"
BACK_STEPS = 2  # How long a token that was taken back stays marked.
_BLANK_CELLS = 4  # Cells that a token of pure noise takes before the first step: about an English token.


@dataclass(slots=True)
class _Token:
    """One position of the canvas, from step to step."""

    id: int = -1
    look: Look = Look.NOISE
    shade: int = 0
    held: int | None = None  # the id that was accepted last
    back: int = 0  # steps that it stays marked as taken back
    age: int = 0  # steps since it was last another
    changes: int = 0  # how often it became another
    nats: float = NOISE_NATS
    breaks: bool = False  # its newline breaks the row: it was accepted, and the draft has not changed since


class Canvas:
    """One block being denoised.

    Attributes:
        taken_back: how many tokens were accepted and then changed, so far.
    """

    def __init__(
        self, length: int, pieces: Pieces, ends: frozenset[int] = frozenset(), head: str = "", motion: bool = True
    ) -> None:
        """Starts with pure noise.

        Args:
            length: tokens of the canvas.
            pieces: the text of tokens.
            ends: ids of end-of-sequence tokens: nothing is drawn from the first accepted one on.
            head: settled text of the line that the canvas goes on.
            motion: whether noise looks different at each step.
        """
        self.motion = motion
        self._pieces = pieces
        self._ends = ends
        self._head = words(head)
        self._tokens = [_Token() for _ in range(length)]
        self._texts: list[str] = []
        self._step = 0
        self._newest: Step | None = None  # what the looks have not been taken over from
        self.taken_back = 0
        self._layout = Layout()
        self._height = 0

    def take(self, step: Step) -> None:
        """Takes over what a step has made of the canvas."""
        self._step = step.step if self.motion else 0
        self._newest = step
        states = zip(step.draft.tolist(), step.accepted.tolist(), step.pinned.tolist(), strict=True)
        for token, (id_, accepted, pinned) in zip(self._tokens, states, strict=True):
            self.taken_back += _advance(token, id_, accepted, pinned)

    def _dress(self) -> None:
        """Gives the tokens the texts and looks of the step taken last; a step that nobody sees needs none."""
        step, self._newest = self._newest, None
        if step is None:
            return
        self._texts = [strip_controls(text) for text in self._pieces(step.draft.tolist())]
        states = zip(step.entropy.tolist(), step.accepted.tolist(), step.pinned.tolist(), strict=True)
        for token, (entropy, accepted, pinned) in zip(self._tokens, states, strict=True):
            token.nats = 0.0 if pinned else entropy
            token.look = _look(token, entropy, accepted, pinned)
            token.shade = _shade(1 - max(entropy, 0.0) / NOISE_NATS)

    def rewind(self) -> None:
        """Goes back to pure noise. The rows of the same text will begin where they began before."""
        self._tokens = [_Token() for _ in self._tokens]
        self._texts, self._step, self.taken_back = [], 0, 0
        self._newest = None

    def hold(self, pins: Mapping[int, int], texts: Mapping[int, str]) -> None:
        """Shows these tokens as pinned at these positions before the next step does, and no others.

        Args:
            pins: token ids by position.
            texts: what the tokens read, by position.
        """
        self._dress()
        for place, token in enumerate(self._tokens):
            if place in pins:
                token.id, token.look, token.breaks = pins[place], Look.PINNED, True
                self._texts[place] = strip_controls(texts[place])
            elif token.look is Look.PINNED:
                token.look = Look.ACCEPTED

    @property
    def accepted(self) -> int:
        """Positions that the last step accepted, or that are pinned."""
        self._dress()
        return sum(token.look in (Look.ACCEPTED, Look.PINNED) for token in self._tokens)

    @property
    def mean_entropy(self) -> float:
        """In nats, over the positions that are not pinned."""
        self._dress()
        free = [token.nats for token in self._tokens if token.look is not Look.PINNED]
        return sum(free) / len(free) if free else 0.0

    def rows(self, width: int, marks: bool = False, mode: Mode = Mode.STATE) -> list[Row]:
        """The canvas in rows of at most `width` cells; never fewer of them than before at this width.

        Args:
            width: in cells, at least 1.
            marks: show the looks by glyphs, for screens without colour.
            mode: what the shades tell.
        """
        self._dress()
        rows = self._layout.rows(self._atoms(marks, mode), width)
        self._height = max(self._height if self._layout.same_width else 0, len(rows))
        return rows + [()] * (self._height - len(rows))

    def place_at(self, row: int, column: int) -> int | None:
        """The position of the canvas whose token lies there in the rows made last; None for none."""
        cells = self._layout.cells[row] if 0 <= row < len(self._layout.cells) else []
        found = [cell.place for cell in cells if cell.column <= column < cell.column + cell.width and cell.place >= 0]
        return found[0] if found else None

    def pinned_rows(self) -> frozenset[int]:
        """The rows made last in which something is pinned."""
        self._dress()
        pinned = {place for place, token in enumerate(self._tokens) if token.look is Look.PINNED}
        return frozenset(
            row for row, cells in enumerate(self._layout.cells) if any(cell.place in pinned for cell in cells)
        )

    def where(self, place: int) -> list[tuple[int, int, int]]:
        """Row, column and width of each piece of a position's token in the rows made last; empty where it shows not."""
        return [
            (row, cell.column, cell.width)
            for row, cells in enumerate(self._layout.cells)
            for cell in cells
            if cell.place == place
        ]

    def _atoms(self, marks: bool, mode: Mode) -> Iterable[Atom]:
        for place, text in enumerate(self._head):
            yield from split(text, place - len(self._head) - 1, Span("", Look.SETTLED), breaks=True)
        rain = random.Random(self._step)
        for place, token in enumerate(self._tokens):
            if token.id in self._ends and token.breaks:
                return
            text = self._texts[place] if self._texts else " " + "x" * (_BLANK_CELLS - 1)
            yield from split(_drawn(text, token.look, marks, rain), place, _span_of(token, mode), token.breaks)


def _advance(token: _Token, id_: int, accepted: bool, pinned: bool) -> bool:
    """Moves one position on by a step; tells whether a token that was accepted has changed."""
    changed = token.id not in (-1, id_)
    token.age = 0 if changed else token.age + 1
    token.changes += changed
    back = token.held is not None and token.held != id_
    token.back -= token.back > 0
    if back:
        token.held, token.back = None, BACK_STEPS
    if accepted:
        token.held = id_
    token.breaks = accepted or pinned or (token.breaks and token.id == id_)
    token.id = id_
    return back


def _shade(share: float) -> int:
    """The shade for a share of certainty; what lies outside 0 to 1 is as the nearer end."""
    return round((SHADES - 1) * min(max(share, 0.0), 1.0))


def _look(token: _Token, entropy: float, accepted: bool, pinned: bool) -> Look:
    if pinned:
        return Look.PINNED
    if token.back:
        return Look.BACK
    if accepted:
        return Look.ACCEPTED
    return Look.PROVISIONAL if entropy <= NOISE_NATS else Look.NOISE


def _span_of(token: _Token, mode: Mode) -> Span:
    if mode is Mode.STATE or token.look in (Look.NOISE, Look.PINNED):
        return Span("", token.look, token.shade if token.look is Look.PROVISIONAL else 0)
    shade = {
        Mode.ENTROPY: token.shade,
        Mode.AGE: _shade(token.age / OLD_STEPS),
        Mode.CHANGE: _shade(1 - token.changes / MANY_CHANGES),
    }[mode]
    return Span("", Look.PROVISIONAL, shade)


def _drawn(text: str, look: Look, marks: bool, rain: random.Random) -> str:
    """What stands on the screen for a token's text: itself, noise of its width, or itself between marks."""
    core = text.strip(" \t\n")
    if look is Look.NOISE:
        cells = max(1, cell_len(core))
        noise = "░" * cells if marks else "".join(rain.choices(list(RAIN), k=cells))
        return (" " if text.startswith(" ") else "") + noise
    if not marks or not core or look in (Look.ACCEPTED, Look.SETTLED):
        return text
    left, right = {Look.BACK: ("~", "~"), Look.PINNED: ("[", "]")}.get(look, ("·", "·"))
    return text.replace(core, f"{left}{core}{right}", 1)
