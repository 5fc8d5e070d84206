"""Quality of infill on held-out passages: `PYTHONPATH=engine python -m bench.infill_eval`.

A word, a phrase, or a sentence (a line of code) is taken out of a passage that training never saw, and written anew.
Every way to write it sees the same holes. The table goes to stderr, the JSON to stdout.

    valid     the checker of the passage's task accepts the whole text (of a story only what is left of the prompt's
              wishes outside the hole is asked for)
    seams     holes at one of whose edges two words meet that never do in 40,000 texts of the training's grammar
              (names and numbers count as one word each), or a word is said twice
    exact     closed holes alone, which one filling fits: names, sums, numbers in code
    suffix    by how much the new words make what follows likelier than nothing in their place, in nats a token
    outside   holes after which any byte outside the span differs
    steps, s  denoising steps of the chosen candidate; seconds for the whole request

Ways: pinned (both sides on the canvas), splice (written freely from the same prompt, cut where the text behind the span
begins), ladder (pinned, and splice where no pinned candidate joins), each with the length known and searched.
Ablations of pinned: without the sides in the prompt; with no self-conditioning at pinned places, instead of one-hot.

`--model` takes any model: on another than the built-in one `valid` and `exact` measure how well it keeps to this small
world, and `suffix` and `seams` are the telling columns. `--device cuda` for a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dgengine import Candidate, Engine, InfillRequest, Sampling
from pocket import closed_holes
from pocket.corpus import TASKS, Turn
from pocket.corpus.world import NAMES

PASSAGES = ("story", "story", "story", "code", "animal", "list")
KINDS = ("word", "phrase", "sentence")
SEEN_TEXTS = 40_000
CLOSED = ("name", "sum", "difference", "code")  # the guide was learnt by heart, so it shows nothing here
CLOSED_SHARE = 4  # every so many-th hole is a closed one
_WORD = re.compile(r"\n|\w+|[^\w\s]+")
_SENTENCE = re.compile(r'[^.!?]+[.!?]+"?')
_NAMES = frozenset(name.lower() for name in NAMES)

Way = tuple[str, dict[str, Any], bool]
"""Name, fields of the request, and whether pinned places have self-conditioning."""

WAYS: tuple[Way, ...] = (
    ("pinned, length known", {"method": "pinned", "length": "same"}, True),
    ("splice, length known", {"method": "splice", "length": "same"}, True),
    ("ladder, length known", {"method": "ladder", "length": "same"}, True),
    ("pinned, searched", {"method": "pinned", "length": "search"}, True),
    ("ladder, searched", {"method": "ladder", "length": "search"}, True),
    ("pinned, known, sides not in the prompt", {"method": "pinned", "length": "same", "show_sides": False}, True),
    ("pinned, known, no conditioning at pins", {"method": "pinned", "length": "same"}, False),
)


@dataclass(frozen=True)
class Hole:
    """A passage, the span to write anew, what stands in its place in the prompt, and the turn that judges it."""

    kind: str
    text: str
    start: int
    stop: int
    old: str
    turn: Turn | None

    @property
    def request(self) -> tuple[str, tuple[int, int]]:
        """The document with the old words in the span, and where they stand."""
        text = self.text[: self.start] + self.old + self.text[self.stop :]
        return text, (self.start, self.start + len(self.old))


@dataclass(frozen=True)
class Filled:
    """What one way made of one hole."""

    kind: str
    way: str
    inside: str
    valid: bool | None
    reason: str | None
    broken: bool
    exact: bool | None
    suffix: float
    outside: bool
    joins: bool
    steps: int
    seconds: float


class Seen:
    """Which words follow which in the grammar that the model was trained on."""

    def __init__(self, count: int, seed: int) -> None:
        rng = random.Random(seed)
        self._pairs: set[tuple[str, str]] = set()
        names = [*dict.fromkeys(PASSAGES), "sum", "difference"]
        for number in range(count):
            words = words_of(TASKS[names[number % len(names)]].sample(rng, False).answer)
            self._pairs.update(itertools.pairwise(words))

    def broken(self, before: str, inside: str, after: str) -> bool:
        """Whether a pair of words across an edge was never seen, or one is said twice."""
        left, middle, right = words_of(before), words_of(inside), words_of(after)
        edges = [(left, middle), (middle, right)] if middle else [(left, right)]
        pairs = [(a[-1], b[0]) for a, b in edges if a and b]
        glued = any(a and b and a[-1].isalnum() and b[0].isalnum() for a, b in _edges(before, inside, after))
        return glued or any(pair not in self._pairs for pair in pairs)


def _edges(before: str, inside: str, after: str) -> list[tuple[str, str]]:
    return [(before, inside), (inside, after)] if inside else [(before, after)]


def words_of(text: str) -> list[str]:
    """Words, marks and line ends; names and numbers each as one word."""
    words = [word.lower() for word in _WORD.findall(text)]
    return ["NAME" if word in _NAMES else "0" if word.isdigit() else word for word in words]


def draw(rng: random.Random, number: int) -> Hole | None:
    """A held-out hole of the `number`-th kind, or None where the passage has no such place."""
    if number % CLOSED_SHARE == 0:
        return _closed(rng, number // CLOSED_SHARE)
    kind = KINDS[number % len(KINDS)]
    turn = TASKS[PASSAGES[rng.randrange(len(PASSAGES))]].sample(rng, True)
    if turn.task == "story" and turn.facts["unlike"]:
        return None
    span = _span(rng, turn.answer, kind)
    if span is None:
        return None
    start, stop = span
    # An old span of other words: the prompt must not give the answer away.
    old = "" if rng.random() < 0.5 else _other(rng, turn.task, kind)
    return Hole(f"{turn.task} {kind}", turn.answer, start, stop, old, _wishes(turn, start, stop))


def _span(rng: random.Random, text: str, kind: str) -> tuple[int, int] | None:
    if kind == "sentence":
        pattern = r"(?<=\n)[^\n`]+(?=\n)" if "\n" in text else _SENTENCE
        places = [match.span() for match in re.finditer(pattern, text)]
        places = [(start + (text[start] == " "), stop) for start, stop in places]
    else:
        words = [match.span() for match in re.finditer(r"[^\s`]+", text)]
        count = 1 if kind == "word" else min(rng.randint(2, 5), len(words) - 1)
        places = [(words[i][0], words[i + count - 1][1]) for i in range(len(words) - count + 1)]
        places = [(start, stop - 1 if text[stop - 1] in '.,!?"' else stop) for start, stop in places]
    places = [(start, stop) for start, stop in places if start < stop and (start or kind == "sentence")]
    return rng.choice(places) if len(places) > 1 else None


def _other(rng: random.Random, task: str, kind: str) -> str:
    while True:
        text = TASKS[task].sample(rng, False).answer
        span = _span(rng, text, kind)
        if span is not None:
            return text[slice(*span)]


def _wishes(turn: Turn, start: int, stop: int) -> Turn:
    """The turn without what only the removed words fulfilled: an infill is not told the prompt of the story."""
    if turn.task != "story":
        return turn
    rest = turn.answer[:start] + turn.answer[stop:]
    words = re.findall(r"\w+", rest.lower())
    asked = [word for word in turn.facts["asked"] if word.lower() in words]
    name = turn.facts["asked_name"]
    return replace(turn, facts=turn.facts | {"asked": asked, "asked_name": name if name and name in rest else ""})


def _closed(rng: random.Random, number: int) -> Hole | None:
    family = CLOSED[number % len(CLOSED)]
    task, make = closed_holes.FAMILIES[family]
    hole = make(rng, TASKS[task].sample(rng, True))
    if hole is None:
        return None
    text = hole.before + hole.inside + hole.after
    start = len(hole.before)
    return Hole(f"closed {family}", text, start, start + len(hole.inside), hole.old, None)


def holes(count: int, seed: int) -> list[Hole]:
    """`count` different held-out holes."""
    rng = random.Random(seed)
    found: dict[tuple[str, int, int], Hole] = {}
    while len(found) < count:
        hole = draw(rng, len(found))
        if hole is not None:
            found.setdefault((hole.text, hole.start, hole.stop), hole)
    return list(found.values())


def fill(engine: Engine, hole: Hole, way: Way, seed: int, seen: Seen) -> Filled:
    """What a way makes of a hole."""
    name, fields, _ = way
    text, span = hole.request
    length = fields["length"]
    if length == "same":  # the number of tokens of the right words: what "known" means
        length = max(1, _tokens_of(engine, hole))
    request = InfillRequest(text, (span,), **{**fields, "length": length, "candidates": 3})
    start = time.perf_counter()
    found = [event for event in engine.session().infill(request, Sampling(seed=seed)) if isinstance(event, Candidate)]
    seconds = time.perf_counter() - start
    best = found[0]
    before, after = hole.text[: hole.start], hole.text[hole.stop :]
    inside = best.replacements[0]
    reason = None if hole.turn is None else TASKS[hole.turn.task].check(hole.turn, (before + inside + after).strip())
    return Filled(
        kind=hole.kind,
        way=name,
        inside=inside,
        valid=None if hole.turn is None else reason is None,
        reason=reason,
        broken=seen.broken(before, inside, after),
        exact=inside == hole.text[hole.start : hole.stop] if hole.turn is None else None,
        suffix=best.seam,
        outside=best.text.encode() != before.encode() + inside.encode() + after.encode(),
        joins=best.joins,
        steps=best.steps,
        seconds=seconds,
    )


def _tokens_of(engine: Engine, hole: Hole) -> int:
    """Tokens of the right words between the edges that the hole has."""
    from dgengine.infill.passage import cut_out

    text, span = hole.request
    (opening,) = cut_out(engine.tokenizer, text, [span], [], [0], (10_000, 10_000)).openings
    inside = hole.text[hole.start : hole.stop].encode()
    return len(engine.tokenizer.tokens((opening.head + inside + opening.tail).decode("utf-8", "ignore")))


@contextlib.contextmanager
def conditioning(engine: Engine, at_pins: bool) -> Iterator[None]:
    """While it lasts, self-conditioning is left out wherever it is one-hot, unless `at_pins`."""
    signal: Callable[..., torch.Tensor] = engine.model._conditioning_signal

    def without(weights: Any, logits: torch.Tensor) -> torch.Tensor:
        pinned = (logits.reshape(-1, logits.shape[-1]) == float("-inf")).any(-1, keepdim=True)
        return signal(weights, logits).masked_fill(pinned, 0.0)

    if not at_pins:
        engine.model._conditioning_signal = without
    try:
        yield
    finally:
        engine.model._conditioning_signal = signal


def share(values: list[bool]) -> str:
    return f"{100 * sum(values) / len(values):.1f}" if values else "-"


def mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def row(name: str, filled: list[Filled]) -> str:
    valid = [item.valid for item in filled if item.valid is not None]
    exact = [item.exact for item in filled if item.exact is not None]
    return (
        f"{name:<40}{len(filled):>5}{share(valid):>8}{share([item.broken for item in filled]):>8}{share(exact):>8}"
        f"{mean([item.suffix for item in filled]):>8.2f}{sum(item.outside for item in filled):>9}"
        f"{mean([float(item.steps) for item in filled]):>7.1f}{mean([item.seconds for item in filled]):>7.2f}"
    )


def report(results: dict[str, list[Filled]], show: int) -> str:
    lines = [
        f"{'':<40}{'n':>5}{'valid %':>8}{'seams %':>8}{'exact %':>8}{'suffix':>8}{'outside':>9}{'steps':>7}{'s':>7}"
    ]
    lines += [row(name, filled) for name, filled in results.items()]
    for name, filled in list(results.items())[:1] + [item for item in results.items() if item[0] == "pinned, searched"]:
        lines += ["", f"by kind, {name}"]
        lines += [row(kind, [i for i in filled if i.kind == kind]) for kind in sorted({i.kind for i in filled})]
        wrong = [i for i in filled if i.valid is False or i.exact is False or i.broken][:show]
        lines += [f"  [{i.kind}: {i.reason or ('seam' if i.broken else 'not exact')}] {i.inside!r}" for i in wrong]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.infill_eval")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--passages", type=int, default=320)
    parser.add_argument("--seed", type=int, default=4000)
    parser.add_argument("--only", default="", metavar="TEXT", help="only the ways with this in their names")
    parser.add_argument("--show", type=int, default=0, help="print so many of the wrong ones")
    parser.add_argument("--json", type=Path, help="write every filled hole to this file, not to stdout")
    options = parser.parse_args()
    engine = Engine.load(options.model, options.device, options.precision)
    seen = Seen(SEEN_TEXTS, options.seed + 1)
    drawn = holes(options.passages, options.seed)
    results: dict[str, list[Filled]] = {}
    for way in [way for way in WAYS if options.only in way[0]]:
        with conditioning(engine, way[2]):
            results[way[0]] = [fill(engine, hole, way, options.seed + n, seen) for n, hole in enumerate(drawn)]
        print(row(way[0], results[way[0]]), file=sys.stderr, flush=True)
    print("\n" + report(results, options.show), file=sys.stderr)
    text = json.dumps({name: [asdict(item) for item in filled] for name, filled in results.items()}, indent=1) + "\n"
    if options.json:
        options.json.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
