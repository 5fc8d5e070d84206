"""Memory that runs out in the middle of an answer: one clear error, and a session that goes on as if it were new."""

from __future__ import annotations

import functools
from collections.abc import Container
from typing import Any

import pytest
import torch
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.errors import DeviceError, InsufficientMemoryError
from dgengine.events import Candidate, Event, Step
from dgengine.feed_forward import feed_forward
from dgengine.infill.request import InfillRequest
from dgengine.sampler import BlockSampler
from dgengine.sampling import Sampling
from dgengine.session import Session
from tests.engine.fakes import FakeModel, answer_of
from tests.engine.infill.test_infill import RandomModel
from tests.engine.infill.test_passage import codec
from tests.engine.tiny import tiny_checkpoint

PROMPT = [5 + number % 50 for number in range(300)]
SAMPLING = Sampling(seed=0, max_new_tokens=150)
REQUEST = InfillRequest.around("The mole said to the owl that it found", " a kite", " on the hill by the river.")
CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
errors = pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 268.00 MiB."),
        RuntimeError(CPU),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)


class Failing:
    """A model that raises at the calls with these numbers, all methods counted through from 1."""

    def __init__(self, model: Any, error: Exception, fails: Container[int]) -> None:
        self.model = model
        self.error = error
        self.fails = fails
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode(self, ids: Tensor, cache: Any) -> None:
        if self._fail():
            self.model.encode(ids[:3], cache)  # torn
            raise self.error
        self.model.encode(ids, cache)

    def decode(self, canvas: Tensor, cache: Any, self_conditioning: Tensor | None = None) -> Tensor:
        if self._fail():
            raise self.error
        return self.model.decode(canvas, cache, self_conditioning)  # type: ignore[no-any-return]

    def score(self, ids: Tensor, cache: Any) -> Tensor:
        if self._fail():
            raise self.error
        return self.model.score(ids, cache)  # type: ignore[no-any-return]

    def _fail(self) -> bool:
        self.calls += 1
        return self.calls in self.fails


def asked(session: Session) -> list[int]:
    return answer_of(list(session.generate(PROMPT, SAMPLING)))


def asked_for_more(session: Session) -> list[int]:
    """Of a `RandomModel`, whose words go by their places: behind one token more, none ends the first canvas."""
    return answer_of(list(session.generate([*PROMPT, 5], SAMPLING)))


def rewritten(session: Session) -> list[tuple[str, ...]]:
    events: list[Event] = list(session.infill(REQUEST, Sampling(seed=1)))
    return [event.replacements for event in events if isinstance(event, Candidate)]


def session_on(model: Any) -> Session:
    return Session(model, {"eos_token_id": [1, 4], "max_denoising_steps": 6}, codec)


@functools.cache
def fresh(rewrites: bool) -> tuple[Any, int]:
    """What a session answers on a model that never fails, and how many calls that takes."""
    model = Failing(RandomModel(), MemoryError(), ())
    return (rewritten if rewrites else asked_for_more)(session_on(model)), model.calls


# a single failure, wherever it comes


@pytest.mark.parametrize("rewrites", [False, True])
def test_after_a_failure_anywhere_the_session_answers_like_a_fresh_one(rewrites: bool) -> None:
    expected, calls = fresh(rewrites)
    answer = rewritten if rewrites else asked_for_more
    assert calls > 5
    for at in range(1, calls + 1):
        model = Failing(RandomModel(), torch.OutOfMemoryError("CUDA out of memory."), {at})
        session = session_on(model)
        try:
            assert answer(session) == expected  # an encoding that failed was made in shorter passes
        except InsufficientMemoryError:
            assert session.held == ()
        assert answer(session) == expected
        assert answer(session) == expected


@errors
def test_a_step_that_fails_says_what_to_do(error: Exception) -> None:
    session = session_on(Failing(FakeModel(), error, {3}))
    events: list[Event] = []
    with pytest.raises(InsufficientMemoryError) as caught:
        events.extend(session.generate(PROMPT, SAMPLING))
    assert str(caught.value) == (
        "In a denoising step with 308 tokens the memory ran out: shorten the chat or the text, close other programs, "
        "or load the model at a smaller precision, such as nvfp4+fp8."
    )
    assert isinstance(caught.value, DeviceError)
    assert caught.value.__cause__ is error


def test_other_errors_are_left_alone() -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    for at in (1, 2):
        session = session_on(Failing(FakeModel(), error, {at}))
        with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
            asked(session)
        assert caught.value is error


def test_the_sampler_may_fail_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_on(FakeModel())
    with monkeypatch.context() as patch:
        patch.setattr(BlockSampler, "step", _raise)
        with pytest.raises(InsufficientMemoryError, match="denoising step"):
            asked(session)
    assert asked(session) == asked(session_on(FakeModel()))


def _raise(*args: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


# encoding


def test_encoding_goes_on_in_shorter_passes() -> None:
    inner = FakeModel(max_position_embeddings=2048)
    session = session_on(Failing(inner, MemoryError(), {2}))
    prompt = PROMPT * 3  # 512 tokens, and 388 that fail
    answer = answer_of(list(session.generate(prompt, SAMPLING)))
    assert answer == answer_of(list(session_on(FakeModel(max_position_embeddings=2048)).generate(prompt, SAMPLING)))
    lengths = [len(piece) for piece in inner.encoded]
    assert lengths[:2] == [512, 3]  # what was torn
    assert lengths[2:7] == [194] * 4 + [900 - 4 * 194]
    assert session.held[:900] == tuple(prompt)


def test_encoding_that_fails_again_is_given_up() -> None:
    model = Failing(FakeModel(), MemoryError(), range(1, 5))
    session = session_on(model)
    for calls in (2, 4):
        with pytest.raises(InsufficientMemoryError, match="In reading the text with 300 tokens the memory ran out"):
            asked(session)
        assert (model.calls, session.held) == (calls, ())
    assert asked(session) == asked(session_on(FakeModel()))


# a real network


@pytest.mark.parametrize("at", [1, 3, 8, 11])
def test_a_network_that_fails_in_a_layer(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, sampling = [5, 6, 7, 8, 9] * 6, Sampling(seed=0, max_new_tokens=16, max_denoising_steps=3)
    model = load_model(tiny_checkpoint())
    session = Session(model)
    calls = 0

    def failing(*args: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls in (at, at + 1):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return feed_forward(*args)

    with monkeypatch.context() as patch, pytest.raises(InsufficientMemoryError):
        patch.setattr("dgengine.stack.feed_forward", failing)
        for _ in range(3):
            list(session.generate(prompt, sampling))
    again = list(session.generate(prompt, sampling))
    expected = list(Session(load_model(tiny_checkpoint())).generate(prompt, sampling))
    assert answer_of(again) == answer_of(expected)
    drafts = [[event.draft.tolist() for event in events if isinstance(event, Step)] for events in (again, expected)]
    assert drafts[0] == drafts[1]
