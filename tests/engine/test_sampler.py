"""One denoising step: its statistics against the reference's, its distribution, its pins, its stopping rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    EntropyBoundSampler,
    EntropyBoundSamplerConfig,
    LinearTemperatureScheduleLogitsProcessor,
    StableAndConfidentStoppingCriteria,
)

from dgengine.errors import NumericsError
from dgengine.sampler import (
    BlockSampler,
    accept,
    fast_statistics,
    reference_statistics,
    temperature_at,
)
from dgengine.sampling import ResolvedSampling, Sampling

C, V = 12, 96


def conditioning(sampler: BlockSampler) -> Tensor:
    """The logits that the next pass reads."""
    assert isinstance(sampler.self_conditioning, Tensor)
    return sampler.self_conditioning


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def resolved(**values: object) -> ResolvedSampling:
    return Sampling(seed=0, **values).resolve()  # type: ignore[arg-type]


def block(canvas: int = C, vocabulary: int = V, seed: int = 0, **values: object) -> BlockSampler:
    return BlockSampler(resolved(**values), canvas, vocabulary, generator(seed))


def peaked(tokens: list[int], vocabulary: int = V, height: float = 30.0) -> Tensor:
    logits = torch.zeros(len(tokens), vocabulary)
    logits[range(len(tokens)), tokens] = height
    return logits


@pytest.mark.parametrize(("steps", "t_min", "t_max"), [(48, 0.4, 0.8), (7, 0.1, 1.3), (1, 0.4, 0.8)])
def test_temperature_is_the_references_to_the_bit(steps: int, t_min: float, t_max: float) -> None:
    ours = resolved(max_denoising_steps=steps, t_min=t_min, t_max=t_max)
    theirs: Any = LinearTemperatureScheduleLogitsProcessor(t_min, t_max, steps)
    logits = torch.randn(1, 64, generator=generator())
    ids = torch.zeros(1, 1, dtype=torch.int64)
    for step in range(1, steps + 1):
        remaining = torch.tensor(steps - step + 1, dtype=torch.int32)
        assert torch.equal(logits / temperature_at(step, ours), theirs(ids, logits, cur_step=remaining))
    assert temperature_at(1, ours) == pytest.approx(t_max)
    assert temperature_at(steps + 5, ours) == temperature_at(steps, ours)


@pytest.mark.parametrize("statistics", [fast_statistics, reference_statistics])
@pytest.mark.parametrize(("vocabulary", "spread"), [(96, 1.0), (1024, 5.0), (131, 40.0), (77, 0.0)])
def test_entropy_and_argmax(statistics: Any, vocabulary: int, spread: float) -> None:
    logits = torch.randn(C, vocabulary, generator=generator()) * spread
    expected = torch.distributions.Categorical(logits=logits.double()).entropy()
    argmax = logits.argmax(-1)
    found = statistics(logits.clone(), generator())
    # The reference's formula subtracts logits of up to 100 and more, so that its float32 is worse than ours.
    tolerance = 2e-6 if statistics is fast_statistics else 2e-5
    torch.testing.assert_close(found.entropy.double(), expected, atol=tolerance, rtol=tolerance)
    assert torch.equal(found.argmax, argmax)
    assert bool(((found.sample >= 0) & (found.sample < vocabulary)).all())


def test_reference_statistics_are_the_references_to_the_bit() -> None:
    logits = torch.randn(C, V, generator=generator()) * 4
    found = reference_statistics(logits, generator(3))
    assert torch.equal(found.entropy, torch.distributions.Categorical(logits=logits).entropy())
    torch.manual_seed(3)
    assert torch.equal(found.sample, torch.multinomial(torch.softmax(logits, -1), 1).squeeze(-1))


@pytest.mark.parametrize("vocabulary", [64, 77, 320])
def test_the_fast_draw_follows_the_distribution(vocabulary: int) -> None:
    """Chi-square over 200,000 draws at a fixed seed: bins with at least 20 expected, the rest pooled."""
    rows, rounds = 2000, 100
    logits = torch.randn(1, vocabulary, generator=generator(1)) * 2
    probabilities = torch.softmax(logits.double(), -1).squeeze(0)
    counts = torch.zeros(vocabulary, dtype=torch.float64)
    draw = generator(2)
    for _ in range(rounds):
        sample = fast_statistics(logits.repeat(rows, 1), draw).sample
        counts += torch.bincount(sample, minlength=vocabulary)
    expected = probabilities * rows * rounds
    large = expected >= 20
    seen = torch.cat((counts[large], counts[~large].sum().unsqueeze(0)))
    wanted = torch.cat((expected[large], expected[~large].sum().unsqueeze(0)))
    chi_square = float(((seen - wanted) ** 2 / wanted).sum())
    freedom = len(wanted) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_the_fast_draw_never_takes_the_impossible() -> None:
    logits = torch.full((4000, 128), -1000.0)
    logits[:, 5] = logits[:, 70] = 0.0
    counts = torch.bincount(fast_statistics(logits, generator()).sample, minlength=128)
    assert int(counts[5] + counts[70]) == 4000
    assert abs(int(counts[5]) - 2000) < 200


@given(seed=st.integers(0, 10**6), spread=st.floats(0.5, 20.0), bound=st.floats(0.01, 20.0))
def test_acceptance_is_the_references(seed: int, spread: float, bound: float) -> None:
    logits = torch.randn(1, C, V, generator=generator(seed)) * spread
    theirs: Any = EntropyBoundSampler(EntropyBoundSamplerConfig(entropy_bound=bound), C, V, 48)
    canvas = torch.zeros(1, C, dtype=torch.int64)
    theirs.accept_canvas(canvas, canvas, logits, 1)
    entropy = torch.distributions.Categorical(logits=logits).entropy()[0]
    found = accept(entropy, bound)
    assert found.tolist() == theirs.accepted_token_mask[0].tolist()
    assert bool(found[entropy.argmin()]), "the surest position is always accepted"


def test_a_step_is_the_references_to_the_bit() -> None:
    """Many steps on random logits beside the reference's sampler and stopping rule, at the same seed."""
    sampler: Any = EntropyBoundSampler(EntropyBoundSamplerConfig(entropy_bound=0.5), C, V, 48)
    stopping: Any = StableAndConfidentStoppingCriteria(stability_threshold=1, confidence_threshold=0.4)
    ours = block(seed=5, reference=True, entropy_bound=0.5, confidence_threshold=0.4)
    torch.manual_seed(5)
    theirs = sampler.initialize_canvas(1, torch.device("cpu"))
    assert torch.equal(ours.canvas, theirs[0])
    base = torch.randn(C, V, generator=generator(9)) * 3
    converged = []
    for step in range(20):
        logits = base * (1 + step / 4)
        processed = (logits / temperature_at(step + 1, resolved())).unsqueeze(0)
        drawn = torch.multinomial(torch.softmax(processed, -1).view(-1, V), 1).view(1, C)
        accepted = sampler.accept_canvas(theirs, drawn, processed, 0)
        theirs = sampler.renoise_canvas(accepted, 0)
        done = bool(stopping(processed.argmax(-1), processed))
        draft = ours.step(logits.clone())
        assert torch.equal(ours.canvas, theirs[0])
        assert draft.accepted.tolist() == sampler.accepted_token_mask[0].tolist()
        assert draft.draft.tolist() == processed.argmax(-1)[0].tolist()
        assert ours.self_conditioning is not None
        assert torch.equal(conditioning(ours), processed[0])
        assert ours.converged == done
        converged.append(done)
    assert True in converged
    assert False in converged


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("stability", [0, 1, 3])
def test_stopping_needs_a_draft_that_stands_still(stability: int, reference: bool) -> None:
    ours = block(stability_threshold=stability, reference=reference)
    tokens = list(range(C))
    ours.step(peaked([t + 1 for t in tokens]))
    assert ours.converged == (stability == 0)
    for _ in range(stability):
        assert not ours.converged
        ours.step(peaked(tokens))
    ours.step(peaked(tokens))
    assert ours.converged


