"""Samples of the infill task: a marked passage in the prompt, the hole on the canvas, both sides clean around it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from dgengine.infill.prompt import marked
from dgengine.infill.prompt import prompt as infill_prompt
from pocket.conversations import Canvas, Sample, draw_turn
from pocket.tokenizer import BOS, EOS, TURN_END, ChatTokenizer

TASKS = ("story", "story", "story", "animal", "list", "code", "sum", "sort_words", "dgchat", "thing")
BRIEF_TASKS = ("sum", "sum", "difference", "difference", "sort_numbers", "count", "compare")
OLD_SAME, OLD_OTHER = 0.15, 0.5  # how often the marks hold the right words, or those of another text; else nothing
NO_PROMPT = 0.2  # pins alone, behind an ordinary prompt
STOP_SHARE = 0.5  # how often the full stop or comma behind the last word stays outside the hole
WORD = re.compile(r"\s*\S+")
STOPS = ".,!?"
LEAST_CLEAN = 16  # tokens of a canvas that are no hole


@dataclass(frozen=True)
class Hole:
    """A text cut in three, and what stands between the marks of the prompt."""

    before: str
    inside: str
    after: str
    old: str


def cut(rng: random.Random, text: str, most: int = 14) -> tuple[str, str, str]:
    """Three parts of a text; the middle one is 1 to `most` whole words, with or without the stop behind the last."""
    words = [(match.start(), match.end()) for match in WORD.finditer(text)]
    first = rng.randrange(len(words))
    last = min(len(words), first + rng.randint(1, most)) - 1
    start, end = words[first][0], words[last][1]
    if text[end - 1] in STOPS and text[start : end - 1].strip() and rng.random() < STOP_SHARE:
        end -= 1
    return text[:start], text[start:end], text[end:]


def draw_hole(rng: random.Random, text: str, other: str) -> Hole:
    """A hole in `text`; the old words are at times those of `other`, at times missing."""
    before, inside, after = cut(rng, text)
    kind = rng.random()
    if kind < OLD_SAME:
        old = inside
    elif kind < OLD_SAME + OLD_OTHER:
        old = cut(rng, other)[1]
    else:
        old = ""
    return Hole(before, inside, after, old)


def prompt_of(hole: Hole, instruction: str = "none") -> str:
    """The user's turn of an infill: one template for training and for the engine."""
    start = len(hole.before)
    text = hole.before + hole.old + hole.after
    return infill_prompt(marked(text, [(start, start + len(hole.old))]), instruction)


def place(rng: random.Random, opening: int, parts: tuple[list[int], list[int], list[int]], length: int) -> Canvas:
    """The canvas over a hole: some pinned tokens before it, the hole, as much behind it as fits."""
    before, inside, after = parts
    keep = min(len(before), rng.randint(8, 16), max(0, length - len(inside) - 8))
    content = (before[len(before) - keep :] + inside + after)[:length]
    free = [keep <= at < keep + len(inside) for at in range(length)]
    return Canvas(opening + len(before) - keep, content + [EOS] * (length - len(content)), free)


def draw_infill(rng: random.Random, tokenizer: ChatTokenizer, length: int, tasks: tuple[str, ...] = TASKS) -> Sample:
    """One conversation of one turn whose answer is the text itself, and the canvas over its hole."""
    from pocket.corpus import TASKS as CORPUS

    while True:
        task = CORPUS[rng.choice(tasks)]
        turn, other = task.sample(rng, False), task.sample(rng, False)
        hole = draw_hole(rng, turn.answer, other.answer)
        before, inside, after = (tokenizer.encode(part) for part in (hole.before, hole.inside, hole.after))
        if len(inside) <= length - LEAST_CLEAN:
            break
    asked = turn.prompt if rng.random() < NO_PROMPT else prompt_of(hole)
    head = [BOS, *tokenizer.turn("user", asked), *tokenizer.opening()]
    parts = (before, inside, [*after, TURN_END])
    canvas = place(rng, len(head), parts, length)
    return Sample(head + before + inside + parts[2], [canvas])


def draw_passage(rng: random.Random) -> str:
    """A text of the corpus, for the evaluation."""
    return draw_turn(rng, held_out=True).answer
