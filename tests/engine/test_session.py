"""A session on a fake model: what is encoded, what is re-used, how an answer ends, what is refused."""

from __future__ import annotations

import inspect
import math
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgengine.chat import EncodedChat
from dgengine.control import Control
from dgengine.errors import (
    EmptyPromptError,
    EngineError,
    NumericsError,
    PromptError,
    PromptTooLongError,
    SessionBusyError,
    TokenIdError,
)
from dgengine.events import Block, Done, Event, Notice, Prefill, Step
from dgengine.sampling import Sampling
from dgengine.session import Session
from tests.engine.fakes import FakeModel, answer_of

PROMPT = [5, 6, 7, 8]
EIGHT = Sampling(seed=0, max_new_tokens=8)


def ask(session: Session, ids: list[int], sampling: Sampling = EIGHT) -> list[Event]:
    return list(session.generate(ids, sampling))


def done_of(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


def test_the_order_of_events_and_their_numbers() -> None:
    model = FakeModel()
    events = ask(Session(model), PROMPT, Sampling(seed=0, max_new_tokens=20))
    assert [type(event).__name__ for event in events] == ["Prefill"] * 2 + ["Step", "Step", "Block"] * 3 + ["Done"]
    assert [(e.block, e.step) for e in events if isinstance(e, Step)] == [(b, s) for b in (1, 2, 3) for s in (1, 2)]
    assert [e.block for e in events if isinstance(e, Block)] == [1, 2, 3]
    step = next(e for e in events if isinstance(e, Step))
    planes = (step.draft, step.canvas, step.entropy, step.accepted, step.pinned)
    assert [p.dtype for p in planes] == [np.int32, np.int32, np.float32, np.bool_, np.bool_]
    assert all(isinstance(p, np.ndarray) and p.shape == (8,) for p in planes)


def test_every_block_sees_the_ones_before() -> None:
    model = FakeModel()
    answer = answer_of(ask(Session(model), PROMPT, Sampling(seed=0, max_new_tokens=24)))
    expected: list[int] = []
    for _ in range(3):
        expected += model.wanted(PROMPT + expected)
    assert answer == expected


@pytest.mark.parametrize("reference", [False, True])
def test_an_answer_has_the_length_asked_for_and_its_last_canvas_is_not_encoded(reference: bool) -> None:
    """The reference gives whole canvases."""
    model = FakeModel()
    events = ask(Session(model), PROMPT, Sampling(seed=0, max_new_tokens=9, reference=reference))
    assert len(answer_of(events)) == (16 if reference else 9)
    assert model.encoded == [PROMPT, answer_of(events)[:8]]
    done = done_of(events)
    assert (done.reason, done.stats.tokens) == ("length", len(answer_of(events)))


def test_an_end_that_comes_too_late_is_no_end() -> None:
    model = FakeModel()
    wanted = model.wanted(PROMPT)
    for longest, reason in ((3, "length"), (4, "eos")):
        session = Session(FakeModel(), {"eos_token_id": [wanted[3]]})
        events = ask(session, PROMPT, Sampling(seed=0, max_new_tokens=longest))
        assert answer_of(events) == wanted[:longest] and done_of(events).reason == reason


def test_eos_cuts_the_answer_and_is_its_last_token() -> None:
    model = FakeModel()
    wanted = model.wanted(PROMPT)
    session = Session(model, {"eos_token_id": [wanted[5], wanted[3]]})
    events = ask(session, PROMPT, Sampling(seed=0, max_new_tokens=80))
    assert answer_of(events) == wanted[:4]
    done = done_of(events)
    assert (done.reason, done.stats.tokens, done.stats.blocks) == ("eos", 4, 1)
    assert session.held == tuple(PROMPT), "the canvas with the EOS is not encoded"


def test_stats() -> None:
    session = Session(FakeModel())
    ask(session, PROMPT)
    done = done_of(ask(session, [*PROMPT, 9, 9], Sampling(seed=3, max_new_tokens=16)))
    stats = done.stats
    assert (stats.tokens, stats.blocks, stats.steps_per_block, stats.tokens_per_forward) == (16, 2, (2, 2), 4.0)
    assert (stats.prefill_encoded, stats.prefill_reused, stats.seed) == (2 + 8, 4, 3)
    assert 0 < stats.ms_per_step < 1000 * stats.seconds
    assert stats.tokens_per_second == pytest.approx(16 / stats.seconds)
    assert stats.peak_memory_bytes > 1 << 20


def test_time_of_the_consumer_is_not_counted() -> None:
    events = []
    for event in Session(FakeModel()).generate(PROMPT, EIGHT):
        threading.Event().wait(0.1)
        events.append(event)
    assert done_of(events).stats.seconds < 0.3


def test_a_seed_repeats_an_answer_and_is_reported() -> None:
    def run(seed: int | None) -> tuple[list[int], int]:
        model = FakeModel(sharpness=2.0)
        events = ask(Session(model), PROMPT, Sampling(seed=seed, max_new_tokens=8, max_denoising_steps=5))
        return model.canvases[-1], done_of(events).stats.seed

    canvas, seed = run(None)
    assert run(seed) == (canvas, seed)
    assert run(seed + 1)[0] != canvas


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    for reference in (True, False):
        ask(Session(FakeModel()), PROMPT, Sampling(seed=0, reference=reference, max_new_tokens=8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_only_what_is_new_is_encoded() -> None:
    model = FakeModel()
    session = Session(model)
    answer = answer_of(ask(session, PROMPT, Sampling(seed=0, max_new_tokens=16)))
    model.encoded.clear()
    events = ask(session, [*PROMPT, *answer, 50, 51])
    assert model.encoded == [[*answer[8:], 50, 51]]
    assert events[0] == Prefill(0, 10, 12)
    model.encoded.clear()
    assert ask(session, [*PROMPT, *answer, 50, 51])[0] == Prefill(0, 0, 22)
    assert model.encoded == []


def test_an_edit_rolls_back_to_the_common_prefix() -> None:
    model = FakeModel()
    session = Session(model)
    ask(session, [1, 2, 3, 4, 5])
    model.encoded.clear()
    assert ask(session, [1, 2, 9])[0] == Prefill(0, 1, 2)
    assert list(session.held) == [1, 2, 9]
    assert ask(session, [1, 2])[0] == Prefill(0, 0, 2)
    assert list(session.held) == [1, 2]


def test_a_roll_back_that_loses_more_is_encoded_again() -> None:
    model = FakeModel(slack=2)
    session = Session(model)
    ask(session, [1, 2, 3, 4, 5])
    events = ask(session, [1, 2, 9])
    assert events[0] == Prefill(0, 3, 0)
    assert session.held == (1, 2, 9)


turns = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.integers(0, 63), min_size=1, max_size=6), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(turns=turns, slack=st.integers(0, 12))
def test_any_history_of_turns_answers_like_a_fresh_session(turns: list[Any], slack: int) -> None:
    """Each turn keeps a prefix of the conversation (append, edit, branch), adds to it, and may take the answer in."""
    session = Session(FakeModel(slack=slack))
    conversation: list[int] = []
    for keep, new, take in turns:
        conversation = conversation[:keep] + new
        answer = answer_of(ask(session, conversation))
        assert answer == answer_of(ask(Session(FakeModel()), conversation))
        if take:
            conversation += answer


def test_a_long_prompt_reports_progress_and_hears_a_cancel() -> None:
    model = FakeModel(max_position_embeddings=4096)
    control = Control()
    events = []
    for event in Session(model).generate([3] * 2000, EIGHT, control):
        events.append(event)
        if isinstance(event, Prefill) and event.done >= 1000:
            control.cancel()
    progress = [event.done for event in events if isinstance(event, Prefill)]
    assert progress == [0, 512, 1024]
    assert done_of(events).reason == "cancelled"
    assert done_of(events).stats.prefill_encoded == 1024


def test_dropped_turns_are_said() -> None:
    events = ask(Session(FakeModel()), EncodedChat(PROMPT, dropped=4))
    assert isinstance(events[0], Notice)
    assert (events[0].kind, events[0].count) == ("dropped", 4)
    assert "4 oldest messages" in events[0].text
    assert not any(isinstance(event, Notice) for event in ask(Session(FakeModel()), PROMPT))


@pytest.mark.parametrize(
    ("ids", "error", "says"),
    [
        ([], EmptyPromptError, "empty"),
        ([3, 64], TokenIdError, "64.*0 to 63"),
        ([-1, 3], TokenIdError, "-1.*0 to 63"),
        ([1.5], TokenIdError, "1.5"),
        ([3] * 505, PromptTooLongError, "505.*8.*512.*shorten"),
    ],
)
def test_prompts_that_cannot_be_answered(ids: list[Any], error: type[EngineError], says: str) -> None:
    session = Session(FakeModel())
    with pytest.raises(error, match=says) as caught:
        session.generate(ids, EIGHT)
    assert isinstance(caught.value, PromptError)
    assert len(list(session.generate([3] * 504, EIGHT))) > 3, "what just fits is answered"


def test_ids_may_be_an_array_or_a_tensor() -> None:
    expected = answer_of(ask(Session(FakeModel()), PROMPT))
    for ids in (np.array(PROMPT), torch.tensor(PROMPT), tuple(PROMPT)):
        assert answer_of(list(Session(FakeModel()).generate(ids, EIGHT))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_ends_in_an_error_and_a_usable_session(value: float) -> None:
    model = FakeModel()
    model.poison[3] = value  # the first step of the second block
    session = Session(model)
    events: list[Event] = []
    with pytest.raises(NumericsError, match=r"block 2, step 1.*float32"):
        events.extend(session.generate(PROMPT, Sampling(seed=0, max_new_tokens=24)))
    assert session.held == ()
    assert answer_of(ask(session, PROMPT)) == answer_of(ask(Session(FakeModel()), PROMPT))


def test_an_encode_that_fails_empties_the_cache() -> None:
    class Failing(FakeModel):
        def encode(self, ids: torch.Tensor, cache: Any) -> None:
            super().encode(ids, cache)
            if 50 in ids:
                raise RuntimeError("an illegal instruction")

    session = Session(Failing())
    ask(session, PROMPT)
    with pytest.raises(RuntimeError, match="illegal instruction"):
        ask(session, [*PROMPT, 50])
    assert session.held == ()
    assert answer_of(ask(session, PROMPT)) == answer_of(ask(Session(FakeModel()), PROMPT))


def test_a_new_answer_ends_one_left_half_way() -> None:
    session = Session(FakeModel())
    first = session.generate(PROMPT, EIGHT)
    next(first)
    assert done_of(ask(session, [9, 9])).reason == "length"
    assert list(first) == []


def test_two_answers_at_once_are_refused() -> None:
    session = Session(FakeModel())
    control = Control()
    control.pause()
    run = session.generate(PROMPT, EIGHT, control)
    thread = threading.Thread(target=lambda: list(run), daemon=True)
    thread.start()
    while inspect.getgeneratorstate(run) != inspect.GEN_RUNNING:
        threading.Event().wait(0.001)
    with pytest.raises(SessionBusyError, match="still writing"):
        session.generate(PROMPT, EIGHT)
    control.cancel()
    thread.join(timeout=10)
    assert done_of(ask(session, PROMPT)).reason == "length"


def test_inference_mode_does_not_leak_to_the_consumer() -> None:
    for _ in Session(FakeModel()).generate(PROMPT, EIGHT):
        assert not torch.is_inference_mode_enabled()
