"""An infill from beginning to end: candidates of several lengths side by side, the better ones finished and ranked."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from dgengine.answer import CHUNK
from dgengine.control import Control
from dgengine.errors import InfillError, NumericsError
from dgengine.events import Block, Candidate, Done, Event, Hole, Prefill, Step
from dgengine.infill import ranking
from dgengine.infill.canvas import HoleCanvas
from dgengine.infill.layout import Layout, kept_before, lay_out, most_open, open_layout, replacements
from dgengine.infill.lengths import pool
from dgengine.infill.passage import Passage, cut_out
from dgengine.infill.prompt import marked, only_marked, prompt
from dgengine.infill.request import InfillRequest, Range, fitted, splice
from dgengine.infill.seams import said_twice
from dgengine.infill.splicing import Anchor
from dgengine.infill.vocabulary import vocabulary
from dgengine.sampling import ResolvedSampling
from dgengine.stats import Recorder

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer
    from dgengine.session import Session

_FINISHED = 8  # candidates that are finished at least; the others are given up after their first step
_POOL_ELEMENTS = 2**28  # logits that all candidates together may have: 1 GiB of float32
_BUDGET = 16  # canvases that prompt, text and canvas may come to
_SPLICED_CANVASES = 2  # that a free rewrite may take beyond the length of what it replaces
_SPLICED = -1  # the candidate number of a free rewrite


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


@dataclass(slots=True)
class _Group:
    """Spans that are rewritten on one canvas, in the text as it stands when their turn comes."""

    numbers: tuple[int, ...]
    passage: Passage
    prompt: list[int]
    text: str
    filled: list[tuple[HoleCanvas, tuple[tuple[int, ...], ...]]] = field(default_factory=list)


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
        self._sampling = sampling
        self._control = control
        self._canvas: int = model.config.canvas_length
        self._size: tuple[int, int] = (self._canvas, model.config.vocab_size)
        self._words = vocabulary(codec, model.config.vocab_size, model.device)
        self._recorder = Recorder(model.device, sampling.seed)
        self._candidates = 0
        self._blocks = 0
        self._groups = self._grouped()
        spans = [request.spans[number] for number in self._groups[0]]
        self._first = self._prepared(self._groups[0], request.text, spans, request.keep)

    # planning

    def _grouped(self) -> list[tuple[int, ...]]:
        """The spans' numbers, those together that fit one canvas."""
        groups: list[tuple[int, ...]] = []
        for number in range(len(self._request.spans)):
            joined = (*groups[-1], number) if groups else (number,)
            if len(joined) > 1 and self._request.method != "splice" and self._fit_together(joined):
                groups[-1] = joined
            else:
                groups.append((number,))
        return groups

    def _fit_together(self, numbers: tuple[int, ...]) -> bool:
        spans = [self._request.spans[number] for number in numbers]
        if spans[-1][1] - spans[0][0] > 8 * self._canvas:
            return False
        passage = self._cut(self._request.text, spans, numbers, self._request.keep)
        lengths = pool([opening.length for opening in passage.openings], self._request.length, 1, 2**31)[0]
        return bool(lengths) and sum(lengths) <= most_open(passage, self._canvas)

    def _cut(self, text: str, spans: Sequence[Range], numbers: Sequence[int], keep: Sequence[Range]) -> Passage:
        inside = [r for r in keep if any(start <= r[0] and r[1] <= stop for start, stop in spans)]
        return cut_out(self._codec, text, spans, inside, numbers, self._room(text, spans))

    def _room(self, text: str, spans: Sequence[Range]) -> tuple[int, int]:
        """The most tokens of the document before the spans, and behind them: those before are read twice."""
        limit = min(self._session.context, _BUDGET * self._canvas)
        head = len(self._codec.encode_chat([{"role": "user", "content": prompt("", self._request.instruction)}]))
        span = len(self._codec.tokens(text[spans[0][0] : spans[-1][1]]))
        room = limit - head - 3 * span - 2 * self._canvas
        least = self._canvas // 2
        return max(least, room * 3 // 8), max(least, room // 4)

    def _prepared(self, numbers: tuple[int, ...], text: str, spans: Sequence[Range], keep: Sequence[Range]) -> _Group:
        """The passage of some spans, and the prompt up to where the canvas begins."""
        passage = self._cut(text, spans, numbers, keep)
        if not passage.openings:
            raise InfillError("All of the span is to be kept: there is nothing left to rewrite.")
        shown = marked(passage.text, passage.spans)
        if not self._request.show_sides:
            shown = only_marked(passage.text, passage.spans)
        # as ids, so that what looks like a control token in the document is none
        turn = {"role": "user", "ids": self._codec.tokens(prompt(shown, self._request.instruction))}
        ids = list(self._codec.encode_chat([turn]))
        before = passage.before
        ids += before[: len(before) - kept_before(passage, self._canvas)]
        self._check_room(passage, len(ids))
        return _Group(numbers, passage, ids, text)

    def _check_room(self, passage: Passage, prompt_length: int) -> None:
        context = self._session.context
        longest = max((2 * opening.length for opening in passage.openings), default=0)
        if isinstance(self._request.length, int):
            longest = self._request.length
        if prompt_length + longest + 2 * self._canvas > context:
            raise InfillError(
                f"The span is too long: with the text around it, it exceeds the model's context of {context:,} tokens. "
                "Select less."
            )

    # running

    def events(self) -> Generator[Event, None, None]:
        """The events of `Session.infill`."""
        outcomes = yield from self._rewritten(self._first, self._request.candidates)
        for numbers in self._groups[1:]:
            outcomes = yield from self._carried_on(numbers, outcomes)
        for rank, outcome in enumerate(outcomes, 1):
            yield self._reported(outcome, rank)
        yield Done("cancelled" if self._control.cancelled else "eos", self._recorder.stats())

    def _reported(self, outcome: Outcome, rank: int) -> Candidate:
        request = self._request
        return Candidate(
            outcome.candidate,
            rank,
            outcome.replacements,
            splice(request.text, request.spans, outcome.replacements),
            outcome.joins,
            outcome.score,
            outcome.seam,
            outcome.fluency,
            outcome.tokens,
            outcome.steps,
            outcome.seconds,
            outcome.method,
            outcome.converged,
        )

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
            found = yield from self._rewritten(self._prepared(numbers, text, spans, keep), 1)
            longer += [outcome.then(found[0])] if found else []
        return longer

    def _rewritten(self, group: _Group, count: int) -> Generator[Event, None, list[Outcome]]:
        """The best `count` different rewrites of a group; fewer where it was cancelled or they are all alike."""
        yield from self._prefill(group.prompt)
        if self._control.cancelled:
            return []
        outcomes: list[Outcome] = []
        if self._request.method != "splice":
            yield from self._pinned(group, count)
            outcomes = self._ranked(group, count)
        fits = len(group.passage.openings) == len(group.passage.regions) == 1
        wanted = self._request.method == "splice" or not any(outcome.joins for outcome in outcomes)
        if self._request.method != "pinned" and wanted and fits and not self._control.cancelled:
            spliced = yield from self._spliced(group)
            # what was held on the canvas and does not join is no better than what was not held at all
            outcomes = sorted([*outcomes, *spliced], key=lambda o: (not o.joins, -o.score))[:count]
        return outcomes

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

    # both sides pinned

    def _pinned(self, group: _Group, count: int) -> Iterator[Event]:
        passage = group.passage
        most = most_open(passage, self._canvas)
        present = [opening.length for opening in passage.openings]
        if most < len(present):
            raise InfillError("The spans lie too far apart for one canvas: rewrite them one by one.")
        lengths = pool(present, self._request.length, count, 2**31)
        if len(present) == 1 and lengths[0][0] > most:
            yield from self._in_stretches(group, [length for (length,) in lengths[:count]], most)
            return
        lengths = pool(present, self._request.length, count, most)
        best = yield from self._best_lengths(
            passage, lengths, max(count + 1, _FINISHED)
        )  # one may be the text as it was
        finished = yield from self._denoised(best)
        group.filled += [(canvas, canvas.filled) for canvas in finished]

    def _best_lengths(
        self, passage: Passage, lengths: Sequence[tuple[int, ...]], count: int
    ) -> Generator[Event, None, list[HoleCanvas]]:
        """One step of a canvas of each of the `lengths`; the `count` that were least in doubt, and those steered."""
        closing = self._codec.closing
        best: list[HoleCanvas] = []
        for begin in range(0, len(lengths), self._width):
            canvases = []
            for each in lengths[begin : begin + self._width]:
                canvas = self._new_canvas(lay_out(passage, each, self._canvas, closing))
                canvas.begin_with(passage.ids, self._request.strength)
                canvases.append(canvas)
                yield Hole(canvas.candidate, canvas.block, canvas.places)
            if not self._hold(canvases):
                return []
            yield from self._step(canvases)
            ranked = sorted([*best, *canvases], key=lambda canvas: canvas.doubt)
            best = [canvas for place, canvas in enumerate(ranked) if place < count or canvas.held]
        return best

    def _hold(self, canvases: Sequence[HoleCanvas]) -> bool:
        """Waits while paused; puts a person's pins on the canvases. Returns whether to go on."""
        if not canvases or self._control.orders(canvases[0].block).cancelled:
            return False
        for canvas in canvases:
            canvas.hold(self._control.pins(canvas.block))
        return True

    @property
    def _width(self) -> int:
        """How many canvases are denoised at once: as many as there is memory for."""
        return max(1, _POOL_ELEMENTS // (self._size[0] * self._size[1]))

    def _new_canvas(self, layout: Layout, candidate: int | None = None) -> HoleCanvas:
        if candidate is None:
            candidate = self._candidates
            self._candidates += 1
        self._blocks += 1
        model = self._session.model
        return HoleCanvas(
            candidate, self._blocks, layout, self._size, self._sampling, self._words, model.dtype, model.device
        )  # fmt: skip

    def _denoised(self, canvases: list[HoleCanvas]) -> Generator[Event, None, list[HoleCanvas]]:
        """Steps until all canvases, which are at the same step, are finished; none where it is cancelled."""
        active = list(canvases)
        yield from self._settle(active)
        while active:
            if not self._hold(active):
                return []
            if self._control.orders(active[0].block).commit and active[0].sampler.steps:
                yield from map(self._finished, active)
                break
            yield from self._step(active)
            yield from self._settle(active)
        return canvases

    def _settle(self, active: list[HoleCanvas]) -> Iterator[Block]:
        """Takes the canvases out that have converged or may take no more steps."""
        limit = self._sampling.max_denoising_steps
        for canvas in list(active):
            if canvas.sampler.converged or canvas.sampler.steps >= limit:
                active.remove(canvas)
                yield self._finished(canvas)

    def _step(self, canvases: list[HoleCanvas]) -> Iterator[Step]:
        """One step of each canvas."""
        for begin in range(0, len(canvases), self._width):
            together = canvases[begin : begin + self._width]
            start = time.perf_counter()
            logits = self._session.denoise_side_by_side([canvas.sampler for canvas in together])
            shared = (time.perf_counter() - start) / len(together)
            for canvas, row in zip(together, logits, strict=True):
                yield self._stepped(canvas, row, shared)

    def _stepped(self, canvas: HoleCanvas, logits: object, shared: float) -> Step:
        start = time.perf_counter()
        try:
            step = canvas.step(logits, 0.0)  # type: ignore[arg-type]
        except NumericsError as error:
            self._session.reset()
            raise NumericsError(
                f"The model gave NaN or infinity at step {canvas.sampler.steps} of an infill: the weights may be "
                "damaged, or overflow at this precision; try precision='float32'."
            ) from error
        seconds = shared + time.perf_counter() - start
        canvas.seconds += seconds
        self._recorder.add_step(canvas.block, seconds)
        return replace(step, seconds=seconds)

    def _finished(self, canvas: HoleCanvas) -> Block:
        draft = canvas.draft
        self._recorder.tokens[canvas.block] = sum(map(len, canvas.filled))
        return Block(canvas.block, draft, canvas.sampler.steps, canvas.sampler.converged, canvas.candidate)

    def _ranked(self, group: _Group, count: int) -> list[Outcome]:
        """The best different ones, those that join first; the text as it was only for want of another."""
        with self._recorder.timed():
            outcomes = [self._outcome(group, canvas, filled) for canvas, filled in group.filled]
        outcomes.sort(key=lambda outcome: (not outcome.joins, -outcome.score))
        present = tuple(group.passage.text[start:stop] for start, stop in group.passage.spans)
        different: dict[tuple[str, ...], Outcome] = {}
        for outcome in outcomes:
            different.setdefault(outcome.replacements, outcome)
        if len(different) > 1:
            different.pop(present, None)
        return list(different.values())[:count]

    # a hole longer than a canvas

    def _in_stretches(self, group: _Group, lengths: Sequence[int], most: int) -> Iterator[Event]:
        """Candidates one after another, each from left to right: open canvases, then one with what follows pinned."""
        for length in dict.fromkeys(lengths):
            candidate = self._candidates
            self._candidates += 1
            yield from self._one_in_stretches(group, candidate, length, most)
            with self._recorder.timed():
                self._session.rewind(group.prompt)
            if self._control.cancelled:
                return

    def _one_in_stretches(self, group: _Group, candidate: int, length: int, most: int) -> Iterator[Event]:
        passage = group.passage
        opening = passage.openings[0]
        keep = kept_before(passage, self._canvas)
        self._encode(passage.before[len(passage.before) - keep :])
        written: list[int] = []
        head = opening.head
        while length - len(written) > most:
            stretch = replace(opening, head=head, tail=b"")
            canvas = self._new_canvas(open_layout(stretch, self._canvas), candidate)
            yield Hole(candidate, canvas.block, canvas.places)
            if not (yield from self._denoised([canvas])):
                return
            tokens = canvas.filled[0][: length - len(written) - 1]
            self._encode(tokens)
            written += tokens
            head = b""
        # what was written last stands pinned before the rest of the hole, as what precedes any hole does
        behind = [*passage.before, *written]
        rest = Passage(
            passage.text,
            passage.spans,
            (*behind, *passage.after),
            passage.regions,
            (replace(opening, first=len(behind), last=len(behind), head=head),),
            passage.whole_before,
            passage.whole_after,
        )
        held = kept_before(rest, self._canvas)
        with self._recorder.timed():
            self._session.rewind(self._session.held[: len(self._session.held) - held])
        layout = lay_out(rest, (length - len(written),), self._canvas, self._codec.closing)
        canvas = self._new_canvas(layout, candidate)
        yield Hole(candidate, canvas.block, canvas.places)
        if (yield from self._denoised([canvas])):
            group.filled.append((canvas, ((*written, *canvas.filled[0]),)))

    # written freely and spliced in

    def _spliced(self, group: _Group) -> Generator[Event, None, list[Outcome]]:
        """The same prompt, answered freely; cut where the text behind the span begins."""
        passage = group.passage
        region = passage.regions[0]
        anchor = Anchor(self._codec, passage, self._codec.closing[0])
        self._encode(passage.before[len(passage.before) - kept_before(passage, self._canvas) :])
        written: list[int] = []
        steps, seconds, converged = 0, 0.0, True
        most = region.length + _SPLICED_CANVASES * self._canvas
        while len(written) < most:
            canvas = self._new_canvas(open_layout(region, self._canvas), _SPLICED)
            canvas.open_to(self._codec.closing[0])
            yield Hole(_SPLICED, canvas.block, canvas.places)
            if not (yield from self._denoised([canvas])):
                return []
            steps, seconds = steps + canvas.sampler.steps, seconds + canvas.seconds
            converged = converged and canvas.sampler.converged
            written += canvas.filled[0]
            if anchor.found(written):
                break
            self._encode(canvas.filled[0])
        with self._recorder.timed():
            self._session.rewind(group.prompt)
        text, tokens = anchor.cut(written)
        return [self._judged(group, _SPLICED, (text,), (tokens,), 0.0, steps, seconds, converged, "splice")]

    # judging

    def _outcome(self, group: _Group, canvas: HoleCanvas, filled: tuple[tuple[int, ...], ...]) -> Outcome:
        written = replacements(group.passage, filled, self._codec.spell)
        sampler = canvas.sampler
        return self._judged(
            group, canvas.candidate, written, filled, canvas.doubt,
            sampler.steps, canvas.seconds, sampler.converged, "pinned",
        )  # fmt: skip

    def _judged(
        self,
        group: _Group,
        candidate: int,
        written: tuple[str, ...],
        filled: Sequence[Sequence[int]],
        doubt: float,
        steps: int,
        seconds: float,
        converged: bool,
        method: Literal["pinned", "splice"],
    ) -> Outcome:
        passage = group.passage
        keep = kept_before(passage, self._canvas)
        closing = self._codec.closing[0] if passage.whole_after else None

        def read(tokens: Sequence[Sequence[int]]) -> ranking.Reading:
            return ranking.read(self._session.score, passage, tokens, keep, closing)

        reading = read(filled)
        empty = read([() for _ in passage.openings])
        before = read([passage.ids[opening.first : opening.last] for opening in passage.openings])
        twice = said_twice(passage, written)
        seam = reading.behind - empty.behind
        score = ranking.score(reading, twice, doubt)
        joins = not twice and reading.near >= min(before.near, empty.near) - ranking.GATE
        texts = tuple(fitted(text, group.text) for text in written)
        tokens = sum(map(len, filled))
        return Outcome(
            candidate, texts, joins, score, seam, reading.fluency, tokens, steps, seconds, method, converged
        )  # fmt: skip
