"""Small talk and what is off the map: own answers pass, and the unknown is really unknown."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from pocket.corpus import offmap, unknown
from pocket.corpus.base import Task, is_held_out
from pocket.corpus.smalltalk import TASKS
from pocket.corpus.world import BEINGS, THING_FACTS

BY_NAME = {task.name: task for task in TASKS}
OFFMAP = BY_NAME["offmap"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("held_out", [False, True])
def test_own_answers_are_right(task: Task, held_out: bool) -> None:
    rng = random.Random(1)
    for _ in range(300):
        turn = task.sample(rng, held_out)
        assert turn.task == task.name and turn.prompt and turn.answer.isascii()
        assert task.check(turn, turn.answer) is None, turn


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_answers_of_other_tasks_are_wrong(task: Task) -> None:
    rng = random.Random(2)
    turn = task.sample(rng, False)
    for other in TASKS:
        if other is not task:
            assert task.check(turn, other.sample(rng, False).answer) is not None, other.name
    assert task.check(turn, "3 + 4 = 7.") is not None
    assert task.check(turn, "") is not None


@pytest.mark.parametrize("name", [task.name for task in TASKS if task is not OFFMAP])
def test_prompts_keep_to_their_side(name: str) -> None:
    rng = random.Random(3)
    for held_out in (False, True):
        prompts = {BY_NAME[name].sample(rng, held_out).prompt for _ in range(300)}
        assert all(is_held_out(name, prompt) is held_out for prompt in prompts)


@pytest.mark.parametrize(("kind", "make"), offmap.KINDS, ids=[kind for kind, _ in offmap.KINDS])
def test_each_kind_has_topics_on_both_sides(kind: str, make: Callable[[random.Random], offmap.Prompt]) -> None:
    rng = random.Random(4)
    held_out = sum(is_held_out("off map", *make(rng)[1]) for _ in range(2000))
    assert 40 < held_out < 500


def test_strangers_are_not_of_the_world() -> None:
    assert not set(unknown.STRANGERS) & (set(BEINGS) | set(THING_FACTS))
    assert len(unknown.TOPICS) > 150 and len(unknown.ABOUT) >= 25


def test_every_prompt_about_the_world_holds_a_stranger() -> None:
    rng = random.Random(5)
    for _ in range(500):
        prompt, (stranger, *_) = offmap._word(rng)
        assert str(stranger) in prompt


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("I do not know that. I can tell stories and sort words.", True),
        ("That is off my map. I know sums and dgchat.", True),
        ("I do not know that.", False),
        ("I do not know that. I can tell stories.", False),
        ("Paris. I can also tell stories and do sums.", False),
    ],
)
def test_check_off_the_map(text: str, right: bool) -> None:
    turn = OFFMAP.sample(random.Random(6), False)
    assert (OFFMAP.check(turn, text) is None) is right
