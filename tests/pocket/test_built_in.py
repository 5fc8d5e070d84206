"""The shipped model: what it weighs, that it knows the present guide, and that it holds its world."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dgengine import Engine
from pocket import closed_holes
from pocket.conversations import draw_turn
from pocket.corpus import TASKS
from pocket.corpus.knowledge import guide_sha256
from pocket.evaluate import answer, fill, judge

DIRECTORY = Path(__file__).parents[2] / "engine" / "dgengine" / "pocket"
TOKENIZER = Tokenizer.from_file(str(DIRECTORY / "tokenizer.json"))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("pocket")


def test_it_fits_into_the_wheel() -> None:
    assert sum(file.stat().st_size for file in DIRECTORY.iterdir()) <= 20_000_000


def test_its_widths_are_those_that_the_kernels_like() -> None:
    text = json.loads((DIRECTORY / "config.json").read_text())["text_config"]
    widths = ("vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size", "head_dim")
    assert [name for name in widths if text[name] % 64] == []
    assert (text["sliding_window"], text["max_position_embeddings"]) == (128, 4096)


@given(st.text())
def test_its_tokenizer_encodes_anything(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


def test_it_has_learned_the_guide_as_it_stands() -> None:
    learned = json.loads((DIRECTORY / "pocket.json").read_text())["guide_sha256"]
    assert learned == guide_sha256(), "dgchat/guide.toml has changed since the training: train again"


def test_most_held_out_prompts_are_answered_right(engine: Engine) -> None:
    """A sample of the evaluation; the bound is far below its figure, far above what chance gives."""
    rng = random.Random(77)
    judged = [judge(turn, answer(engine, [{"role": "user", "content": turn.prompt}], seed)) for seed, turn in
              enumerate(draw_turn(rng, held_out=True) for _ in range(40))]  # fmt: skip
    wrong = [(item.task, item.reason) for item in judged if item.reason]
    assert len(wrong) <= 10, wrong
    steps = [count for item in judged for count in item.steps]
    assert sum(steps) <= 16 * len(steps) and sum(item.tokens for item in judged) >= 4 * sum(steps)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("Sort these words: pear, apple, fig.", r"apple, fig, pear\."),
        ("pear, apple, fig\n\nSort these words", r"apple, fig, pear\."),  # as piped text comes
        ("Sort these numbers: 9, 3, 12, 7.", r"3, 7, 9, 12\."),
        ("Sort these words: acorn, zebra, quilt.", r".*do not know all of these words.*"),
        ("What is 3 - 8?", r".*too hard for me.*"),
        ("What is 12 plus 5?", r"12 \+ 5 = 17\."),
        ("Count to 10.", r"1, 2, 3, 4, 5, 6, 7, 8, 9, 10\."),
        ("Count to 20.", r".*too hard for me.*"),
        ("pear\napple\nfig\n\nsort these words", r"apple, fig, pear\."),
    ],
)
def test_what_people_try_first(engine: Engine, prompt: str, wanted: str) -> None:
    messages = [{"role": "user", "content": prompt}]
    given = [answer(engine, messages, seed).text.strip() for seed in range(3)]
    assert sum(re.fullmatch(wanted, text) is not None for text in given) >= 2, given


def test_most_follow_ups_are_answered_right(engine: Engine) -> None:
    rng = random.Random(79)
    judged = []
    for seed in range(8):
        turn = TASKS[("sum", "sort_words", "story", "code")[seed % 4]].sample(rng, False)
        follow_up = TASKS[turn.task].follow_up
        assert follow_up is not None
        second = follow_up(rng, turn, False)
        if second is not None:
            messages = [{"role": "user", "content": turn.prompt}, {"role": "assistant", "content": turn.answer}]
            judged.append(judge(second, answer(engine, [*messages, {"role": "user", "content": second.prompt}], seed)))
    wrong = [(item.prompt, item.text, item.reason) for item in judged if item.reason]
    assert len(judged) >= 6 and len(wrong) <= 2, wrong


def test_closed_holes_are_mostly_filled_exactly(engine: Engine) -> None:
    holes = closed_holes.draw(random.Random(78), 20)
    exact = [fill(engine, item.hole, seed)[0] == item.hole.inside for seed, item in enumerate(holes)]
    assert sum(exact) >= 14


def test_two_seeds_tell_two_stories(engine: Engine) -> None:
    prompt = [{"role": "user", "content": "Tell me a story about a fox and a lantern."}]
    first, second = (answer(engine, prompt, seed).text for seed in (1, 2))
    assert first != second and "fox" in first and "fox" in second


def test_the_second_canvas_still_sees_the_question_behind_a_long_history(engine: Engine) -> None:
    rng = random.Random(5)
    messages = []
    for _ in range(12):
        turn = TASKS["story"].sample(rng, False)
        messages += [{"role": "user", "content": turn.prompt}, {"role": "assistant", "content": turn.answer}]
    right = 0
    for seed in range(6, 12):
        story = TASKS["story"].sample(random.Random(seed), False)
        given = answer(engine, [*messages, {"role": "user", "content": story.prompt}], seed)
        assert len(given.steps) >= 2
        # A story of two canvases that its checker accepts has in both what was asked for, and the same names.
        right += TASKS["story"].check(story, given.text.strip()) is None
    assert right >= 3, "of 6"
