"""The engine's thread and its mailbox."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.host import Answered, EngineHost, Failed, Loading, Mailbox, Outlet, Post, Ready
from dgchat.settings import Settings, load
from dgengine import Block, Candidate, Done, Hole, InfillRequest, Step, errors
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

    def __init__(self, engine: FakeEngine | BaseException, start: bool = True, **flags: Any) -> None:
        def load_engine(*_: object, **__: object) -> FakeEngine:
            if isinstance(engine, BaseException):
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


@pytest.mark.parametrize(("device", "kept"), [("cpu", 5), ("cuda:0", 0)])
def test_candidates_are_kept_where_they_cost_little(device: str, kept: int) -> None:
    engine = FakeEngine("Fine.")
    engine.info = replace(engine.info, device=device)
    driver = Driver(engine)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    assert [sampling.trace_top_k for sampling in engine.samplings if sampling] == [kept]


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
    failed = driver.until(Failed)[-1]
    assert isinstance(failed, Failed) and (failed.turn, failed.text) == (0, "No model is called x.")
    assert "Traceback" in failed.details


def test_an_answer_that_fails_is_told_and_the_next_one_works(own_state: object) -> None:
    engine = FakeEngine("Some answer.", steps=4)
    engine.error = errors.NumericsError("The model's output holds NaN.")
    driver = Driver(engine)
    turn = driver.host.ask([{"role": "user", "content": "Hello"}])
    failed = driver.until(Failed)[-1]
    assert isinstance(failed, Failed) and (failed.turn, failed.text) == (turn, "The model's output holds NaN.")
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


# ---- a block that does not settle


def unsettled() -> FakeEngine:
    engine = FakeEngine("One two three four five six.", canvas=4, steps=3)
    engine.unsettled = {1}
    return engine


def blocks(posts: list[Post]) -> list[Block]:
    events = [post.event for post in posts if isinstance(post, Answered)]
    return [event for event in events if isinstance(event, Block)]


def test_a_block_that_waits_may_have_more_steps() -> None:
    engine = unsettled()
    driver = Driver(engine)
    driver.host.ask([{"role": "user", "content": "Hello"}], asks=True)
    driver.until(Block)
    driver.host.extend(16)
    found = blocks(driver.until(Done))
    assert [(block.block, block.waiting, block.converged) for block in found] == [
        (1, True, False), (1, False, True), (2, False, True),
    ]  # fmt: skip
    assert engine.extensions == [16]


def test_a_block_that_waits_may_be_kept() -> None:
    engine = unsettled()
    driver = Driver(engine)
    driver.host.ask([{"role": "user", "content": "Hello"}], asks=True)
    driver.until(Block)
    driver.host.commit()
    assert [block.block for block in blocks(driver.until(Done))] == [1, 2]
    assert engine.extensions == []


def test_a_block_that_waits_may_end_the_answer() -> None:
    driver = Driver(unsettled())
    driver.host.ask([{"role": "user", "content": "Hello"}], asks=True)
    driver.until(Block)
    driver.host.stop()
    last = driver.until(Done)[-1]
    assert isinstance(last, Answered) and isinstance(last.event, Done) and last.event.reason == "cancelled"


def test_who_does_not_ask_is_not_asked() -> None:
    driver = Driver(unsettled())
    driver.host.ask([{"role": "user", "content": "Hello"}])
    assert not any(block.waiting for block in blocks(driver.until(Done)))


def test_extending_and_committing_without_an_answer_do_nothing() -> None:
    driver = Driver(FakeEngine("Fine."))
    driver.host.extend(16)
    driver.host.commit()
    driver.host.stop()
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)


def test_the_model_is_told_whether_to_think() -> None:
    engine = FakeEngine("Fine.")
    driver = Driver(engine)
    for thinking in (True, False):
        driver.host.ask([{"role": "user", "content": "Hello"}], thinking=thinking)
    driver.until(Done, 2)
    assert engine.thought == [True, False]


# ---- after a fault


def test_the_model_is_loaded_again() -> None:
    engine = FakeEngine("Fine.")
    driver = Driver(errors.ModelNotFoundError("Not there."))
    driver.until(Failed)
    driver.host._load = lambda *_, **__: engine  # type: ignore[assignment]
    driver.host.load_again()
    driver.until(Ready)
    driver.host.load_again()
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    assert sum(isinstance(post, Ready) for post in driver.seen) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_while_it_loads_is_begun_anew() -> None:
    driver = Driver(SystemExit())
    first = driver.host._thread
    failed = driver.until(Failed)[-1]
    assert isinstance(failed, Failed) and failed.turn == 0 and "starts it anew" in failed.text
    driver.host._load = lambda *_, **__: FakeEngine("Fine.")  # type: ignore[assignment]
    driver.host.load_again()
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    assert driver.host._thread is not first
    assert sum(isinstance(post, Ready) for post in driver.seen) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_in_an_answer_is_begun_anew_with_the_same_model() -> None:
    engine = FakeEngine("Fine.")
    engine.error = SystemExit()
    driver = Driver(engine)
    turn = driver.host.ask([{"role": "user", "content": "Hello"}])
    failed = driver.until(Failed)[-1]
    assert isinstance(failed, Failed) and failed.turn == turn
    engine.error = None
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    assert engine.sessions == 2 and sum(isinstance(post, Ready) for post in driver.seen) == 1


def test_memory_that_has_run_out_is_given_back() -> None:
    engine = FakeEngine("Fine.")
    engine.error = MemoryError()
    driver = Driver(engine)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    failed = driver.until(Failed)[-1]
    assert isinstance(failed, Failed) and "not enough memory" in failed.text
    assert engine.sessions == 2


# ---- rewriting


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, None]), st.integers(0, 99))))
def test_of_each_kind_the_newest_waits_and_nothing_else_is_lost(posts: list[tuple[int | None, int]]) -> None:
    mailbox = Mailbox()
    for kind, number in posts:
        mailbox.put(Loading(f"{kind} {number}"), kind is not None, kind)
    found = [post.text for post in mailbox.drain() if isinstance(post, Loading)]
    expected: list[str] = []
    for kind, number in posts:
        last = next((place for place in range(len(expected) - 1, -1, -1) if expected[place].startswith("None")), -1)
        if kind is not None:
            expected = [text for place, text in enumerate(expected) if place <= last or not text.startswith(f"{kind} ")]
        expected.append(f"{kind} {number}")
    assert found == expected


REQUEST = InfillRequest("One day Mia found a kite.", ((12, 24),))


def rewritten(driver: Driver, seed: int | None = None) -> tuple[int, Outlet, threading.Semaphore]:
    """Asks for a rewrite; its number, its outlet, and what is released when that has something."""
    mail = threading.Semaphore(0)
    outlet = Outlet(mail.release)
    return driver.host.infill(REQUEST, outlet, seed), outlet, mail


def wait_for(outlet: Outlet, mail: threading.Semaphore, kind: type) -> list[Post]:
    seen: list[Post] = []
    while not any(isinstance(getattr(post, "event", post), kind) for post in seen):
        assert mail.acquire(timeout=WAIT), f"no {kind.__name__} after {WAIT} s: {seen}"
        seen += outlet.mailbox.drain()
    return seen


def test_a_rewrite_has_its_own_mailbox_and_its_own_session() -> None:
    engine = FakeEngine("Fine.", steps=4)
    driver = Driver(engine, seed=3)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    turn, outlet, mail = rewritten(driver)
    posts = wait_for(outlet, mail, Done)
    assert {post.turn for post in posts if isinstance(post, Answered)} == {turn}
    events = [post.event for post in posts if isinstance(post, Answered)]
    assert [sum(isinstance(event, kind) for event in events) for kind in (Hole, Candidate)] == [3, 3]
    assert {event.candidate for event in events if isinstance(event, Step)} <= {0, 1, 2}
    assert not any(isinstance(getattr(post, "event", None), Hole) for post in driver.seen) and engine.sessions == 2
    turn, outlet, mail = rewritten(driver, seed=9)
    wait_for(outlet, mail, Done)
    assert [sampling.seed for _, sampling in engine.requests if sampling is not None] == [3, 9]
    assert engine.sessions == 2 and not driver.host.mailbox.drain()


def test_a_rewrite_is_stopped_held_and_steered() -> None:
    engine = FakeEngine(steps=4, stepwise=True)
    driver = Driver(engine)
    _, outlet, mail = rewritten(driver)
    engine.permit()
    wait_for(outlet, mail, Step)
    driver.host.pin(4, engine.vocabulary.encode(" owl")[0], 1)
    engine.permit(10)
    found = [post.event for post in wait_for(outlet, mail, Done) if isinstance(post, Answered)]
    assert any(isinstance(event, Candidate) and "owl" in event.text for event in found)
    engine.permits = threading.Semaphore(0)
    _, outlet, mail = rewritten(driver)
    driver.host.stop()
    last = wait_for(outlet, mail, Done)[-1]
    assert isinstance(last, Answered) and isinstance(last.event, Done) and last.event.reason == "cancelled"


def test_a_rewrite_that_fails_is_told_where_it_was_asked_for(own_state: object) -> None:
    engine = FakeEngine("Fine.", steps=4)
    engine.error = RuntimeError("odd")
    driver = Driver(engine)
    turn, outlet, mail = rewritten(driver)
    failed = wait_for(outlet, mail, Failed)[-1]
    assert isinstance(failed, Failed) and failed.turn == turn and "odd" in failed.text
    engine.error = None
    driver.host.ask([{"role": "user", "content": "Hello"}])
    assert not any(isinstance(post, Failed) for post in driver.until(Done))


def test_there_is_no_rewrite_without_a_model() -> None:
    driver = Driver(errors.ModelNotFoundError("No model is called x."))
    turn, outlet, mail = rewritten(driver)
    failed = wait_for(outlet, mail, Failed)[-1]
    assert isinstance(failed, Failed) and failed.turn == turn and "could not be loaded" in failed.text


class Models:
    """Loads one engine after another, each when it is allowed to."""

    def __init__(self, *engines: FakeEngine) -> None:
        self.engines = list(engines)
        self.asked: list[str] = []
        self.may = threading.Semaphore(0)
        self._began = threading.Event()

    def is_asked(self) -> None:
        """Waits for the first to be asked for."""
        assert self._began.wait(WAIT)

    def __call__(self, name: str, progress: Callable[[str, float], None], **_: object) -> FakeEngine:
        self.asked.append(name)
        self._began.set()
        engine = self.engines[len(self.asked) - 1]
        assert self.may.acquire(timeout=WAIT)
        progress("download", 0.5)
        return engine


def switching(*engines: FakeEngine) -> tuple[Driver, Models]:
    driver, models = Driver(engines[0], start=False, model="a"), Models(*engines)
    driver.host._load = models  # type: ignore[assignment]
    driver.host.start()
    return driver, models


def named(name: str) -> Settings:
    return load({"pace": 0.0, "model": name}, {})


def test_another_model_takes_the_place_of_one_that_is_being_loaded() -> None:
    first, second = FakeEngine("one", name="a"), FakeEngine("two", name="b")
    driver, models = switching(first, second)
    driver.until(Loading)
    models.is_asked()
    driver.host.use(named("b"))
    models.may.release(2)
    posts = driver.until(Ready)
    assert [post.engine.info.name for post in posts if isinstance(post, Ready)] == ["b"]
    assert not [post for post in posts if isinstance(post, Failed)] and models.asked == ["a", "b"]
    assert not any("a 50%" in post.text or "a ━" in post.text for post in posts if isinstance(post, Loading))
    driver.host.ask([{"role": "user", "content": "Hello"}])
    driver.until(Done)
    assert second.asked and not first.asked
    driver.host.close()


def test_of_several_that_are_wanted_in_turn_the_last_is_loaded() -> None:
    engines = [FakeEngine(name=name) for name in "abc"]
    driver, models = switching(engines[0], engines[2])
    models.is_asked()
    for name in "bc":
        driver.host.use(named(name))
    models.may.release(9)
    driver.until(Ready)
    assert models.asked == ["a", "c"] and driver.host.engine is not None
    driver.host.close()


def test_a_model_is_changed_while_a_question_is_read() -> None:
    class Slow(FakeEngine):
        def encode_chat(self, *args: Any, **options: Any) -> list[int]:
            reading.set()
            assert go_on.wait(WAIT)
            return super().encode_chat(*args, **options)

    reading, go_on = threading.Event(), threading.Event()
    driver, models = switching(Slow("one", name="a"), FakeEngine("two", name="b"))
    models.may.release(2)
    driver.until(Ready)
    driver.host.ask([{"role": "user", "content": "Hello"}])
    assert reading.wait(WAIT)
    driver.host.use(named("b"))
    go_on.set()
    posts = driver.until(Ready, 2)
    assert not [post for post in posts if isinstance(post, Failed)]
    driver.host.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_another_model_after_a_thread_that_has_died() -> None:
    driver, models = switching(FakeEngine(name="a"), FakeEngine(name="b"))
    models.may.release(9)
    driver.until(Ready)
    driver.host._jobs.put(_die)
    driver.host._thread.join(WAIT)
    driver.host.use(named("b"))
    driver.until(Ready, 2)
    assert models.asked == ["a", "b"]
    driver.host.close()


def _die() -> None:
    raise SystemExit
