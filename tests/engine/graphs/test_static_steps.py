"""Steps over fixed buffers against the eager ones: the same tokens, the same steps, the same ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dgengine.control import Control
from dgengine.errors import NumericsError
from dgengine.events import Block, Done, Event, Step
from dgengine.sampling import Sampling
from tests.engine.graphs.parts import ask, head_of, pocket, session, tiny_model, told
from tests.engine.tiny import SPECS

PROMPT = list(range(8, 29))


def steps_of(events: Sequence[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def assert_alike(found: Sequence[Event], wanted: Sequence[Event]) -> None:
    assert told(found) == told(wanted)
    for one, other in zip(steps_of(found), steps_of(wanted), strict=True):
        assert np.array_equal(one.entropy, other.entropy)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("seed", [0, 1])
def test_tiny_models(spec: str, seed: int) -> None:
    """Three blocks, which outgrow windows and buffers; the bounds are such that some positions are accepted."""
    model = tiny_model(spec)
    length = 3 * model.config.canvas_length
    sampling = Sampling(seed=seed, max_new_tokens=length, max_denoising_steps=6, entropy_bound=4.0)
    found, wanted = (ask(session(model, late), PROMPT, sampling) for late in (True, False))
    assert_alike(found, wanted)
    assert len(steps_of(found)) >= 3 and any(step.accepted.any() for step in steps_of(found))


@pytest.mark.parametrize("stability", [0, 1, 3])
def test_the_built_in_model_converges_alike(stability: int) -> None:
    model = pocket()
    sampling = Sampling(seed=3, stability_threshold=stability, max_new_tokens=128)
    found, wanted = (ask(session(model, late), PROMPT, sampling) for late in (True, False))
    assert_alike(found, wanted)
    assert any(block.converged for block in found if isinstance(block, Block))


@pytest.mark.parametrize("pins", [{0: 9}, {0: 9, 3: 11, 4: 9}, dict.fromkeys(range(8), 40)])
def test_pins_from_the_start(pins: dict[int, int]) -> None:
    model = tiny_model("base")
    sampling = Sampling(
        seed=2,
        max_new_tokens=8,
        max_denoising_steps=5,
        stability_threshold=4,
        entropy_bound=5.0,
        confidence_threshold=9.0,
    )
    answers = []
    for late in (True, False):
        control = Control()
        for place, token in pins.items():
            control.pin(place, token)
        answers.append(ask(session(model, late), PROMPT, sampling, control))
    assert_alike(*answers)
    assert all(step.draft[place] == token for step in steps_of(answers[0]) for place, token in pins.items())


def test_pins_that_come_and_go_hold_from_the_next_step_that_has_not_begun() -> None:
    """One step is running when a step is given: so what is set then holds one step later than without it."""
    model = tiny_model("deep")
    sampling = Sampling(seed=5, max_new_tokens=12, max_denoising_steps=9, entropy_bound=6.0)

    def pin(control: Control) -> None:
        control.pin(2, 17)
        control.pin(7, 18)

    def unpin(control: Control) -> None:
        control.unpin(2)

    found = ask(session(model, True), PROMPT, sampling, after={2: pin, 5: unpin})
    wanted = ask(session(model, False), PROMPT, sampling, after={3: pin, 6: unpin})
    assert_alike(found, wanted)
    assert [int(step.pinned.sum()) for step in steps_of(found)] == [0, 0, 0, 2, 2, 2, 1, 1, 1]


def test_an_extension_goes_on_from_where_it_was() -> None:
    model = tiny_model("base")
    sampling = Sampling(seed=1, max_new_tokens=8, max_denoising_steps=3, on_limit="ask")

    def answer(late: bool) -> list[Event]:
        control, events = Control(), []
        for event in session(model, late).generate(PROMPT, sampling, control):
            events.append(event)
            if isinstance(event, Block) and event.waiting:
                control.extend(2) if event.steps < 7 else control.commit()
        return events

    found = answer(True)
    assert_alike(found, answer(False))
    assert [block.steps for block in found if isinstance(block, Block)] == [3, 5, 7]


def test_a_commit_takes_what_was_shown_last() -> None:
    model = tiny_model("base")
    sampling = Sampling(seed=1, max_new_tokens=16, max_denoising_steps=8)
    found, wanted = (
        ask(session(model, late), PROMPT, sampling, after={3: Control.commit}) for late in (True, False)
    )  # fmt: skip
    assert_alike(found, wanted)
    first = next(event for event in found if isinstance(event, Block))
    assert first.tokens.tolist() == steps_of(found)[2].draft.tolist() and first.steps == 3


def test_a_cancel_ends_it_at_once() -> None:
    model = tiny_model("base")
    own = session(model, True)
    sampling = Sampling(seed=1, max_new_tokens=16, max_denoising_steps=8)
    events = ask(own, PROMPT, sampling, after={2: Control.cancel})
    assert len(steps_of(events)) == 2 and isinstance(events[-1], Done) and events[-1].reason == "cancelled"
    again = ask(own, PROMPT, sampling)
    assert_alike(steps_of(again), steps_of(ask(session(model, False), PROMPT, sampling)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_ends_in_an_error(value: float) -> None:
    model = tiny_model("base")
    own = session(model, True)
    sampling = Sampling(seed=0, max_new_tokens=16, max_denoising_steps=4)
    list(own.generate(PROMPT, sampling))  # tried by now
    head_of(model).poison = {head_of(model).calls + 2: value}
    with pytest.raises(NumericsError, match=r"block 1, step 2.*float32"):
        list(own.generate(PROMPT, sampling))
    head_of(model).poison.clear()
    assert own.held == ()
    assert_alike(ask(own, PROMPT, sampling), ask(session(model, False), PROMPT, sampling))


def test_two_answers_side_by_side_do_not_meet() -> None:
    model = tiny_model("base")
    sampling = Sampling(seed=4, max_new_tokens=16, max_denoising_steps=4)
    graphs = session(model, True)._graphs
    one, other = session(model, True), session(model, True)
    one._graphs = other._graphs = graphs
    first, second = one.generate(PROMPT, sampling), other.generate(PROMPT[:9], sampling)
    pairs = list(itertools.zip_longest(first, second))
    found, beside = ([event for event in column if event is not None] for column in zip(*pairs, strict=True))
    assert_alike(found, ask(session(model, False), PROMPT, sampling))
    assert_alike(beside, ask(session(model, False), PROMPT[:9], sampling))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=1, max_new_tokens=8, max_denoising_steps=3, reference=True),
        Sampling(seed=1, max_new_tokens=8, max_denoising_steps=3, trace_top_k=2),
        Sampling(seed=1, max_new_tokens=8, max_denoising_steps=3, t_min=0.1),
    ],
    ids=["reference", "trace", "cold"],
)
def test_what_wants_logits_is_taken_one_by_one(sampling: Sampling) -> None:
    model = tiny_model("base")
    found, wanted = (ask(session(model, late), PROMPT, sampling) for late in (True, False))
    assert_alike(found, wanted)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    ask(session(tiny_model("base"), True), PROMPT, Sampling(seed=0, max_new_tokens=8, max_denoising_steps=2))
    assert torch.equal(torch.random.get_rng_state(), before)
