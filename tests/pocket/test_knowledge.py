"""What the model learns from the guide: its answers to the letter, its questions in many forms."""

from __future__ import annotations

import random
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from pocket.corpus import knowledge
from pocket.corpus.base import is_held_out
from pocket.corpus.knowledge import GUIDE, TASKS, entries, guide_sha256

DGCHAT = TASKS[0]
SMALL_GUIDE = """
[[entry]]
id = "stop"
section = "chat"
title = "Stopping"
answer = "Press Esc."
questions = ["How do I stop?", "Which key stops it?"]

[[entry]]
id = "quit"
section = "chat"
title = "Leaving"
answer = "Press Ctrl+Q."
questions = ["How do I leave?"]
"""


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="ascii")
    return path


@pytest.mark.parametrize("held_out", [False, True])
def test_answers_are_the_guides_own(held_out: bool) -> None:
    rng, answers = random.Random(1), {entry.id: entry.answer for entry in entries()}
    for _ in range(500):
        turn = DGCHAT.sample(rng, held_out)
        assert turn.answer == answers[turn.facts["id"]]
        assert DGCHAT.check(turn, f" {turn.answer}\n") is None
        assert is_held_out("dgchat", turn.prompt) is held_out


def test_answers_stand_in_the_guide_to_the_letter() -> None:
    tables = tomllib.loads(GUIDE.read_text(encoding="ascii"))["entry"]
    assert [(entry.id, entry.answer) for entry in entries()] == [(table["id"], table["answer"]) for table in tables]


def test_other_answers_are_wrong() -> None:
    rng = random.Random(2)
    turns = [DGCHAT.sample(rng, False) for _ in range(100)]
    for turn, other in pairwise(turns):
        if turn.facts["id"] != other.facts["id"]:
            assert DGCHAT.check(turn, other.answer) is not None
        assert DGCHAT.check(turn, turn.answer[:-1]) is not None


def test_no_question_stands_in_two_entries() -> None:
    said = [question.lower().rstrip("?.! ") for entry in entries() for question in entry.questions]
    assert len(said) == len(set(said))


def test_all_entries_are_in_training() -> None:
    rng = random.Random(3)
    seen = {DGCHAT.sample(rng, False).facts["id"] for _ in range(3000)}
    assert seen == {entry.id for entry in entries()}


def test_rephrasing_keeps_the_question() -> None:
    for way in knowledge.REPHRASINGS:
        assert "how do i stop" in way("How do I stop?").lower()


def test_a_small_guide_is_read(tmp_path: Path) -> None:
    first, second = entries(write(tmp_path, "guide.toml", SMALL_GUIDE))
    assert (first.id, first.answer) == ("stop", "Press Esc.")
    assert first.questions == ("How do I stop?", "Which key stops it?")
    assert second.id == "quit"


def test_sha256_follows_what_is_learnt(tmp_path: Path) -> None:
    plain = guide_sha256(write(tmp_path, "a.toml", SMALL_GUIDE))
    titled = guide_sha256(write(tmp_path, "b.toml", SMALL_GUIDE.replace("Stopping", "To stop") + "# a comment\n"))
    changed = guide_sha256(write(tmp_path, "c.toml", SMALL_GUIDE.replace("Press Esc.", "Press Escape.")))
    assert plain == titled != changed and len(plain) == 64


@pytest.mark.parametrize("text", ["", '[[entry]]\nid = "x"\n', '[[entry]]\nid = "x"\nanswer = "y"\nquestions = []\n'])
def test_a_broken_guide_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"lacks|no entries"):
        entries(write(tmp_path, "guide.toml", text))
