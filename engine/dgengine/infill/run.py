"""An infill from beginning to end: candidates of several lengths side by side, the better ones finished and ranked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dgengine.answer import CHUNK
from dgengine.control import Control
from dgengine.errors import InfillError
from dgengine.events import Done, Event, Hole, Prefill
from dgengine.infill.canvas import HoleCanvas
from dgengine.infill.layout import kept_before, lay_out, most_open, open_layout
from dgengine.infill.lengths import pool
from dgengine.infill.outcome import Filled, Judge, Outcome, Written
from dgengine.infill.passage import Opening, Passage
from dgengine.infill.planning import NO_LIMIT, Group, Planner
from dgengine.infill.request import InfillRequest, splice
from dgengine.infill.side_by_side import SideBySide
from dgengine.infill.splicing import Anchor
from dgengine.sampling import ResolvedSampling
from dgengine.stats import Recorder

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer
    from dgengine.session import Session

FINISHED: Final = 8  # candidates that are finished at least; the others are given up after their first step
_SPLICED_CANVASES: Final = 2  # that a free rewrite may take beyond the length of what it replaces
_SPLICED: Final = -1  # the candidate number of a free rewrite


class Infill:
    """One call of `Session.infill`."""

    def __init__(
        self,
        session: Session,
        codec: ChatTokenizer,
        request: InfillRequest,
        sampling: ResolvedSampling,
        control: Control,
    ) -> None:
        """Plans it.

        Raises:
            InfillError: a span that the model has no room for.
        """
        model = session.model
        self._session = session
        self._codec = codec
        self._request = request
        self._control = control
        self._canvas: int = model.config.canvas_length
        self._recorder = Recorder(model.device, sampling.seed)
        self._canvases = SideBySide(session, codec, sampling, control, self._recorder)
        self._judge = Judge(session, codec)
        self._planner = Planner(codec, request, session.context, self._canvas)
        self._groups = self._planner.groups()
        spans = [request.spans[number] for number in self._groups[0]]
        self._first = self._planner.prepared(self._groups[0], request.text, spans, request.keep)

    def events(self) -> Generator[Event, None, None]:
        """The events of `Session.infill`."""
        outcomes = yield from self._rewritten(self._first, self._request.candidates)
        for numbers in self._groups[1:]:
            outcomes = yield from self._carried_on(numbers, outcomes)
        for rank, outcome in enumerate(outcomes, 1):
            yield outcome.reported(self._request, rank)
        yield Done("cancelled" if self._control.cancelled else "eos", self._recorder.stats())

    def _carried_on(self, numbers: tuple[int, ...], outcomes: list[Outcome]) -> Generator[Event, None, list[Outcome]]:
        """The spans `numbers`, rewritten once in each of the texts that the spans before have become."""
        request = self._request
        longer: list[Outcome] = []
        for outcome in outcomes:
            done = request.spans[: numbers[0]]
            text = splice(request.text, done, outcome.replacements)
            shift = len(text) - len(request.text)
            spans = [(a + shift, b + shift) for a, b in (request.spans[n] for n in numbers)]
            keep = [(a + shift, b + shift) for a, b in request.keep if a >= request.spans[numbers[0]][0]]
            found = yield from self._rewritten(self._planner.prepared(numbers, text, spans, keep), 1)
            longer += [outcome.then(found[0])] if found else []
        return longer

    def _rewritten(self, group: Group, count: int) -> Generator[Event, None, list[Outcome]]:
        """The best `count` different rewrites of a group; fewer where it was cancelled or they are all alike."""
        yield from self._prefill(group.prompt)
        if self._control.cancelled:
            return []
        outcomes: list[Outcome] = []
        if self._request.method != "splice":
            filled = yield from self._pinned(group, count)
            with self._recorder.timed():
                outcomes = self._judge.ranked(group, filled, count)
        fits = len(group.passage.openings) == len(group.passage.regions) == 1
        wanted = self._request.method == "splice" or not any(outcome.joins for outcome in outcomes)
        if self._request.method != "pinned" and wanted and fits and not self._control.cancelled:
            spliced = yield from self._spliced(group)
            # what was held on the canvas and does not join is no better than what was not held at all
            outcomes = sorted([*outcomes, *spliced], key=lambda o: (not o.joins, -o.score))[:count]
        return outcomes

    # what stands before the canvases

    def _prefill(self, ids: list[int]) -> Iterator[Event]:
        """Brings the cache to `ids`."""
        with self._recorder.timed():
            reused = self._session.rewind(ids)
        self._recorder.reused += reused
        new = ids[reused:]
        yield Prefill(0, len(new), reused)
        for start in range(0, len(new), CHUNK):
            if self._control.orders(1).cancelled:
                return
            self._encode(new[start : start + CHUNK])
            yield Prefill(min(start + CHUNK, len(new)), len(new), reused)

    def _encode(self, ids: Sequence[int]) -> None:
        with self._recorder.timed():
            self._session.encode(ids)
        self._recorder.encoded += len(ids)

    def _rewind(self, ids: Sequence[int]) -> None:
        with self._recorder.timed():
            self._session.rewind(ids)

    # both sides pinned

    def _pinned(self, group: Group, count: int) -> Generator[Event, None, list[Filled]]:
        passage = group.passage
        most = most_open(passage, self._canvas)
        present = [opening.length for opening in passage.openings]
        if most < len(present):
            raise InfillError("The spans lie too far apart for one canvas: rewrite them one by one.")
        lengths = pool(present, self._request.length, count, NO_LIMIT)
        if len(present) == 1 and lengths[0][0] > most:
            return (yield from self._in_stretches(group, [length for (length,) in lengths[:count]], most))
        lengths = pool(present, self._request.length, count, most)
        at_least = max(count + 1, FINISHED)  # one may be the text as it was
        best = yield from self._best_lengths(passage, lengths, at_least)
        finished = yield from self._canvases.denoised(best)
        return [(canvas, canvas.filled) for canvas in finished]

    def _best_lengths(
        self, passage: Passage, lengths: Sequence[tuple[int, ...]], count: int
    ) -> Generator[Event, None, list[HoleCanvas]]:
        """One step of a canvas of each of the `lengths`; the `count` that were least in doubt, and those steered."""
        best: list[HoleCanvas] = []
        width = self._canvases.width
        for begin in range(0, len(lengths), width):
            canvases = []
            for each in lengths[begin : begin + width]:
                layout = lay_out(passage, each, self._canvas, self._codec.closing)
                canvas = self._canvases.new_canvas(layout, self._canvases.new_candidate())
                canvas.begin_with(passage.ids, self._request.strength)
                canvases.append(canvas)
                yield Hole(canvas.candidate, canvas.block, canvas.places)
            if not self._canvases.hold(canvases):
                return []
            yield from self._canvases.step(canvases)
            ranked = sorted([*best, *canvases], key=lambda canvas: canvas.doubt)
            best = [canvas for place, canvas in enumerate(ranked) if place < count or canvas.held]
        return best

    # a hole longer than a canvas

    def _in_stretches(self, group: Group, lengths: Sequence[int], most: int) -> Generator[Event, None, list[Filled]]:
        """Candidates one after another, each from left to right: open canvases, then one with what follows pinned."""
        filled: list[Filled] = []
        for length in dict.fromkeys(lengths):
            filled += yield from self._one_in_stretches(group, length, most)
            self._rewind(group.prompt)
            if self._control.cancelled:
                break
        return filled

    def _one_in_stretches(self, group: Group, length: int, most: int) -> Generator[Event, None, list[Filled]]:
        """One candidate; none where it is cancelled."""
        candidate = self._canvases.new_candidate()
        passage = group.passage
        opening = passage.openings[0]
        keep = kept_before(passage, self._canvas)
        self._encode(passage.before[len(passage.before) - keep :])
        written: list[int] = []
        head = opening.head
        while length - len(written) > most:
            stretch = replace(opening, head=head, tail=b"")
            canvas = self._canvases.new_canvas(open_layout(stretch, self._canvas), candidate)
            yield Hole(candidate, canvas.block, canvas.places)
            if not (yield from self._canvases.denoised([canvas])):
                return []
            tokens = canvas.filled[0][: length - len(written) - 1]
            self._encode(tokens)
            written += tokens
            head = b""
        rest = _rest(passage, replace(opening, head=head), written)
        held = kept_before(rest, self._canvas)
        self._rewind(self._session.held[: len(self._session.held) - held])
        layout = lay_out(rest, (length - len(written),), self._canvas, self._codec.closing)
        canvas = self._canvases.new_canvas(layout, candidate)
        yield Hole(candidate, canvas.block, canvas.places)
        finished = yield from self._canvases.denoised([canvas])
        return [(canvas, ((*written, *canvas.filled[0]),))] if finished else []

    # written freely and spliced in

    def _spliced(self, group: Group) -> Generator[Event, None, list[Outcome]]:
        """The same prompt, answered freely; cut where the text behind the span begins."""
        passage = group.passage
        region = passage.regions[0]
        anchor = Anchor(self._codec, passage, self._codec.closing[0])
        self._encode(passage.before[len(passage.before) - kept_before(passage, self._canvas) :])
        written: list[int] = []
        steps, seconds, converged = 0, 0.0, True
        most = region.length + _SPLICED_CANVASES * self._canvas
        while len(written) < most:
            canvas = self._canvases.new_canvas(open_layout(region, self._canvas), _SPLICED)
            canvas.open_to(self._codec.closing[0])
            yield Hole(_SPLICED, canvas.block, canvas.places)
            if not (yield from self._canvases.denoised([canvas])):
                return []
            steps, seconds = steps + canvas.sampler.steps, seconds + canvas.seconds
            converged = converged and canvas.sampler.converged
            written += canvas.filled[0]
            if anchor.found(written):
                break
            self._encode(canvas.filled[0])
        self._rewind(group.prompt)
        text, tokens = anchor.cut(written)
        return [
            self._judge.outcome(group, Written(_SPLICED, (text,), (tokens,), 0.0, steps, seconds, converged, "splice"))
        ]


def _rest(passage: Passage, opening: Opening, written: Sequence[int]) -> Passage:
    """The passage once a part of its opening is `written`: that stands before the rest as what precedes any hole."""
    before = (*passage.before, *written)
    return Passage(
        passage.text,
        passage.spans,
        (*before, *passage.after),
        passage.regions,
        (replace(opening, first=len(before), last=len(before)),),
        passage.whole_before,
        passage.whole_after,
    )
