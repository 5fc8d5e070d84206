from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.plots import PLOTS
from pocket.corpus.stories import FAVOURITES, TASKS, Story, another, name_of, retell, sample_story, shorter, tell
from pocket.corpus.story_check import (
    SHORTEST,
    check_name,
    check_shorter,
    check_story,
    read_story,
    vocabulary,
    words_of,
)
from pocket.corpus.world import BEINGS, NAMES

BY_NAME = {task.name: task for task in TASKS}
SEEDS = range(300)
STORY = (
    "Once there was a clever fox named Ruby who lived in a den under an old oak. "
    "One dark evening, Ruby found a lantern by the old mill. "
    "Soon Ruby met a mouse named Dot who was lost in the dark. "
    '"I cannot find my way home," said Dot. '
    "Ruby held the lantern high and led Dot safely home. "
    "From that day on, Ruby and Dot were the best of friends."
)
FACTS = {
    "hero": "fox",
    "name": "Ruby",
    "mood": "clever",
    "thing": "lantern",
    "friend": "mouse",
    "friend_name": "Dot",
}
TURN = Turn(
    "story",
    "Tell me a story about a fox and a lantern.",
    STORY,
    {"asked": ["fox", "lantern"], "asked_name": None, "unlike": None, "story": FACTS},
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("held_out", [False, True])
def test_own_answers_and_follow_ups_pass(task: Task, held_out: bool) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        turn: Turn | None = task.sample(rng, held_out)
        for _ in range(4):
            assert turn is not None
            judge = BY_NAME[turn.task]
            assert judge.check(turn, turn.answer) is None, (turn.prompt, turn.answer)
            assert judge.follow_up is not None
            turn = judge.follow_up(rng, turn, held_out)


def test_sampling_is_deterministic() -> None:
    runs = [[sample_story(random.Random(seed), False) for seed in SEEDS] for _ in range(2)]
    assert runs[0] == runs[1]


def test_seeds_give_different_stories() -> None:
    assert len({sample_story(random.Random(seed), False).answer for seed in SEEDS}) > 290


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("Tell me a story about a fox and a kite.", "Once there was a"),
        ("can you tell me a story?", "Once there was a"),
        ("Write a story about a fox.", "Long ago, a"),
        ("A story about a fox, please.", "A "),
        ("I would like a story about a horse named Stella", "A "),
    ],
)
def test_how_a_story_begins_follows_from_how_it_was_asked_for(prompt: str, opening: str) -> None:
    story = Story(**FACTS)
    told = {tell(random.Random(seed), story, prompt) for seed in range(60)}
    assert len(told) == 12 and all(text.startswith(opening) for text in told)  # 2 meetings, 2 deeds, 3 ends


@pytest.mark.parametrize("held_out", [False, True])
def test_pairs_stay_on_their_side(held_out: bool) -> None:
    rng = random.Random(5)
    for _ in range(2000):
        turn = sample_story(rng, held_out)
        for _ in range(3):
            story = turn.facts["story"]
            if turn.task == "story" and not (held_out and not turn.facts["asked"]):
                assert is_held_out("story", story["hero"], story["thing"]) is (held_out and not turn.facts["unlike"])
            following = BY_NAME[turn.task].follow_up
            assert following is not None
            turn = following(rng, turn, False) or turn


def test_stories_are_ascii_and_of_the_length_asked_for() -> None:
    for seed in SEEDS:
        answer = sample_story(random.Random(seed), False).answer
        assert answer.isascii() and "\n" not in answer
        assert SHORTEST < len(answer.split()) < 110


def test_the_example_passes() -> None:
    assert check_story(TURN, STORY) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("fox", "owl", "missing: fox"),
        ("lantern", "kite", "missing: lantern"),
        ("said Dot", "said Pip", "never introduced"),
        ("led Dot", "led Dot the owl", "no name for: owl"),
        ("led Dot", "led Dot the fox", "Dot is not the fox"),
        ("led Dot", "led a mouse named Dot", "introduced twice"),
        ("Soon Ruby", "soon Ruby", "broken sentence"),
        ("best of friends.", "best of", "does not end"),
        ('home," said', "home, said", "quote"),
        ("held the", "held the the", "doubled"),
        ("a clever fox", "an clever fox", "article"),
        ("safely home", "safelern home", "not a word"),
        ("by the old mill", "and a kite by the old mill", "not one thing"),
        ("Once there was a clever fox named Ruby who lived in a den under an old oak. ", "", "the hero"),
    ],
)
def test_broken_stories_fail(old: str, new: str, reason: str) -> None:
    assert old in STORY
    verdict = check_story(TURN, STORY.replace(old, new))
    if reason == "the hero":
        assert verdict is not None
    else:
        assert verdict is not None and reason in verdict


