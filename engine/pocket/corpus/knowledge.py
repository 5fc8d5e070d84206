"""What dgchat knows about itself: the questions and answers of the guide that `dgchat help` prints."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.phrasing import decapitalise, plain

GUIDE = Path(__file__).resolve().parents[3] / "dgchat" / "guide.toml"


@dataclass(frozen=True)
class Entry:
    """One entry of the guide: an answer and some ways to ask for it."""

    id: str
    answer: str
    questions: tuple[str, ...]


@functools.cache
def entries(path: Path = GUIDE) -> tuple[Entry, ...]:
    """The entries of the guide at `path`, in the file's order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a guide: no entries, or one without an id, an answer or questions.
    """
    guide = tomllib.loads(path.read_text(encoding="ascii"))
    found = []
    for table in guide.get("entry", []):
        questions = tuple(map(plain, table.get("questions", [])))
        entry = Entry(table.get("id", ""), plain(table.get("answer", "")), questions)
        if not (entry.id and entry.answer and entry.questions):
            raise ValueError(f"an entry of {path} lacks an id, an answer or questions: {table}")
        found.append(entry)
    if not found:
        raise ValueError(f"{path} has no entries")
    return tuple(found)


def guide_sha256(path: Path = GUIDE) -> str:
    """The SHA-256 of what is learnt from the guide: each entry's id, answer and questions, in hex."""
    learnt = [[entry.id, entry.answer, list(entry.questions)] for entry in entries(path)]
    return hashlib.sha256(json.dumps(learnt, separators=(",", ":")).encode()).hexdigest()


def bare(question: str) -> str:
    """The question without its closing mark."""
    return question.rstrip(".?! ")


def small(question: str) -> str:
    """The question with a small first letter."""
    return decapitalise(question)


# For all prompts the first ones, for whole questions any.
PLAIN_WAYS = 5
REPHRASINGS: tuple[Callable[[str], str], ...] = (
    lambda question: question,
    lambda question: question,
    lambda question: question.lower(),
    bare,
    lambda question: bare(question).lower(),
    lambda question: f"Please tell me: {small(question)}",
    lambda question: f"Hey, {small(question)}",
    lambda question: f"Hi, {small(question)}",
    lambda question: f"Can you tell me: {small(question)}",
    lambda question: f"Tell me, {small(question)}",
    lambda question: f"{question} Please explain.",
    lambda question: f"I have a question: {small(question)}",
    lambda question: f"And {small(question)}",
    lambda question: f"{bare(question)}, please?",
)


def draw(rng: random.Random, known: Sequence[Entry], held_out: bool) -> tuple[Entry, str]:
    """An entry and one of its questions, rephrased; the combination is held out or not, as asked."""
    while True:
        entry = rng.choice(known)
        question = rng.choice(entry.questions)
        way = rng.randrange(len(REPHRASINGS) if question.endswith("?") else PLAIN_WAYS)
        prompt = REPHRASINGS[way](question)
        if is_held_out("dgchat", prompt) == held_out:
            return entry, prompt


def sample_dgchat(rng: random.Random, held_out: bool) -> Turn:
    entry, prompt = draw(rng, entries(), held_out)
    return Turn("dgchat", prompt, entry.answer, {"id": entry.id})


def check_dgchat(turn: Turn, text: str) -> str | None:
    """Whether the text is the guide's answer, to the letter; white space aside."""
    return None if plain(text) == plain(turn.answer) else f"not the guide's answer on {turn.facts['id']}"


TASKS: list[Task] = [Task("dgchat", 22, sample_dgchat, check_dgchat)]
