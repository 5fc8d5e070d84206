"""One step over fixed buffers against `BlockSampler`, on what any model may say."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgengine.counter import key_of
from dgengine.errors import NumericsError
from dgengine.graphs.state import BlockState, HeldSoftmax, Record
from dgengine.sampler import BlockSampler
from dgengine.sampling import Sampling
from dgkernels.outcome import Outcome, Softmax

C, V, D = 6, 16, 8
ENTROPIES = st.sampled_from([0.0, 0.0, 1e-4, 0.004, 0.03, 0.05, 0.5, 2.0])


class Saying:
    """A model that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.next: Outcome | None = None
        self.canvas: list[int] = []
        self.temperature = 0.0
        self.mean: Tensor | None = None

    def denoise(
        self, canvas: Tensor, frame: Any, conditioning: Softmax, temperature: Tensor, uniforms: Tensor, into: Softmax
    ) -> Outcome:
        assert self.next is not None
        self.canvas, self.temperature = canvas.tolist(), float(temperature)
        self.mean = conditioning.mean(embedding())
        into.weights.copy_(self.next.softmax.weights)
        into.totals.copy_(self.next.softmax.totals)
        return self.next


def embedding() -> Tensor:
    return torch.randn(V, D, generator=torch.Generator().manual_seed(0)).bfloat16()


def outcome(entropy: list[float], argmax: list[int], seed: int) -> Outcome:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(C, V, generator=generator).bfloat16()
    sample = torch.randint(0, V, (C,), generator=generator)
    return Outcome(torch.tensor(argmax), sample, torch.tensor(entropy), Softmax(weights, weights.float().sum(-1)))


steps = st.lists(
    st.tuples(
        st.lists(ENTROPIES, min_size=C, max_size=C),
        st.lists(st.sampled_from([1, 1, 1, 2]), min_size=C, max_size=C),
        st.dictionaries(st.integers(0, C - 1), st.integers(0, V - 1)),
    ),
    min_size=1,
    max_size=7,
)


@given(
    steps=steps,
    bound=st.sampled_from([1e-4, 0.05, 0.1, 1.0]),
    threshold=st.sampled_from([0.005, 0.1, 1.0]),
    stability=st.integers(0, 3),
)
def test_any_block_is_the_samplers(steps: list[Any], bound: float, threshold: float, stability: int) -> None:
    sampling = Sampling(
        seed=0,
        max_denoising_steps=5,
        entropy_bound=bound,
        confidence_threshold=threshold,
        stability_threshold=stability,
    ).resolve()
    sampler = BlockSampler(sampling, C, V, torch.Generator().manual_seed(1), torch.bfloat16, key_of(0, 1))
    state, model = BlockState(C, V, torch.device("cpu")), Saying()
    state.begin(sampler.canvas, sampler.key, sampling)
    for number, (entropy, argmax, pins) in enumerate(steps):
        sampler.pin(pins)
        canvas, temperature, previous = sampler.canvas.tolist(), sampler.temperature, sampler.self_conditioning
        mean = previous.mean(embedding()) if isinstance(previous, Softmax) else torch.zeros(C, D)
        wanted = sampler.take(outcome(entropy, argmax, number))
        model.next = outcome(entropy, argmax, number)
        state.pin(pins)
        state.advance(model, None)  # type: ignore[arg-type]
        found = Record.of(state.record.numpy().copy())
        assert (model.canvas, model.temperature) == (canvas, temperature)
        assert torch.equal(model.mean, mean)  # type: ignore[arg-type]
        for name in ("draft", "canvas", "entropy", "accepted", "pinned"):
            assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
        assert (found.converged, found.failed) == (sampler.converged, False)
        if found.converged:
            break


def test_a_step_after_the_last_changes_nothing() -> None:
    sampling = Sampling(seed=0, stability_threshold=0).resolve()
    state, model = BlockState(C, V, torch.device("cpu")), Saying()
    state.begin(torch.arange(C), 5, sampling)
    model.next = outcome([0.0] * C, [3] * C, 0)
    state.advance(model, None)  # type: ignore[arg-type]
    assert Record.of(state.record.numpy()).converged
    kept = {name: value.clone() for name, value in vars(state).items() if isinstance(value, Tensor)}
    model.next = outcome([1.0] * C, [4] * C, 1)
    state.advance(model, None)  # type: ignore[arg-type]
    changed = [name for name, value in kept.items() if not torch.equal(value, getattr(state, name))]
    assert changed == ["record"]


def test_what_is_not_finite_is_told_and_ends_it() -> None:
    sampling = Sampling(seed=0, stability_threshold=0, confidence_threshold=5.0).resolve()
    for value in (float("nan"), float("inf")):
        for pins in ({}, {2: 5}):  # a pin does not hide it
            state, model = BlockState(C, V, torch.device("cpu")), Saying()
            state.begin(torch.arange(C), 5, sampling)
            state.pin(pins)
            model.next = outcome([0.1, 0.1, value, 0.1, 0.1, 0.1], [3] * C, 0)
            state.advance(model, None)  # type: ignore[arg-type]
            assert Record.of(state.record.numpy()).failed
            sampler = BlockSampler(sampling, C, V, torch.Generator().manual_seed(1), torch.bfloat16)
            sampler.pin(pins)
            try:
                sampler.take(model.next)
            except NumericsError:
                continue
            raise AssertionError("the sampler saw nothing")


def test_a_softmax_that_holds_is_one_that_was_set() -> None:
    soft, again = (outcome([0.0] * C, [0] * C, 4).softmax for _ in range(2))
    at, ids = torch.tensor([1, 4]), torch.tensor([7, 2])
    soft.set(at, ids)
    held = torch.zeros(C, dtype=torch.bool).index_fill(0, at, True)
    every = torch.zeros(C, dtype=torch.int64).index_copy(0, at, ids)
    assert torch.equal(HeldSoftmax(again.weights, again.totals, held, every).mean(embedding()), soft.mean(embedding()))
