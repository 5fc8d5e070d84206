"""What every task of the corpus offers: turns to learn from, and a checker for what the model answers."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HELD_OUT_SHARE = 10  # one combination in ten is never seen in training


@dataclass(frozen=True)
class Turn:
    """One exchange: a prompt, an answer that is right, and what the checker needs to judge another answer.

    Attributes:
        task: Name of the task that made the turn ("story", "sum", ...); `TASKS[turn.task].check` judges it.
        prompt: What the person says.
        answer: A right answer; for open tasks one of many.
        facts: What the checker needs (the asked-for animal, the sum, ...). Read only.
    """

    task: str
    prompt: str
    answer: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A family of turns.

    Attributes:
        name: The task's name, equal to `Turn.task` of its turns.
        weight: Share of training turns, relative to the other tasks.
        sample: (rng, held_out) -> Turn. With `held_out` the combination is one of those that training never
            sees, else never one of those. Tasks without combinations vary their phrasing or topic lists instead.
        check: (turn, text) -> None if `text` is a right answer to `turn.prompt`, else the reason in a few words.
        follow_up: (rng, turn, held_out) -> a turn that refers to the turn before ("make it shorter"), or None.
        open: Whether many answers are right; else the prompt settles what is to be said.
    """

    name: str
    weight: float
    sample: Callable[[random.Random, bool], Turn]
    check: Callable[[Turn, str], str | None]
    follow_up: Callable[[random.Random, Turn, bool], Turn | None] | None = None
    open: bool = False


def is_held_out(*parts: object) -> bool:
    """Whether a combination (animal and thing, two summands, a set of words) is kept from training.

    Stable over runs and Python versions: a checksum of the parts' text decides.
    """
    return zlib.crc32("|".join(map(str, parts)).encode()) % HELD_OUT_SHARE == 0
