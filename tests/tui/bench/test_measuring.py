"""What is asked, and what is seen of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from dgchat.bench.figures import by_prompt, figures, missing, percentile
from dgchat.bench.measuring import Measured, Plan, Sample, measure, sample_of
from dgchat.bench.prompts import FOLLOW_UP, PROMPTS, SEED, text_of
from dgengine import Block, Capabilities, Done, Event, Prefill, PromptTooLongError, Step
from tests.tui.fakes import FakeEngine, fake_stats


def step(block: int, number: int, seconds: float) -> Step:
    nothing = np.zeros(2, np.int32)
    flags = np.zeros(2, bool)
    return Step(block, number, 0.5, seconds, nothing, nothing, np.zeros(2, np.float32), flags, flags)


def block(number: int, *ids: int) -> Block:
    return Block(number, np.array(ids, np.int32), 2, True)


EVENTS: list[tuple[float, Event]] = [
    (0.5, Prefill(0, 10)),
    (1.5, Prefill(10, 10)),
    (2.0, step(1, 1, 0.25)),
    (2.5, step(1, 2, 0.5)),
    (2.5, block(1, 7, 8)),
    (2.6, Prefill(0, 2)),
    (2.7, Prefill(2, 2)),
    (3.0, step(2, 1, 0.75)),
    (3.5, block(2, 9)),
    (4.0, Done("eos", fake_stats(3, 2, 3))),
]


def test_an_answer_from_its_events() -> None:
    assert sample_of("short", EVENTS) == Sample(
        "short", 3, 2, (0.25, 0.5, 0.75), 4.0, 2.0, 2.5, 10, 1.0, peak_memory=1, ids=(7, 8, 9)
    )


def test_an_answer_that_shows_no_steps() -> None:
    seen = [(when, event) for when, event in EVENTS if isinstance(event, Block | Done)]
    sample = sample_of("short", seen)
    assert (sample.first_step, sample.first_block, sample.step_seconds) == (None, 2.5, ())
    assert (sample.prefill_seconds, sample.tokens) == (None, 3)


def test_a_block_that_comes_again_replaces_itself() -> None:
    assert sample_of("short", [(1.0, block(1, 5)), (2.0, block(1, 6, 7))]).ids == (6, 7)


def measured(engine: FakeEngine, plan: Plan) -> tuple[Measured, list[tuple[str, float]]]:
    told: list[tuple[str, float]] = []
    ticks = iter(range(10**9))
    found = measure(engine, plan, lambda what, done: told.append((what, done)), lambda: next(ticks) / 8)  # type: ignore[arg-type]
    return found, told


def test_every_prompt_is_asked_in_a_conversation_of_its_own() -> None:
    engine = FakeEngine("One two three.", canvas=4, steps=3)
    found, told = measured(engine, Plan(repeat=2, seed=5))
    assert [[sample.prompt for sample in samples] for samples in found.rounds] == [[p.name for p in PROMPTS]] * 2
    assert engine.sessions == 2 + 2 * len(PROMPTS)
    assert len(found.second_turns) == 2 and None not in found.second_turns
    assert [sampling.seed for sampling in engine.samplings if sampling] == [5] + [5] * 5 + [6] * 5
    assert [what for what, _ in told[:3]] == ["warming up", "measuring short, 1 of 2", "measuring story, 1 of 2"]
    assert told[0][1] == 0.0 and all(a < b < 1 for (_, a), (_, b) in pairwise(told))
    second = engine.asked[-1]
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[1]["ids"] and second[1]["content"] == "One two three." and second[2]["content"] == FOLLOW_UP


def test_quick_asks_little() -> None:
    found, _ = measured(FakeEngine("One."), Plan(quick=True, repeat=1))
    assert [sample.prompt for sample in found.samples] == ["short", "long"]


def test_limits_reach_the_engine() -> None:
    engine = FakeEngine("One.")
    measured(engine, Plan(quick=True, repeat=1, max_tokens=9, steps=4))
    assert {sampling.max_new_tokens for sampling in engine.samplings if sampling} == {1, 9}
    assert {sampling.max_denoising_steps for sampling in engine.samplings if sampling} == {4}


def test_what_an_engine_cannot_do_is_not_asked_of_it() -> None:
    class Server(FakeEngine):
        capabilities = Capabilities(steps=False, seeds=False, drafts=False, why_not={"drafts": "No steps."})

    engine = Server("One.")
    measured(engine, Plan(quick=True, repeat=1, steps=4))
    assert {(sampling.seed, sampling.max_denoising_steps) for sampling in engine.samplings if sampling} == {
        (None, None)
    }


def test_the_long_prompt_is_made_to_fit() -> None:
    class Small(FakeEngine):
        def encode_chat(self, messages: Any, thinking: bool = False, max_new_tokens: int | None = None) -> list[int]:
            ids = super().encode_chat(messages, thinking, max_new_tokens)
            if len(ids) > 3000:
                raise PromptTooLongError("Too long.")
            return ids

    engine = Small("One.")
    measured(engine, Plan(quick=True, repeat=1))
    long = engine.asked[-2][0]["content"]
    assert "In house 1 " in long and len(long) < 2000 and long.endswith(PROMPTS[-1].text)


def test_prompts_stand_as_they_are() -> None:
    assert (len(PROMPTS), SEED, PROMPTS[-1].long) == (4, 20, True)
    assert text_of(PROMPTS[0]) == PROMPTS[0].text and text_of(PROMPTS[-1], 3).count("\n") == 4


# ---- figures


def test_figures_of_what_was_measured() -> None:
    short = Sample("short", 4, 1, (0.01, 0.03), 2.0, 0.5, 0.7, 9, 0.1, peak_memory=100)
    long = Sample("long", 2, 1, (0.02,), 1.0, 5.0, 6.0, 300, 0.5, peak_memory=300)
    found = figures(Measured([[short, long], [short, long]], [0.25, None]), 3.0, is_remote=False)
    assert found == pytest.approx(
        {
            "step_ms": 20.0, "step_ms_p95": 30.0, "tokens_per_forward": 2.0, "tokens_per_second": 2.0,
            "first_step": 0.5, "first_block": 0.7, "prefill_tokens_per_second": 600.0, "second_turn": 0.25,
            "memory": 300.0, "load": 3.0,
        }
    )  # fmt: skip
    assert [(one.name, one.tokens, one.steps) for one in by_prompt(Measured([[short, long]]))] == [
        ("short", 4, 2),
        ("long", 2, 1),
    ]


def test_what_is_not_there_has_its_reason() -> None:
    engine = FakeEngine("One.")
    engine_capabilities = Capabilities(drafts=False, why_not={"drafts": "A server shows no steps."})
    type(engine).capabilities, before = engine_capabilities, type(engine).capabilities  # type: ignore[assignment, method-assign]
    try:
        sample = Sample("short", 4, 1, (), 2.0, None, 0.7)
        found = figures(Measured([[sample]], [None]), 3.0, is_remote=True)
        reasons = missing(found, engine, is_remote=True)  # type: ignore[arg-type]
    finally:
        type(engine).capabilities = before  # type: ignore[method-assign]
    assert {name for name, value in found.items() if value is not None} == {"tokens_per_second", "first_block"}
    assert reasons.keys() == found.keys() - {"tokens_per_second", "first_block"}
    assert reasons["step_ms"] == reasons["second_turn"] == "A server shows no steps."
    assert all(reason.endswith(".") for reason in reasons.values())


def test_nothing_measured_gives_no_figures() -> None:
    found = figures(Measured(), 1.0, is_remote=False)
    assert {name for name, value in found.items() if value is not None} == {"load"}
    assert missing(found, FakeEngine(), False)["step_ms"] == "No answer took a step."  # type: ignore[arg-type]


@pytest.mark.parametrize(("values", "found"), [([], None), ([3], 3), ([1, 2], 2), (range(1, 101), 95), (range(20), 18)])
def test_percentiles(values: Sequence[float], found: float | None) -> None:
    assert percentile(values, 0.95) == found