@pytest.mark.parametrize(
    "text", ["", "No.", STORY[: len(STORY) // 2], STORY + " " + STORY, STORY.replace(". ", ".\n\n")]
)
def test_what_is_no_story_fails(text: str) -> None:
    assert check_story(TURN, text) is not None


def test_hero_must_carry_the_asked_name() -> None:
    turn = Turn("story", "A story about a fox named Finn.", STORY, TURN.facts | {"asked_name": "Finn"})
    assert check_story(turn, STORY) == "the fox is not called Finn"
    assert check_story(turn, STORY.replace("Ruby", "Finn")) is None


def test_asked_name_is_used() -> None:
    turns = [sample_story(random.Random(seed), False) for seed in range(600)]
    asked = [turn for turn in turns if turn.facts["asked_name"]]
    assert len(asked) > 40
    assert all(turn.facts["asked_name"].lower() in turn.prompt.lower() for turn in asked)


def test_stories_with_other_asks_rarely_pass() -> None:
    rng = random.Random(3)
    turns = [sample_story(rng, True) for _ in range(1000)]
    for turn, other in pairwise(turns):
        if turn.facts["asked"] != other.facts["asked"]:
            assert check_story(turn, other.answer) is not None


def test_another_story_is_another_one() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        turn = sample_story(rng, False)
        following = another(rng, turn)
        assert following.answer != turn.answer
        assert following.facts["story"]["name"] != turn.facts["story"]["name"]
        assert check_story(following, turn.answer) == "the same story again"


def test_shorter_depends_on_the_story_alone() -> None:
    for seed in SEEDS:
        turn = sample_story(random.Random(seed), False)
        told = {shorter(random.Random(other), turn).answer for other in range(5)}
        assert len(told) == 1 and len(told.pop()) < len(turn.answer)


def test_shorter_rejects_the_whole_story_and_another_one() -> None:
    asked = shorter(random.Random(0), TURN)
    assert check_shorter(asked, STORY) is not None
    assert check_shorter(asked, asked.answer.replace("Dot", "Pip")) is not None
    assert check_shorter(asked, asked.answer.replace("lantern", "kite")) is not None
    assert check_shorter(asked, asked.answer.replace("Dot the mouse", "Dot the fox")) is not None
    assert check_shorter(asked, "Ruby the fox found a lantern. It led Dot home.") is None


@pytest.mark.parametrize("task", ["about", "name_of", "found"])
def test_answers_to_another_story_fail(task: str) -> None:
    rng = random.Random(9)
    turns = [BY_NAME[task].sample(rng, False) for _ in range(500)]
    for turn, other in pairwise(turns):
        if turn.answer != other.answer and turn.facts["story"]["name"] != other.facts["story"]["name"]:
            shared = set(words_of(turn.answer)) >= set(words_of(other.answer))
            assert BY_NAME[task].check(turn, other.answer) is not None or shared


def test_the_name_of_the_other_one_fails() -> None:
    turn = name_of(random.Random(1), TURN)
    wrong = "Dot" if turn.facts["name"] == "Ruby" else "Ruby"
    assert check_name(turn, f"It was called {wrong}.") is not None
    assert check_name(turn, f"It was called {turn.facts['name']}.") is None


def test_what_was_told_can_be_read_again() -> None:
    for seed in SEEDS:
        turn = sample_story(random.Random(seed), False)
        assert read_story(turn.answer) == turn.facts["story"]
    assert read_story("There is no story here.") is None
    told = retell(TURN, STORY.replace("Dot", "Milo"))
    assert told is not None and "Milo" in shorter(random.Random(0), told).answer


def test_the_world_is_consistent() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert not {name.lower() for name in NAMES} & (vocabulary() - {name.lower() for name in NAMES})
    for kind, being in BEINGS.items():
        assert len(FAVOURITES[kind]) >= 2
        assert set(being.favourites) <= set(PLOTS)


@pytest.mark.parametrize("thing", PLOTS)
def test_plots_speak_of_their_own_thing_only(thing: str) -> None:
    plot = PLOTS[thing]
    assert len(set(plot.cast)) == 4 and set(plot.cast) <= set(BEINGS)
    parts = (plot.when, plot.place, plot.trouble, *plot.speeches, *plot.deeds, *plot.ends, plot.short)
    words = {word for part in parts for word in words_of(re.sub(r"\{.\}", "", part))}
    assert not words & ((set(PLOTS) - {thing}) | set(BEINGS))
