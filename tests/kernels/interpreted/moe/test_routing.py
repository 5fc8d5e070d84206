"""The router against torch."""

from __future__ import annotations

import pytest
import torch

from dgkernels.moe import reference
from dgkernels.moe.routing import route


@pytest.mark.parametrize(
    ("tokens", "hidden", "experts", "top_k"), [(1, 64, 4, 2), (5, 96, 5, 3), (33, 256, 128, 8), (17, 2816, 16, 4)]
)
def test_as_the_reference(tokens: int, hidden: int, experts: int, top_k: int) -> None:
    torch.manual_seed(tokens)
    residual = (torch.randn(tokens, hidden) * 3).bfloat16()
    scale, projection = torch.rand(hidden) * hidden**-0.5, torch.randn(hidden, experts).bfloat16()
    per_expert = torch.rand(experts) + 0.5
    weights, chosen = route(residual, scale, projection, per_expert, top_k, 1e-6)
    expected, wanted = reference.route(residual, scale, projection, per_expert, top_k, 1e-6)
    same = (chosen == wanted).all(dim=1)  # scores that are equal in bfloat16 may change places
    assert same.float().mean() >= 0.9
    assert (weights[same] - expected[same]).abs().max() <= 0.01
    assert all(len(set(own)) == top_k for own in chosen.tolist())


def test_a_projection_that_is_a_view_and_a_residual_in_float32() -> None:
    torch.manual_seed(0)
    residual, projection = torch.randn(4, 64), torch.randn(6, 64).bfloat16().t()
    scale, per_expert = torch.rand(64) * 0.1, torch.ones(6)
    weights, chosen = route(residual, scale, projection, per_expert, 2, 1e-6)
    expected, wanted = reference.route(residual, scale, projection, per_expert, 2, 1e-6)
    assert torch.equal(chosen, wanted) and (weights - expected).abs().max() <= 0.01


def test_of_equal_scores_the_first_is_chosen() -> None:
    weights, chosen = route(
        torch.ones(1, 64).bfloat16(), torch.ones(64), torch.zeros(64, 8).bfloat16(), torch.ones(8), 3, 1e-6
    )
    assert chosen.tolist() == [[0, 1, 2]] and torch.allclose(weights, torch.full((1, 3), 1 / 3))
