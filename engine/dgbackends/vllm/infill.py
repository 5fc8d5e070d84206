"""Rewriting in place through a server: a seeded canvas with both sides pinned, one request for each candidate.

What the embedded engine does and a server cannot: try many lengths for one step, forbid control tokens in a hole, and
read a candidate with the encoder to rank it. Instead, a few lengths are tried to their end, a candidate whose hole
holds the end of the answer is given up, and candidates are ranked by what the server itself would have put at the
pinned places next to the hole: pinned ids are held while the canvas is denoised, but are not forced into what is
emitted. They are put back here, and only the holes are taken from the canvas.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from dgbackends.errors import ServerError, ServerRefusedError
from dgbackends.vllm.chunks import chunk_of
from dgbackends.vllm.link import Began, Wait
from dgbackends.vllm.session import waiting
from dgbackends.vllm.tally import Tally
from dgbackends.vllm.tokens import MARK
from dgengine.control import Control
from dgengine.errors import InfillError
from dgengine.events import Block, Candidate, Done, Event, Hole, Notice, Prefill
from dgengine.infill.layout import Layout, kept_before, lay_out, most_open, remaining, replacements
from dgengine.infill.passage import Passage, cut_out
from dgengine.infill.prompt import marked, only_marked, prompt
from dgengine.infill.request import InfillRequest, Range, fitted, splice
from dgengine.infill.seams import said_twice
from dgengine.infill.splicing import Anchor
from dgengine.sampling import Sampling

if TYPE_CHECKING:
    from dgbackends.vllm.engine import ServerEngine
    from dgbackends.vllm.tokens import Tokens

_STRETCHES: Final = (1.0, 0.75, 1.25, 1.5, 0.5, 2.0)  # lengths of a rewrite, by that of what stands there
_INSERTED: Final = (8, 16, 32, 64)  # tokens of an insertion
_NEAR: Final = 6  # pinned places on each side of a hole that tell how well it joins
_AGREES: Final = 0.5  # the share of them at which a candidate joins
_BUDGET: Final = 16  # canvases that prompt, text and canvas may come to
_SPLICED_CANVASES: Final = 2  # that a free rewrite may take beyond the length of what it replaces
_SPLICED: Final = -1
_SEED_NOTE: Final = (
    "A vLLM server draws its own random numbers: the seed settles what the canvas begins with, and no more."
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A rewrite of some spans."""

    candidate: int
    replacements: tuple[str, ...]
    joins: bool
    score: float
    tokens: int
    seconds: float
    method: Literal["pinned", "splice"]

    def then(self, other: _Outcome) -> _Outcome:
        """This one, and a rewrite of the spans after it."""
        return _Outcome(
            self.candidate, self.replacements + other.replacements, self.joins and other.joins,
            (self.score + other.score) / 2, self.tokens + other.tokens, self.seconds + other.seconds,
            "splice" if "splice" in (self.method, other.method) else "pinned",
        )  # fmt: skip


class _Codec:
    """A server's vocabulary as the parts of an infill need it."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def tokens(self, text: str) -> list[int]:
        """Raw text to ids, without control tokens."""
        return self._tokens.tokens(text)

    def spell(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of ids. Where those of one are not known, the server is asked what all read, and the first has it.

        Joined, they are right: a character may lie across two ids.
        """
        plain = [token for token in ids if not self._tokens.is_control(token)]
        if not plain or self._tokens.knows(plain):
            return self._tokens.spell(ids)
        text = self._tokens.read(plain)
        if text is None:
            return self._tokens.spell(ids)
        return [text.encode("utf-8", "replace"), *[b""] * (len(ids) - 1)]


