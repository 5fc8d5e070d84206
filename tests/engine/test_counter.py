"""Random numbers by counting: the published function, evenly spread, and each of them by itself."""

from __future__ import annotations

import math

import torch

from dgengine.counter import Draws, draws, key_of

GOLDEN = 0x9E3779B97F4A7C15
WORDS = 50


def drawn(seed: int = 3, block: int = 1, step: int = 0, count: int = 8, words: int = WORDS) -> Draws:
    return draws(torch.tensor([key_of(seed, block)]), torch.tensor([step]), count, words)


def splitmix(state: int) -> int:
    """The generator's published form: what it gives after `state`."""
    z = (state + GOLDEN) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_the_numbers_are_those_of_splitmix() -> None:
    assert splitmix(0) == 0xE220A8397B1DCDAF  # as others have it
    found, state = drawn(count=4), key_of(3, 1) % 2**64
    bits = [splitmix((state + place * GOLDEN) % 2**64) for place in range(12)]
    assert found.uniforms.t().flatten().tolist() == [(value >> 40) / 2**24 for value in bits[:8]]
    assert found.noise.tolist() == [(value >> 32) * WORDS >> 32 for value in bits[8:]]


def test_every_step_block_and_seed_has_its_own() -> None:
    keys = {key_of(seed, block) for seed in (0, 1, 2**63 - 1) for block in range(50)}
    assert len(keys) == 150 and all(-(2**63) <= key < 2**63 for key in keys)
    seen = {tuple(drawn(step=step).noise.tolist()) for step in range(50)}
    assert len(seen) == 50
    assert torch.equal(drawn(step=7).uniforms, drawn(step=7).uniforms)


def test_they_are_spread_evenly() -> None:
    """Chi-square of the noise, and of both uniform numbers together, over 200 steps of 500 positions."""
    steps = [drawn(seed=9, step=step, count=500) for step in range(200)]
    noise = torch.bincount(torch.cat([own.noise for own in steps]), minlength=WORDS)
    uniforms = torch.cat([own.uniforms for own in steps])
    assert uniforms.min() >= 0 and uniforms.max() < 1 and uniforms.dtype == torch.float32
    cells = (uniforms * 8).long()
    pairs = torch.bincount(cells[:, 0] * 8 + cells[:, 1], minlength=64)
    for counts in (noise, pairs):
        expected = 100_000 / len(counts)
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        freedom = len(counts) - 1
        assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)
