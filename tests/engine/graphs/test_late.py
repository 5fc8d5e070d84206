"""A record is read while the next step runs: when steps are submitted, what they are told, what is thrown away."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgengine.control import Control
from dgengine.errors import NumericsError
from dgengine.events import Step
from dgengine.graphs.late import LateStepper
from dgengine.graphs.state import BlockState
from dgengine.sampling import Sampling
from tests.engine.graphs.parts import LazyQueue, ask, session, tiny_model

C = 4
SAMPLING = Sampling(seed=0, max_denoising_steps=8).resolve()


class FakeState(BlockState):
    """Tells in its record how many steps were taken, and which pins held."""

    def __init__(self, converges: int = 99, fails: int = 99) -> None:
        super().__init__(C, 8, torch.device("cpu"))
        self.taken = 0
        self.pins: Mapping[int, int] = {}
        self._converges, self._fails = converges, fails

    def pin(self, pins: Mapping[int, int]) -> None:
        self.pins = pins

    def step(self) -> None:
        self.taken += 1
        self.record.zero_()
        self.record[0] = self.taken
        self.record[1] = len(self.pins)
        self.record[-2] = self.taken >= self._converges
        self.record[-1] = self.taken >= self._fails


def stepper(state: FakeState) -> tuple[LateStepper, LazyQueue]:
    queue = LazyQueue()
    return LateStepper(state, state.step, queue, SAMPLING), queue


def test_one_step_is_submitted_ahead_of_the_one_that_is_waited_for() -> None:
    own, queue = stepper(FakeState())
    for _ in range(3):
        own.advance({}, 8)
    assert queue.log == [
        ("submit", 1), ("submit", 2), ("run", 1), ("land", 1),
        ("submit", 3), ("run", 2), ("land", 2),
        ("submit", 4), ("run", 3), ("land", 3),
    ]  # fmt: skip
    assert own.steps == 3 and own.draft[0] == 3


def test_none_is_submitted_beyond_the_limit() -> None:
    state = FakeState()
    own, queue = stepper(state)
    assert [own.advance({}, 3).draft.draft[0] for _ in range(3)] == [1, 2, 3]
    queue.drain()
    assert state.taken == 3
    assert [own.advance({}, 5).draft.draft[0] for _ in range(2)] == [4, 5], "an extension"
    queue.drain()
    assert state.taken == 5


def test_pins_hold_from_the_next_step_that_is_submitted() -> None:
    own, _ = stepper(FakeState())
    held = [own.advance(pins, 8).draft.draft[1] for pins in ({}, {0: 1}, {0: 1}, {}, {1: 2, 2: 3}, {}, {}, {})]
    assert held == [0, 0, 1, 1, 0, 2, 0, 0]


def test_a_step_that_ran_ahead_of_the_last_is_thrown_away() -> None:
    own, queue = stepper(FakeState(converges=2))
    seen = []
    for _ in range(2):
        own.advance({}, 8)
        seen.append((own.steps, own.converged, int(own.draft[0])))
    assert seen == [(1, False, 1), (2, True, 2)]
    own.close()
    queue.drain()
    assert own.draft[0] == 2 and ("run", 3) in queue.log and ("land", 3) not in queue.log


def test_a_failure_is_that_of_its_own_step() -> None:
    own, _ = stepper(FakeState(fails=2))
    assert own.advance({}, 8).draft.draft[0] == 1
    with pytest.raises(NumericsError):
        own.advance({}, 8)
    assert own.steps == 2


def test_the_state_is_given_back_once() -> None:
    given_back: list[int] = []
    state = FakeState()
    own = LateStepper(state, state.step, LazyQueue(), SAMPLING, lambda: given_back.append(1))
    own.close()
    own.close()
    assert given_back == [1]


def test_a_block_that_is_over_holds_no_step() -> None:
    state = FakeState()

    def step() -> None:
        state.step()

    own, held = LateStepper(state, step, LazyQueue(), SAMPLING), weakref.ref(step)
    own.advance({}, 1)
    del step
    own.close()
    assert held() is None


def test_blocks_side_by_side_have_the_records_of_their_own() -> None:
    """Each may have two steps under way in the one queue."""
    queue, states = LazyQueue(), (FakeState(), FakeState())
    one, other = (LateStepper(state, state.step, queue, SAMPLING) for state in states)
    for step in range(1, 5):
        assert one.advance({}, 8).draft.draft[:2].tolist() == [step, 0]
        assert other.advance({0: 1, 1: 2}, 8).draft.draft[:2].tolist() == [step, 2]
    assert queue.most == 3


@given(
    limit=st.integers(1, 8),
    pins=st.lists(st.dictionaries(st.integers(0, C - 1), st.integers(0, 7)), min_size=8, max_size=8),
)
def test_when_the_device_works_makes_no_difference(limit: int, pins: list[dict[int, int]]) -> None:
    """At the latest, or at once: the same records."""
    records = []
    for at_once in (False, True):
        own, queue = stepper(FakeState())
        found = []
        for step in range(limit):
            found.append(own.advance(pins[step], limit).draft.draft.tolist())
            if at_once:
                queue.drain()
        records.append(found)
    assert records[0] == records[1]


def test_an_answer_from_a_lazy_device() -> None:
    """What is cancelled or committed leaves a step behind, which a device does later, but before the next block's."""
    model = tiny_model("base")
    sampling = Sampling(seed=3, max_new_tokens=8, max_denoising_steps=6, entropy_bound=5.0)
    queue = LazyQueue()
    own = session(model, True, queue)
    for do in (Control.commit, Control.cancel, Control.commit):
        events = ask(own, [9, 10, 11], sampling, after={2: do})
        queue.drain()  # a stream does what is left before all that comes after it
        wanted = ask(session(model, False), [9, 10, 11], sampling, after={2: do})
        assert [type(event) for event in events[-3:]] == [type(event) for event in wanted[-3:]]
        found, expected = ([event.draft for event in each if isinstance(event, Step)] for each in (events, wanted))
        assert np.array_equal(found, expected)
    assert queue.most == 2
