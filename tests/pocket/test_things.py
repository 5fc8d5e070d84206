from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest

from pocket.corpus.base import Task, Turn
from pocket.corpus.lists import GROUPS, LIST_TASK
from pocket.corpus.things import TASKS, check
from pocket.corpus.world import ANIMAL_FACTS, ANIMALS, PEOPLE, PERSON_FACTS, THING_FACTS

BY_NAME = {task.name: task for task in TASKS}
SEEDS = range(400)


def _ask(kind: str, word: str, topic: str) -> Turn:
    return Turn(kind, "", "", {"word": word, "topic": topic})


def _list(group: str, count: int, numbered: bool = False) -> Turn:
    facts = {"group": group, "count": count, "numbered": numbered, "items": [], "same": False}
    return Turn("list", "", "", facts)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("held_out", [False, True])
def test_own_answers_and_follow_ups_pass(task: Task, held_out: bool) -> None:
    assert task.follow_up is not None
    for seed in SEEDS:
        rng = random.Random(seed)
        turn: Turn | None = task.sample(rng, held_out)
        while turn is not None and rng.random() < 0.7:
            assert turn.task == task.name
            assert turn.prompt.isascii() and turn.answer.isascii()
            assert task.check(turn, turn.answer) is None, (turn.prompt, turn.answer)
            turn = task.follow_up(rng, turn, held_out)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_training_never_sees_what_is_held_out(task: Task) -> None:
    rng = random.Random(4)
    sides = [
        {turn.prompt.lower().rstrip(".?") for turn in (task.sample(rng, held_out) for _ in range(4000))}
        for held_out in (False, True)
    ]
    assert sides[1] and not sides[0] & sides[1]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_sampling_is_deterministic(task: Task) -> None:
    runs = [[task.sample(random.Random(seed), False) for seed in SEEDS] for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", ["animal", "thing", "person"])
def test_answers_about_others_fail(kind: str) -> None:
    rng = random.Random(2)
    turns = [BY_NAME[kind].sample(rng, False) for _ in range(1500)]
    for turn, other in pairwise(turns):
        if turn.facts["word"] != other.facts["word"]:
            assert check(turn, other.answer) is not None, (turn.prompt, other.answer)


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (_ask("animal", "otter", "food"), "Otters eat fish."),
        (_ask("animal", "otter", "food"), "It eats fish and lives on a river bank."),
        (_ask("animal", "owl", "voice"), "It hoots."),
        (_ask("animal", "fox", "lives"), "They live in a den in the forest."),
        (_ask("thing", "kite", "made"), "Kites are made of paper and string."),
        (_ask("thing", "scarf", "use"), "It is for keeping your neck warm."),
        (_ask("person", "baker", "does"), "A baker bakes cakes and bread."),
    ],
)
def test_other_right_answers_pass(turn: Turn, text: str) -> None:
    assert check(turn, text) is None


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (_ask("animal", "otter", "food"), ""),
        (_ask("animal", "otter", "food"), "An otter lives on a river bank."),
        (_ask("animal", "otter", "food"), "An otter eats fish and honey."),
        (_ask("animal", "otter", "food"), "A bear eats fish."),
        (_ask("animal", "fox", "food"), "A fox eats mice."),
        (_ask("animal", "fox", "food"), "a fox eats mice and berries"),
        (_ask("animal", "owl", "food"), "A owl eats mice."),
        (_ask("animal", "owl", "voice"), "An owl barks."),
        (_ask("thing", "kite", "made"), "A kite is made of wood and string and paper."),
        (_ask("thing", "key", "use"), "A key is made of metal."),
        (_ask("person", "baker", "works"), "A baker works on a ship."),
    ],
)
def test_wrong_answers_fail(turn: Turn, text: str) -> None:
    assert check(turn, text) is not None


def test_facts_cover_the_world() -> None:
    assert set(ANIMAL_FACTS) == set(ANIMALS)
    assert set(PERSON_FACTS) <= set(PEOPLE)
    assert len(THING_FACTS) == 24


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (_list("birds", 3), "- owl\n- crow\n- hen"),
        (_list("birds", 3), "Here are three birds:\n\n* Owl\n* Crow\n* Hen"),
        (_list("birds", 2), "1. crow\n2. duck"),
        (_list("animals", 2, numbered=True), "1. whale\n2. mole"),
    ],
)
def test_right_lists_pass(turn: Turn, text: str) -> None:
    assert LIST_TASK.check(turn, text) is None


def test_some_questions_ask_for_a_whole_group_and_none_that_is_held_out() -> None:
    for held_out in (False, True):
        turns = [LIST_TASK.sample(random.Random(seed), held_out) for seed in SEEDS]
        whole = [turn for turn in turns if any(word in turn.prompt for word in ("know", "can name", "can think"))]
        assert (not whole) if held_out else whole
        assert all(tuple(turn.facts["items"]) == GROUPS[turn.facts["group"]] for turn in whole)


@pytest.mark.parametrize(
    ("turn", "text", "reason"),
    [
        (_list("birds", 3), "- owl\n- crow", "2 items"),
        (_list("birds", 3), "- owl\n- crow\n- fox", "not of birds: fox"),
        (_list("birds", 3), "- owl\n- crow\n- owl", "the same item twice"),
        (_list("birds", 2), "owl and crow", "not a list"),
        (_list("birds", 2), "- owl\n- crow\nThese are birds.", "not a list"),
        (_list("birds", 2, numbered=True), "- owl\n- crow", "not numbered from one"),
        (_list("birds", 2), "1. owl\n3. crow", "not numbered from one"),
        (_list("birds", 2), "", "0 items"),
    ],
)
def test_wrong_lists_fail(turn: Turn, text: str, reason: str) -> None:
    assert LIST_TASK.check(turn, text) == reason


def test_numbering_keeps_the_items() -> None:
    assert LIST_TASK.follow_up is not None
    turn = _list("fruits", 2)
    turn.facts["items"] = ["apple", "pear"]
    following = LIST_TASK.follow_up(random.Random(0), turn, False)
    assert following is not None and following.answer == "1. apple\n2. pear"
    assert LIST_TASK.check(following, "1. lemon\n2. pear") == "another list"


def test_a_prompt_leaves_nothing_of_its_list_open() -> None:
    answers: dict[str, set[str]] = defaultdict(set)
    rng = random.Random(4)
    for _ in range(3000):
        turn = LIST_TASK.sample(rng, False)
        answers[turn.prompt.lower().rstrip(".?").replace("color", "colour")].add(turn.answer)
    assert all(len(own) == 1 for own in answers.values())
    assert answers["list two fruits"] != answers["name two fruits"]


@pytest.mark.parametrize("group", GROUPS)
def test_groups_are_sorted_and_long_enough(group: str) -> None:
    assert list(GROUPS[group]) == sorted(set(GROUPS[group])) and len(GROUPS[group]) >= 5