def test_stopping_needs_confidence() -> None:
    ours = block()
    for _ in range(4):
        ours.step(peaked(list(range(C)), height=3.0))
    assert not ours.converged


@pytest.mark.parametrize("reference", [True, False])
def test_pins_hold_on_canvas_argmax_entropy_and_self_conditioning(reference: bool) -> None:
    ours = block(reference=reference, trace_top_k=3)
    pins = {0: 90, 7: 91}
    ours.pin(pins)
    assert [int(ours.canvas[p]) for p in pins] == [90, 91], "before the first forward"
    for _ in range(3):
        draft = ours.step(torch.randn(C, V, generator=generator()))
        assert [int(draft.draft[p]) for p in pins] == [90, 91]
        assert [int(draft.canvas[p]) for p in pins] == [90, 91]
        assert [int(ours.canvas[p]) for p in pins] == [90, 91]
        assert [float(draft.entropy[p]) for p in pins] == [0.0, 0.0]
        assert not draft.accepted[[0, 7]].any()
        assert np.flatnonzero(draft.pinned).tolist() == [0, 7]
        assert ours.self_conditioning is not None
        weights = conditioning(ours).softmax(-1)
        assert float(weights[0, 90]) == 1.0
        assert float(weights[7, 91]) == 1.0
        assert float(weights[1].max()) < 1.0
    ours.pin({})
    assert not ours.step(torch.randn(C, V, generator=generator())).pinned.any()


