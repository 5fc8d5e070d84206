"""What becomes of a candidate: how well it reads in its place, and which of them are the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from dgengine.events import Candidate
from dgengine.infill import ranking
from dgengine.infill.canvas import HoleCanvas
from dgengine.infill.layout import kept_before, replacements
from dgengine.infill.planning import Group
from dgengine.infill.request import InfillRequest, fitted, splice
from dgengine.infill.seams import said_twice

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer
    from dgengine.session import Session

# A candidate's last canvas, and what stands in each of the group's openings now.
Filled: TypeAlias = tuple[HoleCanvas, tuple[tuple[int, ...], ...]]


@dataclass(slots=True)
class Outcome:
    """A rewrite of the first few spans of a request: what `Candidate` tells about them, so far."""

    candidate: int
    replacements: tuple[str, ...]
    joins: bool
    score: float
    seam: float
    fluency: float
    tokens: int
    steps: int
    seconds: float
    method: Literal["pinned", "splice"]
    converged: bool

    def then(self, other: Outcome) -> Outcome:
        """This one and a rewrite of the spans after it, as one."""
        return Outcome(
            self.candidate,
            self.replacements + other.replacements,
            self.joins and other.joins,
            (self.score + other.score) / 2,
            (self.seam + other.seam) / 2,
            (self.fluency + other.fluency) / 2,
            self.tokens + other.tokens,
            self.steps + other.steps,
            self.seconds + other.seconds,
            "splice" if "splice" in (self.method, other.method) else "pinned",
            self.converged and other.converged,
        )

    def reported(self, request: InfillRequest, rank: int) -> Candidate:
        """The event that tells of it, once all of the request's spans are rewritten."""
        return Candidate(
            self.candidate,
            rank,
            self.replacements,
            splice(request.text, request.spans, self.replacements),
            self.joins,
            self.score,
            self.seam,
            self.fluency,
            self.tokens,
            self.steps,
            self.seconds,
            self.method,
            self.converged,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in the spans of a group now, and what it took.

    Attributes:
        texts: what takes the place of each span.
        tokens: the same as ids, a tuple for each opening.
        doubt: of the model's, in nats a token; 0 where it was not held to a length.
        steps: of denoising.
        seconds: that these took.
    """

    candidate: int
    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    doubt: float
    steps: int
    seconds: float
    converged: bool
    method: Literal["pinned", "splice"]


class Judge:
    """Has the model read the candidates in their places."""

    def __init__(self, session: Session, codec: ChatTokenizer) -> None:
        """`session`: holds the group's prompt whenever it is asked to judge."""
        self._session = session
        self._codec = codec
        self._canvas: int = session.model.config.canvas_length

    def ranked(self, group: Group, filled: Sequence[Filled], count: int) -> list[Outcome]:
        """The best different ones, those that join first; the text as it was only for want of another."""
        outcomes = [self.outcome(group, self._written(group, canvas, tokens)) for canvas, tokens in filled]
        outcomes.sort(key=lambda outcome: (not outcome.joins, -outcome.score))
        present = tuple(group.passage.text[start:stop] for start, stop in group.passage.spans)
        different: dict[tuple[str, ...], Outcome] = {}
        for outcome in outcomes:
            different.setdefault(outcome.replacements, outcome)
        if len(different) > 1:
            different.pop(present, None)
        return list(different.values())[:count]

    def _written(self, group: Group, canvas: HoleCanvas, filled: tuple[tuple[int, ...], ...]) -> Written:
        sampler = canvas.sampler
        return Written(
            canvas.candidate, replacements(group.passage, filled, self._codec.spell), filled, canvas.doubt,
            sampler.steps, canvas.seconds, sampler.converged, "pinned",
        )  # fmt: skip

    def outcome(self, group: Group, written: Written) -> Outcome:
        """How it reads, against what stood there and against nothing at all."""
        passage = group.passage
        keep = kept_before(passage, self._canvas)
        closing = self._codec.closing[0] if passage.whole_after else None

        def read(tokens: Sequence[Sequence[int]]) -> ranking.Reading:
            return ranking.read(self._session.score, passage, tokens, keep, closing)

        reading = read(written.tokens)
        empty = read([() for _ in passage.openings])
        before = read([passage.ids[opening.first : opening.last] for opening in passage.openings])
        twice = said_twice(passage, written.texts)
        return Outcome(
            candidate=written.candidate,
            replacements=tuple(fitted(text, group.text) for text in written.texts),
            joins=not twice and reading.near >= min(before.near, empty.near) - ranking.GATE,
            score=ranking.score(reading, twice, written.doubt),
            seam=reading.behind - empty.behind,
            fluency=reading.fluency,
            tokens=sum(map(len, written.tokens)),
            steps=written.steps,
            seconds=written.seconds,
            method=written.method,
            converged=written.converged,
        )
