"""Numbers: every task's own answers are right, and wrong ones are told apart."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from pocket.corpus.base import Task, Turn
from pocket.corpus.numbers import NUMBER_WORDS, TASKS, pair_is_held_out

BY_NAME = {task.name: task for task in TASKS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("held_out", [False, True])
def test_own_answers_are_right(task: Task, held_out: bool) -> None:
    rng = random.Random(1)
    for _ in range(300):
        turn = task.sample(rng, held_out)
        assert turn.task == task.name
        assert task.check(turn, turn.answer) is None, turn
        assert (turn.prompt + turn.answer).isascii()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_answers_to_other_prompts_are_wrong(task: Task) -> None:
    rng = random.Random(2)
    turns = [task.sample(rng, False) for _ in range(100)]
    for turn, other in pairwise(turns):
        if turn.answer != other.answer:
            assert task.check(turn, other.answer) is not None, (turn, other)
        assert task.check(turn, "That is off my map.") is not None


@pytest.mark.parametrize("task", [task for task in TASKS if task.follow_up], ids=lambda task: task.name)
def test_follow_ups_go_on_from_the_answer(task: Task) -> None:
    rng, made = random.Random(3), 0
    assert task.follow_up is not None
    for _ in range(300):
        turn = task.sample(rng, False)
        then = task.follow_up(rng, turn, False)
        if then is None:
            continue
        made += 1
        assert BY_NAME[then.task].check(then, then.answer) is None
        if "result" in turn.facts:
            assert then.facts["a"] == turn.facts["result"] and 0 <= then.facts["result"] <= 198
    assert made > 150


@pytest.mark.parametrize("op", ["sum", "difference"])
@pytest.mark.parametrize("held_out", [False, True])
def test_calculations_keep_to_their_side(op: str, held_out: bool) -> None:
    rng = random.Random(4)
    for _ in range(500):
        turn = BY_NAME[op].sample(rng, held_out)
        a, b = turn.facts["a"], turn.facts["b"]
        assert pair_is_held_out(op, a, b) is held_out and min(a, b) >= 0 and max(a, b) <= 99
        assert op == "sum" or a >= b
        assert turn.answer == f"{a} {'+' if op == 'sum' else '-'} {b} = {a + b if op == 'sum' else a - b}."
        assert set(re.findall(r"\d+", turn.prompt)) == {str(a), str(b)}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("27 + 15 = 42.", True),
        ("27 plus 15 is 42", True),
        ("15 + 27 = 42", True),
        ("It is 42.", True),
        ("42", True),
        ("27 + 15 = 43.", False),
        ("26 + 16 = 42.", False),
        ("27 - 15 = 42.", False),
        ("27 + 15 = 42 = 43.", False),
        ("", False),
    ],
)
def test_check_of_a_sum(text: str, right: bool) -> None:
    turn = Turn("sum", "", "", {"op": "sum", "a": 27, "b": 15, "result": 42})
    assert (BY_NAME["sum"].check(turn, text) is None) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("71 is larger than 17.", True),
        ("71 is bigger", True),
        ("71", True),
        ("17 is larger than 71.", False),
        ("71 is smaller than 17.", False),
        ("71 is larger than 18.", False),
    ],
)
def test_check_of_a_comparison(text: str, right: bool) -> None:
    turn = Turn("compare", "", "", {"way": "larger", "chosen": 71, "other": 17})
    assert (BY_NAME["compare"].check(turn, text) is None) is right


@pytest.mark.parametrize(
    ("text", "right"), [("There are 3 words.", True), ("three", True), ("There are 4 words.", False), ("3 or 4", False)]
)
def test_check_of_a_number_of_items(text: str, right: bool) -> None:
    assert (BY_NAME["count_items"].check(Turn("count_items", "", "", {"expected": 3}), text) is None) is right


def test_counting_covers_both_directions_and_both_ends() -> None:
    rng, found = random.Random(5), []
    for _ in range(300):
        turn = BY_NAME["count"].sample(rng, False)
        asked = re.search(r"(\d+) to (\d+)", turn.prompt)
        if asked is None:  # tested below
            continue
        start, end = int(asked[1]), int(asked[2])
        numbers = [int(number) for number in re.findall(r"\d+", turn.answer)]
        assert numbers[0] == start and numbers[-1] == end
        assert len(numbers) == abs(end - start) + 1 <= 13
        found.append(end - start)
    assert sum(step > 0 for step in found) > 80 and sum(step < 0 for step in found) > 80


def test_a_count_names_the_way_that_it_goes() -> None:
    rng, ways = random.Random(7), set()
    for _ in range(1000):
        turn = BY_NAME["count"].sample(rng, False)
        way = re.search(r"\b(up|upwards|down|backwards)\b", turn.prompt)
        first, last = turn.facts["expected"][0], turn.facts["expected"][-1]
        if way:
            ways.add(way[1])
            assert (way[1] in ("up", "upwards")) == (first < last)
    assert ways == {"up", "upwards", "down", "backwards"}


def test_counts_meet_every_number() -> None:
    rng = random.Random(8)
    met = {number for _ in range(3000) for number in BY_NAME["count"].sample(rng, False).facts["expected"]}
    assert met == set(range(101))


def test_a_count_without_a_beginning_starts_at_one() -> None:
    rng, found = random.Random(6), 0
    for _ in range(2000):
        turn = BY_NAME["count"].sample(rng, False)
        said = re.fullmatch(r"(?i).*count (?:up )?to (\w+)[.?]?", turn.prompt)
        if said:
            found += 1
            end = int(said[1]) if said[1].isdigit() else NUMBER_WORDS.index(said[1])
            assert turn.facts["expected"] == list(range(1, end + 1))
    assert found > 30


def test_a_count_down_without_an_end_ends_at_one() -> None:
    rng, found = random.Random(9), 0
    for _ in range(2000):
        turn = BY_NAME["count"].sample(rng, False)
        said = re.fullmatch(r"(?i).*count (?:down|backwards) from (\w+)[.?]?", turn.prompt)
        if said:
            found += 1
            start = int(said[1]) if said[1].isdigit() else NUMBER_WORDS.index(said[1])
            assert turn.facts["expected"] == list(range(start, 0, -1))
    assert found > 30
