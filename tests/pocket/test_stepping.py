from __future__ import annotations

import torch
from torch import Tensor

from dgengine.sampler import accept
from pocket.stepping import BOUNDS, TEMPERATURES, draw_bounds, draw_temperatures, stepped

COUNT, LENGTH, VOCABULARY = 6, 12, 40


def drawn(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (COUNT, LENGTH)
    return {
        "processed": 6 * torch.randn(*shape, VOCABULARY, generator=generator),
        "target": torch.randint(0, VOCABULARY, shape, generator=generator),
        "free": torch.rand(shape, generator=generator) < 0.7,
        "noise": torch.full(shape, VOCABULARY),  # no token is that
        "draws": torch.rand(shape, generator=generator),
        "bounds": torch.full((COUNT, 1), 0.5),
    }


def test_what_is_not_free_stays() -> None:
    case = drawn(1)
    assert torch.equal(stepped(**case)[~case["free"]], case["target"][~case["free"]])


def test_it_accepts_what_the_sampler_accepts() -> None:
    case = drawn(2)
    case["free"][:] = True
    log_probabilities = case["processed"].log_softmax(-1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
    accepted = stepped(**case) != VOCABULARY
    for row in range(COUNT):
        assert torch.equal(accepted[row], accept(entropy[row], 0.5))
    assert 0 < accepted.float().mean() < 1


def test_nothing_is_accepted_below_zero() -> None:
    case = drawn(3)
    case["bounds"][:] = -1.0
    left = stepped(**case)
    assert torch.equal(left, torch.where(case["free"], case["noise"], case["target"]))


def test_tokens_follow_their_probabilities() -> None:
    count = 20_000
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(1, count, 3)
    everything = torch.ones(1, count, dtype=torch.bool)
    draws = torch.rand(1, count, generator=torch.Generator().manual_seed(4))
    nothing = torch.zeros(1, count, dtype=torch.int64)
    tokens = stepped(logits, nothing, everything, nothing, draws, torch.full((1, 1), 1e9))
    shares = torch.bincount(tokens[0], minlength=3) / count
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.015)


def test_bounds_and_temperatures_lie_where_they_should() -> None:
    generator = torch.Generator().manual_seed(5)
    settled = torch.ones(1000, 1, dtype=torch.bool)
    bounds, temperatures = draw_bounds(settled, 0.5, generator), draw_temperatures(1000, generator)
    stepping = bounds[bounds > 0]
    assert 400 < len(stepping) < 600
    assert stepping.min() >= BOUNDS[0] - 1e-6 and stepping.max() <= BOUNDS[1] + 1e-6
    assert set(bounds[bounds <= 0].tolist()) == {-1.0}
    assert temperatures.shape == (1000, 1, 1)
    assert temperatures.min() >= TEMPERATURES[0] and temperatures.max() <= TEMPERATURES[1]


def test_only_settled_canvases_take_a_step() -> None:
    settled = torch.arange(200).remainder(3).eq(0).unsqueeze(1)
    bounds = draw_bounds(settled, 1.0, torch.Generator().manual_seed(6))
    assert torch.equal(bounds > 0, settled)