class ServerInfill:
    """One call of `ServerSession.infill`."""

    def __init__(self, engine: ServerEngine, request: InfillRequest, sampling: Sampling, control: Control) -> None:
        assert engine.tokens.closing is not None  # the engine has said that it can
        self._engine, self._request, self._control = engine, request, control
        self._steps = sampling.max_denoising_steps
        self._seed = sampling.resolve().seed
        self._seeded_by_user = sampling.seed is not None
        self._random = random.Random(self._seed)
        self._codec = _Codec(engine.tokens)
        self._closing = engine.tokens.closing
        self._canvas = engine.info.canvas_length
        self._tally = Tally(0, self._seed)
        self._candidates = self._blocks = 0
        control.begin(self._canvas, engine.vocab_size)

    def events(self) -> Generator[Event, None, None]:
        """The events, in the order of `dgengine.events`; without steps."""
        if self._seeded_by_user:
            yield Notice(_SEED_NOTE, "seed", 1)
        try:
            outcomes = yield from self._rewritten_all()
        except ServerRefusedError as error:
            said = f': "{error.words}"' if error.words else ""
            raise InfillError(f"The server refused to rewrite in place{said}.") from error
        outcomes = [] if self._control.cancelled else outcomes
        for rank, outcome in enumerate(outcomes, 1):
            yield self._reported(outcome, rank)
        yield Done("cancelled" if self._control.cancelled else "eos", self._tally.stats())

    def _reported(self, outcome: _Outcome, rank: int) -> Candidate:
        request = self._request
        texts = tuple(fitted(text, request.text) for text in outcome.replacements)
        return Candidate(
            outcome.candidate, rank, texts, splice(request.text, request.spans, texts), outcome.joins, outcome.score,
            math.nan, math.nan, outcome.tokens, 0, outcome.seconds, outcome.method, True,
        )  # fmt: skip

    # ---- which spans, with how much around them

    def _rewritten_all(self) -> Generator[Event, None, list[_Outcome]]:
        """All spans on one canvas, if they fit; else one by one, each in the text that the ones before have become."""
        request, numbers = self._request, tuple(range(len(self._request.spans)))
        passage = self._cut(request.text, request.spans, numbers, request.keep)
        if len(numbers) == 1 or (self._fits(passage) and request.method != "splice"):
            return (yield from self._rewritten(request.text, passage, request.candidates))
        whole: _Outcome | None = None
        for number in numbers:
            done = whole.replacements if whole is not None else ()
            text = splice(request.text, request.spans[:number], done)
            shift = len(text) - len(request.text)
            spans = [(start + shift, stop + shift) for start, stop in request.spans[number : number + 1]]
            keep = [(start + shift, stop + shift) for start, stop in request.keep if start >= request.spans[number][0]]
            found = yield from self._rewritten(text, self._cut(text, spans, (number,), keep), 1)
            if not found:
                return []
            whole = whole.then(found[0]) if whole is not None else found[0]
        return [whole] if whole is not None else []

    def _cut(self, text: str, spans: Sequence[Range], numbers: Sequence[int], keep: Sequence[Range]) -> Passage:
        inside = [r for r in keep if any(start <= r[0] and r[1] <= stop for start, stop in spans)]
        passage = cut_out(self._codec, text, spans, inside, numbers, self._room(text, spans))
        if not passage.openings:
            raise InfillError("All of the span is to be kept: there is nothing left to rewrite.")
        return passage

    def _room(self, text: str, spans: Sequence[Range]) -> tuple[int, int]:
        """The most tokens of the document before the spans, and behind them: those before are read twice."""
        limit = min(self._engine.info.context_length, _BUDGET * self._canvas)
        head = len(self._codec.tokens(prompt("", self._request.instruction)))
        room = limit - head - 3 * len(self._codec.tokens(text[spans[0][0] : spans[-1][1]])) - 2 * self._canvas
        least = self._canvas // 2
        return max(least, room * 3 // 8), max(least, room // 4)

    def _fits(self, passage: Passage) -> bool:
        wanted = sum(max(opening.length, _INSERTED[0]) for opening in passage.openings)
        return wanted <= most_open(passage, self._canvas)

    def _prompt(self, passage: Passage) -> list[int]:
        """The tokens up to where the canvas begins: the chat, and of the model's turn what stands before the hole."""
        shown = marked(passage.text, passage.spans)
        if not self._request.show_sides:
            shown = only_marked(passage.text, passage.spans)
        before = passage.before[: len(passage.before) - kept_before(passage, self._canvas)]
        ids = [*self._turn(prompt(shown, self._request.instruction)), *before]
        context = self._engine.info.context_length
        if len(ids) + 2 * self._canvas > context:
            raise InfillError(
                f"The span is too long: with the text around it, it exceeds the model's context of {context:,} tokens. "
                "Select less."
            )
        return ids

    def _turn(self, text: str) -> list[int]:
        """A user's turn in the server's template; what looks like a control token in the text is none."""
        tokens = self._engine.tokens
        turn = tokens.chat([{"role": "user", "content": MARK}])
        mark = tokens.encode(MARK)
        for place in range(len(turn) - len(mark) + 1):
            if turn[place : place + len(mark)] == mark:
                return [*turn[:place], *tokens.tokens(text), *turn[place + len(mark) :]]
        return tokens.chat([{"role": "user", "content": text}])  # a template that changes what it is given

    # ---- rewriting

    def _rewritten(self, text: str, passage: Passage, count: int) -> Generator[Event, None, list[_Outcome]]:
        """The best `count` different rewrites of the spans of a passage."""
        ids = self._prompt(passage)
        self._tally.prompt += len(ids)
        yield Prefill(0, len(ids))
        yield Prefill(len(ids), len(ids))
        method, outcomes = self._request.method, list[_Outcome]()
        alone = len(passage.openings) == len(passage.regions) == 1
        longest = max(opening.length for opening in passage.openings)
        if method != "splice" and (self._fits(passage) or not alone or longest <= most_open(passage, self._canvas)):
            outcomes = yield from self._pinned(passage, ids, count)
        elif method == "pinned":
            raise InfillError("The span is longer than the server's canvas: select less, or let it be spliced.")
        if method != "pinned" and alone and not any(o.joins for o in outcomes) and not self._control.cancelled:
            outcomes += yield from self._spliced(passage, ids)
        return _best(outcomes, passage, count)

    def _lengths(self, passage: Passage, count: int) -> list[tuple[int, ...]]:
        """The lengths of each candidate's holes, the likeliest first."""
        present = [opening.length for opening in passage.openings]
        most, wanted = most_open(passage, self._canvas), self._request.length
        if most < len(present):
            raise InfillError("The spans lie too far apart for one canvas: rewrite them one by one.")
        if wanted != "search":
            each = [wanted if isinstance(wanted, int) else length or _INSERTED[1] for length in present]
            if sum(each) > most:
                raise InfillError(f"The server's canvas has room for {most:,} tokens there, not for {sum(each):,}.")
            return [tuple(each)] * count
        tried = [
            tuple(_length(length, choice) for length in present) for choice in range(len(_STRETCHES))
        ]  # fmt: skip
        different = [lengths for lengths in dict.fromkeys(tried) if sum(lengths) <= most] or [(1,) * len(present)]
        return (different * count)[: max(count, min(len(different), 2 * count))]

    def _pinned(self, passage: Passage, ids: list[int], count: int) -> Generator[Event, None, list[_Outcome]]:
        outcomes = []
        for lengths in self._lengths(passage, count):
            if self._control.cancelled:
                break
            layout = lay_out(passage, lengths, self._canvas, self._closing)
            found = yield from self._candidate(passage, ids, layout)
            outcomes += [found] if found is not None else []
        return outcomes

    def _candidate(self, passage: Passage, ids: list[int], layout: Layout) -> Generator[Event, None, _Outcome | None]:
        """One canvas; None where the server ended it before the hole was full, or it was cancelled."""
        candidate, self._candidates = self._candidates, self._candidates + 1
        self._blocks += 1
        block = self._blocks
        yield Hole(candidate, block, tuple((opening.span, first, last) for opening, first, last in layout.holes))
        held = {p: t for p, t in self._control.pins(block).items() if p not in layout.pins}
        pins = {**layout.pins, **held}
        before = self._tally.seconds
        emitted = yield from self._emitted(ids, self._canvas, self._seeded(passage, layout, pins))
        written = emitted[: self._canvas]
        if self._control.cancelled or len(written) < layout.holes[-1][2]:
            return None
        agreement = _agreement(written, layout)
        written = [pins.get(place, token) for place, token in enumerate(written)]
        yield Block(block, np.array(written, np.int32), steps=0, converged=True, candidate=candidate)
        filled = [tuple(written[first:last]) for _, first, last in layout.holes]
        texts = replacements(passage, filled, self._codec.spell)
        self._tally.tokens[block] = sum(map(len, filled))
        return self._judged(
            passage, candidate, texts, agreement, self._tally.tokens[block], self._tally.seconds - before, "pinned",
            fits=self._keeps_edges(layout, filled),
        )  # fmt: skip

    def _seeded(self, passage: Passage, layout: Layout, pins: Mapping[int, int]) -> dict[str, Any]:
        """The canvas to begin with: pins, noise, and of what stands in the holes what a weak rewrite keeps."""
        canvas = [self._random.randrange(self._engine.vocab_size) for _ in range(self._canvas)]
        for opening, first, last in layout.holes:
            present = passage.ids[opening.first : opening.last]
            for place, token in remaining(present, last - first, self._request.strength, self._shuffled).items():
                canvas[first + place] = token
        for place, token in pins.items():
            canvas[place] = token
        return {"diffusion_seed_canvas": canvas, "diffusion_pinned": sorted(pins)}

    def _shuffled(self, count: int) -> list[int]:
        return self._random.sample(range(count), count)

    def _emitted(self, ids: list[int], most: int, xargs: dict[str, Any]) -> Generator[Event, None, list[int]]:
        """The tokens of one request; waits of a busy server are told."""
        if self._steps is not None:
            xargs["diffusion_max_steps"] = self._steps
        body: dict[str, Any] = {
            "model": self._engine.model, "prompt": ids, "max_tokens": most, "stream": True, "return_token_ids": True,
        }  # fmt: skip
        body |= {"vllm_xargs": xargs} if xargs else {}
        server, emitted = self._engine.link.server, list[int]()
        for item in self._tally.timed(self._engine.link.stream("/v1/completions", body, self._control)):
            match item:
                case Wait(seconds):
                    yield waiting(seconds)
                case Began():
                    pass
                case _:
                    chunk = chunk_of(item, server)
                    if chunk.text and not chunk.ids:
                        raise ServerError(
                            f"The server {server.url} tells no token ids of what it writes: it cannot rewrite in place."
                        )
                    self._engine.tokens.learn(chunk.ids, chunk.text)
                    emitted += chunk.ids
        return emitted

    def _spliced(self, passage: Passage, ids: list[int]) -> Generator[Event, None, list[_Outcome]]:
        """The same prompt, answered freely; cut where the text behind the span begins."""
        region = passage.regions[0]
        kept = passage.before[len(passage.before) - kept_before(passage, self._canvas) :]
        most = min(
            region.length + _SPLICED_CANVASES * self._canvas, self._engine.info.context_length - len(ids) - len(kept)
        )
        before = self._tally.seconds
        written = yield from self._emitted([*ids, *kept], most, {})
        if self._control.cancelled:
            return []
        anchor = Anchor(self._codec, passage, self._closing[0])
        text, tokens = anchor.cut(written)
        agreement = 1.0 if anchor.found(written) else 0.0  # where the rest does not come, the cut is a guess
        seconds = self._tally.seconds - before
        return [self._judged(passage, _SPLICED, (text,), agreement, len(tokens), seconds, "splice")]

    # ---- judging

    def _keeps_edges(self, layout: Layout, filled: Sequence[Sequence[int]]) -> bool:
        """Whether what was written begins and ends with the bytes of its tokens that lie outside the span."""
        for (opening, _, _), ids in zip(layout.holes, filled, strict=True):
            written = b"".join(self._codec.spell(ids))
            if not (written.startswith(opening.head) and written.endswith(opening.tail)):
                return False
        return True

    def _judged(
        self,
        passage: Passage,
        candidate: int,
        texts: tuple[str, ...],
        agreement: float,
        tokens: int,
        seconds: float,
        method: Literal["pinned", "splice"],
        fits: bool = True,
    ) -> _Outcome:
        twice = said_twice(passage, texts)
        joins = fits and not twice and agreement >= _AGREES
        return _Outcome(candidate, texts, joins, agreement - twice - (not fits), tokens, seconds, method)


def _length(present: int, choice: int) -> int:
    if present:
        return max(1, round(_STRETCHES[choice] * present))
    return _INSERTED[min(choice, len(_INSERTED) - 1)]


def _agreement(emitted: Sequence[int], layout: Layout) -> float:
    """The share of the pinned places next to the holes where the server would have put the same token."""
    near = {
        place
        for _, first, last in layout.holes
        for place in (*range(first - _NEAR, first), *range(last, last + _NEAR))
        if place in layout.pins
    }
    if not near:
        return 1.0
    same = [place for place in near if place < len(emitted) and emitted[place] == layout.pins[place]]
    return len(same) / len(near)


def _best(outcomes: Sequence[_Outcome], passage: Passage, count: int) -> list[_Outcome]:
    """The best different ones, those that join first; the text as it was only for want of another."""
    present = tuple(passage.text[start:stop] for start, stop in passage.spans)
    different: dict[tuple[str, ...], _Outcome] = {}
    for outcome in sorted(outcomes, key=lambda o: (not o.joins, -o.score)):
        different.setdefault(outcome.replacements, outcome)
    if len(different) > 1:
        different.pop(present, None)
    return list(different.values())[:count]
