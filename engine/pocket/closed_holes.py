"""Held-out passages with a hole that only one filling fits: what infill exactness is measured on."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from pocket.corpus import TASKS, Turn
from pocket.corpus.world import NAMES
from pocket.infill import Hole

NAME = re.compile(r"\b(" + "|".join(sorted(NAMES)) + r")\b")
OTHER_SHARE = 0.5  # of the prompts mark a wrong word of the same kind; the others mark nothing


@dataclass(frozen=True)
class ClosedHole:
    """A hole, and the family that it belongs to ("name", "sum", "code", "guide")."""

    family: str
    hole: Hole


def _hole(rng: random.Random, text: str, span: tuple[int, int], other: str) -> Hole:
    start, end = span
    if start and text[start - 1] == " ":
        start, other = start - 1, " " + other
    old = other if rng.random() < OTHER_SHARE else ""
    return Hole(text[:start], text[start:end], text[end:], old)


def name_hole(rng: random.Random, turn: Turn) -> Hole | None:
    """A name of a story that stands elsewhere in it too, in a sentence where only that one fits."""
    places = list(NAME.finditer(turn.answer))
    names = [match.group() for match in places]
    # "..., said Pearl" could be either; the hero finds the thing, so the second mention of the hero is closed.
    hero = next((match for match in places[1:] if match.group() == names[0]), None)
    if hero is None:
        return None
    return _hole(rng, turn.answer, hero.span(), rng.choice(sorted(NAMES)))


def sum_hole(rng: random.Random, turn: Turn) -> Hole | None:
    """The result of a sum."""
    match = re.search(r"= (\d+)", turn.answer)
    return _hole(rng, turn.answer, match.span(1), str(rng.randrange(100))) if match else None


def code_hole(rng: random.Random, turn: Turn) -> Hole | None:
    """The number in a function's body that its name holds already."""
    match = re.search(r"def \w+_(\d+)\(.*?\b(\1)\b", turn.answer, re.DOTALL)
    return _hole(rng, turn.answer, match.span(2), str(rng.randrange(2, 100))) if match else None


def guide_hole(rng: random.Random, turn: Turn) -> Hole | None:
    """One to three words inside an answer of the guide."""
    words = list(re.finditer(r"\S+", turn.answer))
    first = rng.randrange(2, len(words) - 4)
    last = first + rng.randrange(3)
    return _hole(rng, turn.answer, (words[first].start(), words[last].end()), "word")


FAMILIES = {
    "name": ("story", name_hole),
    "sum": ("sum", sum_hole),
    "difference": ("difference", sum_hole),
    "code": ("code", code_hole),
    "guide": ("dgchat", guide_hole),
}


def draw(rng: random.Random, count: int) -> list[ClosedHole]:
    """`count` holes, the families in turn."""
    found: list[ClosedHole] = []
    while len(found) < count:
        family = list(FAMILIES)[len(found) % len(FAMILIES)]
        task, make = FAMILIES[family]
        hole = make(rng, TASKS[task].sample(rng, True))
        if hole is not None:
            found.append(ClosedHole(family, hole))
    return found