def test_a_pin_set_between_steps_holds_at_once() -> None:
    ours = block()
    ours.step(peaked(list(range(C))))
    ours.pin({4: 80})
    assert int(ours.canvas[4]) == 80
    assert ours.self_conditioning is not None
    assert float(conditioning(ours).softmax(-1)[4, 80]) == 1.0


def test_acceptance_counts_free_positions_only() -> None:
    """Pins with much entropy must not use up the bound, nor surely known ones of the model be accepted there."""
    logits = peaked(list(range(C)))
    logits[3] = 0.0
    ours = block()
    ours.pin({3: 50, 5: 51})
    draft = ours.step(logits)
    assert draft.accepted.tolist() == [p not in (3, 5) for p in range(C)]


def test_stopping_counts_free_positions_only() -> None:
    tokens = list(range(C))
    logits = peaked(tokens)
    logits[3:] = 0.0  # nine positions of maximal entropy
    ours, sharp = block(), block()
    ours.pin(dict.fromkeys(range(3, C), 60))
    sharp.pin(dict.fromkeys(range(3), 60))
    for _ in range(3):
        ours.step(logits.clone())
        sharp.step(logits.clone())
    assert ours.converged
    assert not sharp.converged


def test_a_hole_is_not_diluted_by_its_pins() -> None:
    """One free position of 0.03 nats: below the threshold averaged over twelve, above it on its own."""
    logits = peaked(list(range(C)), height=5.2)
    ours = block(confidence_threshold=0.005, t_min=1.0, t_max=1.0)
    ours.pin(dict.fromkeys(range(1, C), 60))
    draft = None
    for _ in range(3):
        draft = ours.step(logits.clone())
    assert draft is not None
    assert float(draft.entropy[0]) > 0.005
    assert not ours.converged


def test_a_wholly_pinned_canvas_ends() -> None:
    ours = block()
    ours.pin(dict.fromkeys(range(C), 9))
    ours.step(torch.zeros(C, V))
    ours.step(torch.zeros(C, V))
    assert ours.converged
    assert ours.draft.tolist() == [9] * C


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("pinned", [True, False])
def test_nan_and_infinity_are_an_error(value: float, reference: bool, pinned: bool) -> None:
    ours = block(reference=reference)
    logits = torch.zeros(C, V)
    logits[4, 10] = value
    if pinned:
        ours.pin({4: 1})
    with pytest.raises(NumericsError):
        ours.step(logits)


def test_self_conditioning_is_rounded_to_the_weights() -> None:
    ours = BlockSampler(resolved(), C, V, generator(), torch.bfloat16)
    logits = torch.randn(C, V, generator=generator())
    expected = (logits / temperature_at(1, resolved())).to(torch.bfloat16).float()
    ours.step(logits)
    assert ours.self_conditioning is not None
    assert torch.equal(conditioning(ours), expected)


def test_alternatives_are_traced() -> None:
    logits = torch.randn(C, V, generator=generator())
    draft = block(trace_top_k=4).step(logits.clone())
    expected = torch.softmax(logits / temperature_at(1, resolved()), -1).topk(4)
    assert draft.top_ids is not None
    assert draft.top_probs is not None
    np.testing.assert_array_equal(draft.top_ids, expected.indices.numpy())
    np.testing.assert_allclose(draft.top_probs, expected.values.numpy(), rtol=1e-5)
    assert block().step(logits).top_ids is None


def test_very_low_logits_change_nothing_that_shows() -> None:
    """What lies more than 80 below the peak is raised to that: for speed, and without a trace in float32."""
    logits = torch.randn(C, V, generator=generator()) * 60
    before = logits.softmax(-1)
    fast_statistics(logits, generator())
    torch.testing.assert_close(logits.softmax(-1), before, atol=1e-30, rtol=1e-6)


class WholePasses(TorchDispatchMode):
    """Notes the exponentials, and what is made of them, that go over a whole canvas times vocabulary."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(part in name for part in ("exp", "softmax", "multinomial")) and args[0].numel() == C * V:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def test_entropy_draw_and_argmax_share_one_softmax() -> None:
    """Exponentials of the processed logits are taken once a step; the reference takes more than three."""
    counts = {}
    for reference in (False, True):
        sampler = block(reference=reference)
        with WholePasses() as passes:
            sampler.step(torch.randn(C, V, generator=generator(1)) * 5)
        counts[reference] = passes.seen
    assert counts[False] == ["exp"]
    assert len(counts[True]) > 3
