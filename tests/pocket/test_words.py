"""Lists of words: own answers are right, wrong orders and foreign words are not."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.words import LETTER, TASKS, WORDS, items_of

BY_NAME = {task.name: task for task in TASKS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("held_out", [False, True])
def test_own_answers_are_right(task: Task, held_out: bool) -> None:
    rng = random.Random(1)
    for _ in range(300):
        turn = task.sample(rng, held_out)
        assert turn.task == task.name
        assert task.check(turn, turn.answer) is None, turn


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_answers_to_other_prompts_are_wrong(task: Task) -> None:
    rng = random.Random(2)
    turns = [task.sample(rng, False) for _ in range(100)]
    for turn, other in pairwise(turns):
        if turn.answer != other.answer:
            assert task.check(turn, other.answer) is not None, (turn, other)
        assert task.check(turn, "") is not None


@pytest.mark.parametrize("name", ["sort_words", "reverse_words"])
@pytest.mark.parametrize("held_out", [False, True])
def test_sets_of_words_keep_to_their_side(name: str, held_out: bool) -> None:
    rng = random.Random(3)
    for _ in range(200):
        words = BY_NAME[name].sample(rng, held_out).facts["expected"]
        assert is_held_out("words", *sorted(words)) is held_out and 3 <= len(set(words)) <= 6


@pytest.mark.parametrize(("name", "other"), [("sort_words", "reverse_words"), ("reverse_words", "sort_words")])
def test_follow_up_turns_the_list_round_or_sorts_it(name: str, other: str) -> None:
    rng, follow_up = random.Random(4), BY_NAME[name].follow_up
    assert follow_up is not None
    for _ in range(50):
        turn = BY_NAME[name].sample(rng, False)
        then = follow_up(rng, turn, False)
        assert then is not None and then.task == other
        before, after = turn.facts["expected"], then.facts["expected"]
        assert after == (before[::-1] if other == "reverse_words" else sorted(before))
        assert BY_NAME[other].check(then, then.answer) is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("bear, cat, owl.", True),
        ("bear, cat and owl", True),
        ("Here they are: bear, cat, owl.", True),
        ("bear, owl, cat.", False),
        ("bear, cat.", False),
        ("bear, cat, owl, owl.", False),
        ("bear, cat, fox.", False),
        ("bear cat owl", False),
    ],
)
def test_check_of_a_sorted_list(text: str, right: bool) -> None:
    turn = Turn("sort_words", "", "", {"expected": ["bear", "cat", "owl"]})
    assert (BY_NAME["sort_words"].check(turn, text) is None) is right


@pytest.mark.parametrize(
    ("text", "right"), [("owl", True), ("The first word is owl.", True), ("bear", False), ("owl or bear", False)]
)
def test_check_of_a_picked_word(text: str, right: bool) -> None:
    turn = Turn("pick_word", "", "", {"words": ["owl", "bear"], "which": "first", "expected": "owl"})
    assert (BY_NAME["pick_word"].check(turn, text) is None) is right


@pytest.mark.parametrize(
    ("text", "right"), [("fox begins with f.", True), ("f", True), ("fox begins with o.", False), ("dog: f", False)]
)
def test_check_of_a_first_letter(text: str, right: bool) -> None:
    assert (BY_NAME["first_letter"].check(Turn("first_letter", "", "", {"word": "fox"}), text) is None) is right


def test_every_word_has_a_phrasing_in_training() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert all(any(not is_held_out("letter", word, i) for i in range(len(LETTER))) for word in WORDS)


def test_items_of_refuses_sentences() -> None:
    assert items_of("bear, cat and owl.") == ["bear", "cat", "owl"]
    assert items_of("I like the bear, the cat and the owl.") is None


def test_a_list_may_stand_above_what_is_asked_one_word_a_line() -> None:
    rng, found = random.Random(6), 0
    for _ in range(500):
        turn = BY_NAME["sort_words"].sample(rng, False)
        above, _, asked = turn.prompt.partition("\n\n")
        if "\n" in above:
            found += 1
            assert sorted(above.lower().split("\n")) == turn.facts["expected"] and asked.lower().startswith("sort")
    assert found > 20
