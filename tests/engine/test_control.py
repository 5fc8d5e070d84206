"""`Control` from other threads: each order takes effect within one step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dgengine.control import Control
from dgengine.errors import SamplingError, TokenIdError
from dgengine.events import Block, Done, Event, Step
from dgengine.sampling import Sampling
from dgengine.session import Session
from tests.engine.fakes import FakeModel, answer_of

PROMPT = [1, 2, 3]


class Runner:
    """Runs a generator in a thread of its own, as an app does, and keeps what it yields."""

    def __init__(self, run: Iterator[Event]) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._drain, args=(run,), daemon=True)
        self._thread.start()

    def _drain(self, run: Iterator[Event]) -> None:
        for event in run:
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()
            time.sleep(0.001)

    def wait_for(self, seen: Callable[[list[Event]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: seen(self.events), timeout=20), self.events[-3:]

    def join(self) -> list[Event]:
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()
        return self.events

    def steps(self) -> list[Step]:
        return [event for event in list(self.events) if isinstance(event, Step)]


def start(control: Control, sharpness: float = 3.0, **sampling: Any) -> tuple[Runner, FakeModel]:
    """A run that does not converge unless it is made sharp."""
    model = FakeModel(sharpness)
    values = {"seed": 0, "max_new_tokens": 24, "max_denoising_steps": 100_000, **sampling}
    return Runner(Session(model).generate(PROMPT, Sampling(**values), control)), model


def after_steps(count: int) -> Callable[[list[Event]], bool]:
    return lambda events: sum(isinstance(event, Step) for event in events) >= count


def test_cancel_from_another_thread_ends_within_one_step() -> None:
    control = Control()
    runner, _ = start(control)
    runner.wait_for(after_steps(5))
    seen = len(runner.steps())
    control.cancel()
    events = runner.join()
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "cancelled"
    assert events[-1].stats.tokens == 0
    assert not any(isinstance(event, Block) for event in events)
    assert len(runner.steps()) <= seen + 2  # one under way, one between the count and the order
    assert control.cancelled


def test_cancel_before_the_start_takes_no_step() -> None:
    control = Control()
    control.cancel()
    runner, model = start(control)
    events = runner.join()
    assert [type(event).__name__ for event in events] == ["Prefill", "Done"]
    assert model.canvases == []


def test_pause_holds_and_resume_goes_on() -> None:
    control = Control()
    runner, _ = start(control)
    runner.wait_for(after_steps(3))
    control.pause()
    time.sleep(0.05)
    held = len(runner.steps())
    time.sleep(0.2)
    assert len(runner.steps()) == held
    assert control.paused
    control.resume()
    runner.wait_for(after_steps(held + 3))
    control.cancel()
    runner.join()


def test_a_pause_holds_the_end_of_a_block_too_and_a_token_may_still_be_held_in_it() -> None:
    """Whoever freezes the last step sees a canvas that can be changed."""
    sampling = Sampling(seed=0, max_new_tokens=8)
    last = sum(isinstance(event, Step) for event in Session(FakeModel(30.0)).generate(PROMPT, sampling))
    control = Control()

    def hold_and_go_on() -> None:
        control.pin(2, 51)
        control.resume()

    events = []
    for event in Session(FakeModel(30.0)).generate(PROMPT, sampling, control):
        events.append(event)
        if isinstance(event, Step) and event.step == last:
            control.pause()
            threading.Timer(0.1, hold_and_go_on).start()
    block = next(event for event in events if isinstance(event, Block))
    assert (block.steps, block.converged, block.tokens[2]) == (last, True, 51)


def test_cancel_ends_a_pause() -> None:
    control = Control()
    control.pause()
    runner, _ = start(control)
    control.cancel()
    assert isinstance(runner.join()[-1], Done)


def test_time_paused_is_not_counted() -> None:
    control = Control()
    control.pause()
    runner, _ = start(control, sharpness=30)
    time.sleep(0.4)
    control.resume()
    done = runner.join()[-1]
    assert isinstance(done, Done)
    assert done.stats.seconds < 0.3


def test_a_pin_from_another_thread_holds_from_the_next_step_on() -> None:
    control = Control()
    runner, model = start(control)
    runner.wait_for(after_steps(3))
    control.pause()
    time.sleep(0.05)
    before = len(runner.steps())
    control.pin(4, 9)
    control.resume()
    runner.wait_for(after_steps(before + 4))
    control.pause()
    time.sleep(0.05)
    pinned = len(runner.steps())
    control.unpin(4)
    control.resume()
    runner.wait_for(after_steps(pinned + 3))
    control.cancel()
    runner.join()
    steps = runner.steps()
    assert not any(step.pinned.any() for step in steps[:before])
    for number in range(before, pinned):
        assert steps[number].draft[4] == steps[number].canvas[4] == 9
        assert steps[number].entropy[4] == 0
        assert model.canvases[number][4] == 9, "the forward itself must see the pin"
        conditioning = model.conditioning[number]
        assert conditioning is not None
        assert conditioning.softmax(-1)[4, 9] == 1.0
    assert not any(step.pinned.any() for step in steps[pinned:])


def test_pins_from_before_the_start_are_in_the_first_forward_and_in_the_answer() -> None:
    control = Control()
    control.pin(0, 40)
    control.pin(7, 41)
    control.pin(1, 42, block=2)
    runner, model = start(control, sharpness=30, max_new_tokens=16)
    events = runner.join()
    assert (model.canvases[0][0], model.canvases[0][7]) == (40, 41)
    answer = answer_of(events)
    assert (answer[0], answer[7], answer[9]) == (40, 41, 42)
    second = [step for step in runner.steps() if step.block == 2]
    assert all(step.pinned.tolist() == [p == 1 for p in range(8)] for step in second), "pins end with their block"


def test_a_pin_for_a_block_that_is_over_is_dropped() -> None:
    control = Control()
    control.begin(8, 64)
    control.end_block(1)
    control.pin(3, 9, block=1)
    assert control.orders(2).pins == {}
    control.pin(3, 9)
    assert control.orders(2).pins == {3: 9}


def test_commit_ends_a_block_and_only_that() -> None:
    control = Control()
    runner, _ = start(control)
    runner.wait_for(after_steps(3))
    control.commit()
    runner.wait_for(lambda events: any(isinstance(event, Step) and event.block == 2 for event in events))
    seen = len(runner.steps())
    runner.wait_for(after_steps(seen + 4))
    control.cancel()
    events = runner.join()
    blocks = [event for event in events if isinstance(event, Block)]
    assert [(block.block, block.converged) for block in blocks] == [(1, False)]
    draft = [step for step in runner.steps() if step.block == 1][-1].draft
    assert blocks[0].tokens.tolist() == draft.tolist()


def waiting(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], Block) and events[-1].waiting


def test_ask_waits_extends_and_commits() -> None:
    control = Control()
    runner, _ = start(control, max_denoising_steps=4, on_limit="ask", max_new_tokens=8)
    runner.wait_for(waiting)
    time.sleep(0.1)
    assert len(runner.steps()) == 4, "it must wait"
    control.extend(3)
    runner.wait_for(lambda events: waiting(events) and after_steps(7)(events))
    assert len(runner.steps()) == 7
    control.commit()
    events = runner.join()
    blocks = [event for event in events if isinstance(event, Block)]
    assert [(block.steps, block.converged, block.waiting) for block in blocks] == [(4, False, True), (7, False, True)]
    temperatures = [step.temperature for step in runner.steps()]
    assert temperatures[4:] == [temperatures[3]] * 3
    assert [step.step for step in runner.steps()] == list(range(1, 8))
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.reason, done.stats.blocks, done.stats.steps_per_block) == ("length", 1, (7,))
    assert answer_of(events) == blocks[-1].tokens.tolist()


def test_an_extension_goes_on_from_the_same_canvas() -> None:
    """4 + 3 steps at one limit or in one go: the canvas and the random numbers carry on."""
    control = Control()
    runner, model = start(control, max_denoising_steps=4, on_limit="ask", max_new_tokens=8, t_min=0.6, t_max=0.6)
    runner.wait_for(waiting)
    control.extend(3)
    runner.wait_for(lambda events: waiting(events) and after_steps(7)(events))
    control.cancel()
    runner.join()
    whole, other = start(Control(), max_denoising_steps=7, max_new_tokens=8, t_min=0.6, t_max=0.6)
    whole.join()
    assert model.canvases == other.canvases


def test_ask_does_not_ask_a_block_that_converges() -> None:
    runner, _ = start(Control(), sharpness=30, max_denoising_steps=5, on_limit="ask")
    blocks = [event for event in runner.join() if isinstance(event, Block)]
    assert [(block.converged, block.waiting) for block in blocks] == [(True, False)] * 3


def test_an_extension_may_converge() -> None:
    """The model becomes sure after the limit: the block is yielded again, converged."""
    control = Control()
    runner, model = start(control, max_denoising_steps=3, on_limit="ask", max_new_tokens=8)
    runner.wait_for(waiting)
    model.sharpness = 30.0
    control.extend(50)
    blocks = [event for event in runner.join() if isinstance(event, Block)]
    assert [(block.converged, block.waiting) for block in blocks] == [(False, True), (True, False)]
    assert blocks[-1].steps < 10
    assert blocks[-1].tokens.tolist() == model.wanted(PROMPT)


def test_cancel_ends_the_wait_and_keeps_the_block_that_was_shown() -> None:
    control = Control()
    runner, _ = start(control, max_denoising_steps=4, on_limit="ask")
    runner.wait_for(waiting)
    control.cancel()
    done = runner.join()[-1]
    assert isinstance(done, Done)
    assert (done.reason, done.stats.blocks, done.stats.tokens) == ("cancelled", 1, 8)


def test_a_pin_set_just_before_a_commit_is_committed() -> None:
    control = Control()
    sampling = Sampling(seed=0, max_new_tokens=16, max_denoising_steps=3, on_limit="ask")
    events = []
    model = FakeModel(3.0)
    for event in Session(model).generate(PROMPT, sampling, control):
        events.append(event)
        if isinstance(event, Block) and event.waiting:
            control.pin(2, 50 + event.block)
            control.commit()
    answer = answer_of(events)
    assert (answer[2], answer[10]) == (51, 52)
    assert [(e.block, e.waiting) for e in events if isinstance(e, Block)] == [
        (1, True),
        (1, False),
        (2, True),
        (2, False),
    ]
    assert model.encoded[-1][2] == 51, "and the next block sees it"


def test_orders_given_by_the_consumer_itself_do_not_deadlock() -> None:
    control = Control()
    sampling = Sampling(seed=0, max_new_tokens=16, max_denoising_steps=2, on_limit="ask")
    answered = []
    for event in Session(FakeModel(3.0)).generate(PROMPT, sampling, control):
        if isinstance(event, Block):
            answered.append(event.block)
            control.commit() if len(answered) > 1 else control.extend(1)
    assert answered == [1, 1, 2]


def test_ask_without_a_control_is_refused() -> None:
    with pytest.raises(SamplingError, match="Control"):
        Session(FakeModel()).generate(PROMPT, Sampling(on_limit="ask"))


def test_bad_orders_are_refused() -> None:
    control = Control()
    with pytest.raises(SamplingError, match="position -1"):
        control.pin(-1, 3)
    with pytest.raises(TokenIdError, match="-4"):
        control.pin(0, -4)
    with pytest.raises(SamplingError, match="extend"):
        control.extend(0)
    control.pin(8, 3)  # no canvas is known yet
    with pytest.raises(SamplingError, match="0 to 7"):
        Session(FakeModel()).generate(PROMPT, None, control)
    control.unpin(8)
    control.begin(8, 64)
    with pytest.raises(TokenIdError, match="0 to 63"):
        control.pin(0, 64)
