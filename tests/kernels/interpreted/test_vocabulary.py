"""The head's kernels against torch, in float32 on the same numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dgkernels.eights import EightBits, quantise_rows
from dgkernels.outcome import Outcome, Softmax
from dgkernels.tiles import Launch, VocabularyTiles
from dgkernels.vocabulary import LOWEST_TEMPERATURE, denoise

CAP = 30.0


def head(
    hidden: Tensor,
    embedding: Tensor | EightBits,
    temperature: float,
    uniforms: Tensor | None = None,
    tile: int = 64,
) -> Outcome:
    tiles = VocabularyTiles(16, tile, 32, Launch(4, 2))
    if uniforms is None:
        uniforms = torch.rand(hidden.shape[0], 2, generator=torch.Generator().manual_seed(1))
    return denoise(hidden, embedding, CAP, temperature, uniforms, tiles)


def logits_of(hidden: Tensor, embedding: Tensor, temperature: float) -> Tensor:
    return (hidden.float() @ embedding.float().t()).tanh() * (CAP / temperature)


def drawn(count: int, words: int, width: int = 64, spread: float = 0.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Hidden states and an embedding, such that logits before the cap have the standard deviation `spread`."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(count, width, generator=generator) * spread * width**-0.5
    return hidden.bfloat16(), torch.randn(words, width, generator=generator).bfloat16()


@pytest.mark.parametrize(("count", "words", "tile"), [(1, 64, 64), (5, 320, 64), (33, 512, 128), (16, 1024, 32)])
@pytest.mark.parametrize("temperature", [0.4, 0.8, 1.5])
@pytest.mark.parametrize("spread", [0.01, 0.3, 2.0])
def test_as_torch(count: int, words: int, tile: int, temperature: float, spread: float) -> None:
    hidden, embedding = drawn(count, words, spread=spread, seed=words)
    found = head(hidden, embedding, temperature, tile=tile)
    logits = logits_of(hidden, embedding, temperature)
    shares = logits.softmax(-1)
    entropy = -(shares * logits.log_softmax(-1)).sum(-1)
    assert (found.entropy - entropy).abs().max() <= 2e-3
    highest = logits.gather(1, found.argmax.long().unsqueeze(1)).squeeze(1)
    assert (logits.amax(-1) - highest).max() <= 1e-2 * CAP / temperature
    soft = found.softmax.mean(embedding)
    wanted = shares @ embedding.float()
    assert (soft - wanted).norm() / wanted.norm() <= 0.01
    assert ((found.sample >= 0) & (found.sample < words)).all()


def test_draws_follow_the_distribution() -> None:
    hidden, embedding = drawn(1, 256, spread=0.05, seed=3)
    count = 4000
    uniforms = torch.rand(count, 2, generator=torch.Generator().manual_seed(5))
    found = head(hidden.expand(count, -1).contiguous(), embedding, 0.7, uniforms)
    seen = torch.bincount(found.sample.long(), minlength=256).float()
    expected = logits_of(hidden, embedding, 0.7).softmax(-1)[0] * count
    common = expected >= 5
    chi_square = ((seen - expected).square() / expected)[common].sum()
    freedom = int(common.sum()) - 1
    assert chi_square <= freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0 - 2**-24])
def test_a_draw_from_one_certain_word(uniform: float) -> None:
    embedding = torch.zeros(256, 64).bfloat16()
    embedding[200, 0] = 8.0
    hidden = torch.zeros(3, 64).bfloat16()
    hidden[:, 0] = 8.0
    found = head(hidden, embedding, 0.4, torch.full((3, 2), uniform))
    assert found.sample.tolist() == found.argmax.tolist() == [200] * 3
    assert found.entropy.abs().max() <= 1e-3


@pytest.mark.parametrize("temperature", [0.4, 0.7, 0.8166666626930237])
def test_a_temperature_of_the_device_is_the_same_number(temperature: float) -> None:
    """And what is put into given tensors is what new ones would hold."""
    hidden, embedding = drawn(5, 128)
    tiles, uniforms = VocabularyTiles(16, 64, 32, Launch(4, 2)), torch.rand(5, 2)
    exact = float(torch.tensor(temperature))
    wanted = denoise(hidden, embedding, CAP, exact, uniforms, tiles)
    into = Softmax(torch.empty_like(wanted.softmax.weights), torch.empty_like(wanted.softmax.totals))
    found = denoise(hidden, embedding, CAP, torch.tensor([exact]), uniforms, tiles, into)
    assert found.softmax.weights is into.weights and found.softmax.totals is into.totals
    assert all(torch.equal(getattr(found, name), getattr(wanted, name)) for name in ("argmax", "sample", "entropy"))
    assert torch.equal(into.weights, wanted.softmax.weights) and torch.equal(into.totals, wanted.softmax.totals)


def test_the_lowest_temperature_is_the_lowest() -> None:
    hidden, embedding = drawn(4, 128, spread=3.0)
    lowest = LOWEST_TEMPERATURE * CAP
    found = head(hidden, embedding, lowest)
    assert found.entropy.isfinite().all() and found.softmax.totals.isfinite().all() and (found.softmax.totals > 0).all()
    with pytest.raises(ValueError, match="temperature"):
        head(hidden, embedding, lowest * 0.99)


def test_all_words_alike_at_either_end() -> None:
    """The sums stay finite where every logit is the highest, or the lowest, that there is."""
    for sign in (1.0, -1.0):
        hidden, embedding = torch.full((2, 64), sign * 4.0).bfloat16(), torch.ones(4096, 64).bfloat16()
        found = head(hidden, embedding, LOWEST_TEMPERATURE * CAP, tile=128)
        assert torch.allclose(found.entropy, torch.full((2,), math.log(4096)), atol=1e-2)


def test_equal_logits_give_the_first_word() -> None:
    found = head(torch.zeros(2, 64).bfloat16(), drawn(1, 256)[1], 1.0)
    assert found.argmax.tolist() == [0, 0]


def test_nan_is_seen() -> None:
    hidden, embedding = drawn(3, 128)
    hidden[1, 4] = float("nan")
    found = head(hidden, embedding, 1.0)
    assert found.entropy.isnan().tolist() == [False, True, False]
    assert ((found.sample >= 0) & (found.sample < 128) & (found.argmax >= 0) & (found.argmax < 128)).all()


@pytest.mark.parametrize(("count", "words", "tile"), [(1, 64, 64), (17, 320, 64), (33, 512, 128)])
def test_an_embedding_in_eight_bits(count: int, words: int, tile: int) -> None:
    """It gives what the rounded numbers give."""
    hidden, embedding = drawn(count, words, seed=words)
    rounded = quantise_rows(embedding)
    found = head(hidden, rounded, 0.7, tile=tile)
    logits = logits_of(quantise_rows(hidden).dense(), rounded.dense(), 0.7)
    shares = logits.softmax(-1)
    assert (found.entropy + (shares * logits.log_softmax(-1)).sum(-1)).abs().max() <= 2e-3
    highest = logits.gather(1, found.argmax.unsqueeze(1)).squeeze(1)
    assert (logits.amax(-1) - highest).max() <= 1e-3
    soft, wanted = found.softmax.mean(embedding), shares @ embedding.float()
    assert (soft - wanted).norm() / wanted.norm() <= 0.01
