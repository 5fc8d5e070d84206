"""The engine's thread and its mailbox."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.host import Answered, EngineHost, Failed, Loading, Mailbox, Post, Ready
from dgchat.settings import load
from dgengine import Block, Done, Step, errors
from tests.tui.fakes import FakeEngine

WAIT = 20.0  # seconds; only a test that fails waits so long


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans())), st.lists(st.integers(0, 60)))
def test_the_mailbox_drops_only_what_a_newer_one_replaces(posts: list[tuple[int, bool]], drains: list[int]) -> None:
    mailbox, out, empty = Mailbox(), [], True
    for place, (number, replaceable) in enumerate(posts):
        post = Loading(f"{number}{'r' if replaceable else ''}")
        assert mailbox.put(post, replaceable) is empty
        empty = False
        if place in drains:
            out += mailbox.drain()
            empty = True
    out += mailbox.drain()
    kept = [post for post in out if isinstance(post, Loading) and not post.text.endswith("r")]
    assert [post.text for post in kept] == [str(number) for number, replaceable in posts if not replaceable]
    if posts:
        assert out[-1] == Loading(f"{posts[-1][0]}{'r' if posts[-1][1] else ''}")


class Driver:
    """A host whose mail is read on the thread of the test."""

    def __init__(self, engine: FakeEngine | Exception, start: bool = True, **flags: Any) -> None:
        def load_engine(*_: object, **__: object) -> FakeEngine:
            if isinstance(engine, Exception):
                raise engine
            return engine

        self._mail = threading.Semaphore(0)
        self.seen: list[Post] = []
        self.host = EngineHost(load({"pace": 0.0, **flags}, {}), self._mail.release, load_engine)  # type: ignore[arg-type]
        if start:
            self.host.start()

    def until(self, kind: type, count: int = 1) -> list[Post]:
        """All posts so far, once there are `count` of `kind` (or events of it)."""
        while sum(isinstance(getattr(post, "event", post), kind) for post in self.seen) < count:
            assert self._mail.acquire(timeout=WAIT), f"no {kind.__name__} after {WAIT} s: {self.seen}"
            self.seen += self.host.mailbox.drain()
        return self.seen


def test_it_loads_and_answers() -> None:
    engine = FakeEngine("A quiet fox found a lantern.", canvas=4, steps=3)
    driver = Driver(engine)
    turn = driver.host.ask([{"role": "user", "content": "Hello"}])
    posts = driver.until(Done)
    assert isinstance(posts[0], Loading) and Ready(engine) in posts  # type: ignore[arg-type]
    answered = [post for post in posts if isinstance(post, Answered)]
    assert {post.turn for post in answered} == {turn}
    assert [post.event.block for post in answered if isinstance(post.event, Block)] == [1, 2]
    assert isinstance(answered[-1].event, Done) and answered[-1].event.reason == "eos"
    assert engine.asked == [[{"role": "user", "content": "Hello"}]]


def test_a_conversation_keeps_its_session_until_it_is_forgotten() -> None:
    engine = FakeEngine("One.", "Two.")
    driver = Driver(engine)
    for count in (1, 2):
        driver.host.ask([{"role": "user", "content": "Hello"}])
        driver.until(Done, count)
    assert engine.sessions == 1
    driver.host.forget()
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done, 3)
    assert engine.sessions == 2


def test_what_is_asked_before_the_start_is_answered() -> None:
    driver = Driver(FakeEngine("Fine."), start=False)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.host.start()
    driver.until(Done)


def test_stop_ends_the_answer() -> None:
    driver = Driver(FakeEngine("A long answer. " * 200, steps=50, delay=0.01))
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Step)
    driver.host.stop()
    last = driver.until(Done)[-1]
    assert isinstance(last, Answered) and isinstance(last.event, Done) and last.event.reason == "cancelled"


def test_stop_before_the_model_is_there_counts() -> None:
    driver = Driver(FakeEngine("A long answer. " * 200, steps=50, delay=0.01))
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.host.stop()
    last = driver.until(Done)[-1]
    assert isinstance(last, Answered) and isinstance(last.event, Done) and last.event.reason == "cancelled"


def test_a_model_that_does_not_load_is_told_in_a_sentence() -> None:
    driver = Driver(errors.ModelNotFoundError("No model is called \x1b[31mx."))
    driver.host.ask([{"role": "user", "content": "Hello"}])
    assert driver.until(Failed)[-1] == Failed(0, "No model is called x.")


def test_an_answer_that_fails_is_told_and_the_next_one_works(own_state: object) -> None:
    engine = FakeEngine("Some answer.", steps=4)
    engine.error = errors.NumericsError("The model's output holds NaN.")
    driver = Driver(engine)
    turn = driver.host.ask([{"role": "user", "content": "Hello"}])
    assert driver.until(Failed)[-1] == Failed(turn, "The model's output holds NaN.")
    engine.error = None
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)


def test_an_unexpected_error_is_logged(own_state: Any) -> None:
    engine = FakeEngine("Some answer.", steps=4)
    engine.error = ZeroDivisionError("division by zero")
    driver = Driver(engine)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    failed = driver.until(Failed)[-1]
    assert isinstance(failed, Failed)
    assert "ZeroDivisionError: division by zero" in failed.text and str(own_state) in failed.text
    assert "Traceback" in own_state.read_text("utf-8")


def test_pace_slows_a_fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(FakeEngine("Hi.", steps=5), pace=200.0)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    steps = [post for post in driver.seen if isinstance(post, Answered) and isinstance(post.event, Step)]
    assert len(steps) >= 2  # without a pace, one drain would find the last one alone
