"""One rewrite, from its request to its candidates: which canvases form, which one is shown. Knows no screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dgchat.canvas.layout import Row
from dgchat.canvas.state import NOISE_NATS, Canvas, Mode, Pieces

if TYPE_CHECKING:
    from dgengine import Candidate, Event, Hole, InfillRequest, Step

SORTED_OUT: Final = 3  # the step at which it is seen which lengths the engine has given up after a first look
CHOICE_HOLDS: Final = 0.4  # seconds for which the candidate that is shown stays the same, so that one can read it
_CLEARLY: Final = 0.9  # another one is shown when its entropy is below this share of the shown one's


@dataclass
class Forming:
    """A candidate that is being denoised.

    Attributes:
        number: its number.
        block: the number of its newest canvas.
        first: where the hole begins on that canvas, and `last` where it ends, exclusive.
        canvas: the hole alone, as it is drawn.
        settled: the text of its canvases before this one.
        step: its newest step, the hole alone; None before the first.
        nats: mean entropy of the positions that are free, at its newest step.
        finished: whether all its canvases are.
    """

    number: int
    block: int
    first: int
    last: int
    canvas: Canvas
    settled: str = ""
    step: Step | None = None
    nats: float = float("inf")
    finished: bool = False

    @property
    def length(self) -> int:
        """Tokens of the hole."""
        return self.last - self.first


class Rewrite:
    """What comes of one request.

    Attributes:
        request: what was asked for.
        turn: its number at the host.
        forming: the candidates that are being denoised, by their numbers.
        shown: the number of the one that is shown; None before there is any.
        held: whether the one that is shown stays the same: it is looked at, or steered.
        steered: the number of the candidate in which a token was held by hand; None for none.
        candidates: the finished ones, best first.
        taken: how many steps have been seen.
    """

    def __init__(
        self, request: InfillRequest, turn: int, pieces: Pieces, motion: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`pieces`: the text of tokens. `motion`: whether noise moves. `clock`: gives seconds."""
        self.request = request
        self.turn = turn
        self.forming: dict[int, Forming] = {}
        self.shown: int | None = None
        self.held = False
        self.steered: int | None = None
        self.candidates: list[Candidate] = []
        self.taken = 0
        self._newest_step = 0
        self._pieces, self._motion = pieces, motion
        self._clock = clock
        self._chosen_at = 0.0

    def take(self, event: Event) -> None:
        """Takes an event of the session."""
        from dgengine import Block, Candidate, Hole, Step

        match event:
            case Hole():
                self._open(event)
            case Step():
                self._step(event)
            case Block(candidate=int(number)) if number in self.forming:
                self.forming[number].finished = True
            case Candidate():
                self.candidates.append(event)
                self.candidates.sort(key=lambda candidate: candidate.rank)

    def _open(self, hole: Hole) -> None:
        before = self.forming.get(hole.candidate)
        settled = before.settled + self._text(before) if before is not None else ""
        first, last = min(place[1] for place in hole.places), max(place[2] for place in hole.places)
        canvas = Canvas(last - first, self._pieces, motion=self._motion)
        if not self.held and not any(not forming.finished for forming in self.active):
            self.shown = hole.candidate  # the ones before are done: this is what goes on now
        self.forming[hole.candidate] = Forming(hole.candidate, hole.block, first, last, canvas, settled)

    @property
    def active(self) -> list[Forming]:
        """The candidates that the engine has not given up."""
        newest = self._newest_step
        return [
            forming
            for forming in self.forming.values()
            if forming.finished or forming.step is None or newest - forming.step.step < SORTED_OUT - 1
        ]

    @property
    def ready(self) -> bool:
        """Whether it is known how long the candidates are, so that the hole can be given its room."""
        now = self.now
        seen = now is not None and now.step is not None
        return seen and (self.held or len(self.forming) == 1 or self._newest_step >= SORTED_OUT or self._any_finished)

    @property
    def _any_finished(self) -> bool:
        return any(forming.finished for forming in self.forming.values())

    def rows(self, forming: Forming, indent: int, width: int, marks: bool) -> list[Row]:
        """A candidate's rows.

        Args:
            forming: the candidate, which has made a step.
            indent: cells before the hole in its first row; what stands in them is not to be drawn.
            width: cells of a row.
            marks: as `Canvas.rows` takes it.
        """
        start = self.request.spans[0][0]
        # Where a space before the hole is a part of its first token, the token begins in front of the hole.
        shared = not forming.settled and indent > 0 and self.request.text[start - 1 : start] == " "
        step = forming.step
        if shared and step is not None and self._pieces(step.draft.tolist())[0].startswith(" "):
            indent -= 1
        forming.canvas.follow("x" * indent + forming.settled)
        return forming.canvas.rows(width, marks, Mode.STATE)

    def _text(self, forming: Forming) -> str:
        return "".join(self._pieces(forming.step.draft.tolist())) if forming.step is not None else ""

    def _step(self, step: Step) -> None:
        forming = self.forming.get(step.candidate if step.candidate is not None else -1)
        if forming is None or step.block != forming.block:
            return
        self.taken += 1
        self._newest_step = step.step
        forming.step = part = within(step, forming.first, forming.last)
        forming.canvas.take(part)
        free = part.entropy[~part.pinned]
        forming.nats = float(free.mean()) if len(free) else 0.0
        self._choose()

    def _choose(self) -> None:
        """Shows the candidate that is most confident, unless another was chosen but now."""
        seen = [forming for forming in self.active if forming.step is not None]
        if self.held or not seen:
            return
        best = min(seen, key=lambda forming: forming.nats)
        now = self.forming.get(self.shown if self.shown is not None else -1)
        if now is best:
            return
        rested = self._clock() - self._chosen_at >= CHOICE_HOLDS
        if now is None or now not in seen or (best.nats < now.nats * _CLEARLY and rested):
            self.shown, self._chosen_at = best.number, self._clock()

    @property
    def now(self) -> Forming | None:
        """The candidate that is shown."""
        return self.forming.get(self.shown) if self.shown is not None else None

    @property
    def longest(self) -> int:
        """Tokens of the longest hole."""
        return max((forming.length for forming in self.active), default=0)

    @property
    def breaks(self) -> int:
        """The most line breaks that a candidate has, as far as it knows yet."""
        return max((self._breaks(forming) for forming in self.active), default=0)

    def _breaks(self, forming: Forming) -> int:
        if forming.step is None:
            return 0
        sure = (forming.step.entropy <= NOISE_NATS).tolist()
        pieces = self._pieces(forming.step.draft.tolist())
        return sum(piece.count("\n") for piece, known in zip(pieces, sure, strict=True) if known)

    @property
    def favourite(self) -> int:
        """The place in `candidates` of the one to show first: the one that was steered, or the best."""
        numbers = [candidate.candidate for candidate in self.candidates]
        return numbers.index(self.steered) if self.steered in numbers else 0


def within(step: Step, first: int, last: int) -> Step:
    """A part of a step's canvas."""
    part = slice(first, last)
    return replace(
        step, draft=step.draft[part], canvas=step.canvas[part], entropy=step.entropy[part],
        accepted=step.accepted[part], pinned=step.pinned[part], top_ids=None, top_probs=None,
    )  # fmt: skip
