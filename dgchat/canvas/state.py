"""The canvas as rows of text: which look each token has, and where it lies.

Nothing here knows a screen: `inline` and `app` draw the rows. Rows keep their first token from step to step
where they can (`layout.Layout`), so that a word that changes its length moves its own row and not all that follow; the
text flows anew once, when the block has settled.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from dgchat.canvas.layout import Atom, Layout, Look, Row, Span, cells_of, split, words
from dgchat.sanitize import strip_controls
from dgchat.themes import SHADES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
_BLANKS = " \t\n"
_SHOWER = 256  # Glyphs of noise that are made at once.
_BLANK_CELLS = 4  # Cells that a token of pure noise takes before the first step: about an English token.


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
        self._length = length
        self._layout = Layout()
        self._height = 0
        self._texts: list[str] = []
        self._newest: Step | None = None  # what the looks have not been taken over from
        self.rewind()

    def follow(self, head: str) -> None:
        """Goes on after another settled text: `head`, as at the beginning."""
        self._head = words(head)

    def take(self, step: Step) -> None:
        """Takes over what a step has made of the canvas."""
        self._step = step.step if self.motion else 0
        self._newest = step
        self.pass_over(step.draft, step.accepted, step.pinned)

    def pass_over(self, draft: NDArray[np.int32], accepted: NDArray[np.bool_], pinned: NDArray[np.bool_]) -> None:
        """Takes over what of a step later ones need; it is not shown, and another one is taken before anything is."""
        self.taken_back += self._past.advance(draft, accepted, pinned)

    def _dress(self) -> None:
        """Gives the tokens the texts and looks of the step taken last; a step that nobody sees needs none."""
        step, self._newest = self._newest, None
        if step is None:
            return
        self._texts = [strip_controls(text) for text in self._pieces(step.draft.tolist())]
        entropy, accepted, pinned = step.entropy.tolist(), step.accepted.tolist(), step.pinned.tolist()
        self._nats = [0.0 if held else nats for nats, held in zip(entropy, pinned, strict=True)]
        states = zip(entropy, self._past.back.tolist(), accepted, pinned, strict=True)
        self._looks = [_look(*state) for state in states]
        self._sure = [1 - max(nats, 0.0) / NOISE_NATS for nats in entropy]

    def rewind(self) -> None:
        """Goes back to pure noise. The rows of the same text will begin where they began before."""
        from dgchat.canvas.past import Past

        self._past = Past(self._length)
        self._looks = [Look.NOISE] * self._length
        self._nats = [NOISE_NATS] * self._length
        self._sure = [0.0] * self._length  # shares of certainty
        self._texts = []
        self._step = 0
        self._newest = None
        self.taken_back = 0

    def hold(self, pins: Mapping[int, int], texts: Mapping[int, str]) -> None:
        """Shows these tokens as pinned at these positions before the next step does, and no others.

        Args:
            pins: token ids by position.
            texts: what the tokens read, by position.
        """
        self._dress()
        self._looks = [Look.ACCEPTED if look is Look.PINNED else look for look in self._looks]
        for place, token in pins.items():
            self._past.hold(place, token)
            self._looks[place] = Look.PINNED
            self._texts[place] = strip_controls(texts[place])

    @property
    def accepted(self) -> int:
        """Positions that the last step accepted, or that are pinned."""
        self._dress()
        return sum(look in (Look.ACCEPTED, Look.PINNED) for look in self._looks)

    @property
    def mean_entropy(self) -> float:
        """In nats, over the positions that are not pinned."""
        self._dress()
        free = [nats for nats, look in zip(self._nats, self._looks, strict=True) if look is not Look.PINNED]
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
        pinned = {place for place, look in enumerate(self._looks) if look is Look.PINNED}
        if not pinned:
            return frozenset()
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
        looks = zip(self._shown(), self._looks, self._shares(mode), self._past.breaks.tolist(), strict=False)
        rain = _Rain(self._step)
        for place, (text, look, share, breaks) in enumerate(looks):
            text = _drawn(text, look, marks, rain)
            if _shaded(look, mode):
                look, shade = Look.PROVISIONAL, _shade(share)
            else:
                shade = 0
            if "\n" in text:
                yield from split(text, place, Span("", look, shade), breaks)
            elif text:
                yield Atom(place, Span(text, look, shade))

    def _shown(self) -> Sequence[str]:
        """The texts of the tokens, up to the first one that ends the answer."""
        if not self._texts:
            return [" " + "x" * (_BLANK_CELLS - 1)] * self._length
        if not self._ends:
            return self._texts
        tokens = zip(self._past.ids.tolist(), self._past.breaks.tolist(), strict=True)
        ends = (place for place, (id_, breaks) in enumerate(tokens) if breaks and id_ in self._ends)
        return self._texts[: next(ends, None)]

    def _shares(self, mode: Mode) -> Sequence[float]:
        """How bright the tokens are, 0 to 1 and beyond."""
        if mode is Mode.AGE:
            ages: list[float] = (self._past.age / OLD_STEPS).tolist()
            return ages
        if mode is Mode.CHANGE:
            kept: list[float] = (1 - self._past.changes / MANY_CHANGES).tolist()
            return kept
        return self._sure


class _Rain:
    """The glyphs of noise, one after another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._glyphs, self._fallen = "", 0

    def fall(self, cells: int) -> str:
        """The next glyphs. Many are made at once: to make few takes nearly as long."""
        start, self._fallen = self._fallen, self._fallen + cells
        if self._fallen > len(self._glyphs):
            self._glyphs += "".join(self._random.choices(RAIN, k=max(cells, _SHOWER)))
        return self._glyphs[start : self._fallen]


def _shade(share: float) -> int:
    """The shade for a share of certainty; what lies outside 0 to 1 is as the nearer end."""
    return round((SHADES - 1) * min(max(share, 0.0), 1.0))


def _look(entropy: float, back: int, accepted: bool, pinned: bool) -> Look:
    if pinned:
        return Look.PINNED
    if back:
        return Look.BACK
    if accepted:
        return Look.ACCEPTED
    return Look.PROVISIONAL if entropy <= NOISE_NATS else Look.NOISE


def _shaded(look: Look, mode: Mode) -> bool:
    if mode is Mode.STATE:
        return look is Look.PROVISIONAL
    return look is not Look.NOISE and look is not Look.PINNED


def _drawn(text: str, look: Look, marks: bool, rain: _Rain) -> str:
    """What stands on the screen for a token's text: itself, noise of its width, or itself between marks."""
    if look is Look.NOISE:
        cells = max(1, cells_of(text.strip(_BLANKS)))
        return (" " if text.startswith(" ") else "") + ("░" * cells if marks else rain.fall(cells))
    if not marks or look is Look.ACCEPTED or not (core := text.strip(_BLANKS)):
        return text
    left, right = {Look.BACK: ("~", "~"), Look.PINNED: ("[", "]")}.get(look, ("·", "·"))
    return text.replace(core, f"{left}{core}{right}", 1)
