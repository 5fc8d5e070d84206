"""Norms and what they are fused with, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dgkernels import norms, reference
from tests.kernels.interpreted.inputs import random

EPS = 1e-6
SIZES = [(1, 64), (5, 48), (70, 256), (3, 2816), (2, 5000)]
DTYPES = [torch.bfloat16, torch.float32]


def close(found: Tensor, wanted: Tensor) -> None:
    """As near as the rounding to the dtype of what was found allows, and twice that of a residual before it."""
    size = wanted.abs().max()
    tolerance = 2.0**-7 if found.dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.float(), wanted, atol=float(tolerance * size) / 4, rtol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("count", "width"), SIZES)
@pytest.mark.parametrize("weighted", [True, False])
def test_rms_norm(count: int, width: int, weighted: bool, dtype: torch.dtype) -> None:
    x = random(count, width, dtype=dtype)
    weight = random(width, dtype=torch.bfloat16, seed=1) if weighted else None
    for result in DTYPES:
        found = norms.rms_norm(x, weight, EPS, result, 3.0)
        assert found.dtype == result
        close(found, reference.rms_norm(x, weight, EPS, 3.0))


def test_a_row_of_zeros_stays_zero() -> None:
    assert not norms.rms_norm(torch.zeros(3, 100), None, EPS, torch.float32).any()


def test_nan_stays_in_its_row() -> None:
    x = random(40, 64)
    x[7, 3] = float("nan")
    assert norms.rms_norm(x, None, EPS, torch.bfloat16).isnan().all(1).tolist() == [row == 7 for row in range(40)]


def test_rows_that_lie_apart() -> None:
    x = random(6, 200)[:, 50:150]
    close(norms.rms_norm(x, None, EPS, torch.float32), reference.rms_norm(x, None, EPS))


@pytest.mark.parametrize(("count", "width"), SIZES)
@pytest.mark.parametrize("signalled", [True, False])
def test_embed(count: int, width: int, signalled: bool) -> None:
    embedding = random(50, width, dtype=torch.bfloat16)
    ids = torch.randint(0, 50, (count,), generator=torch.Generator().manual_seed(0))
    signal = random(count, width, dtype=torch.bfloat16, seed=2) if signalled else None
    found = norms.embed(ids, embedding, 16.0, signal, EPS, torch.bfloat16)
    close(found, reference.embed(ids, embedding, 16.0, signal, EPS))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("count", "width"), SIZES)
@pytest.mark.parametrize("weighted", [(True, True), (False, True), (True, False), (False, False)])
def test_add_norm(count: int, width: int, weighted: tuple[bool, bool], dtype: torch.dtype) -> None:
    residual, x = random(count, width, dtype=dtype), random(count, width, dtype=torch.bfloat16, seed=1)
    weight, before = random(width, seed=2), residual.clone()
    then = tuple(random(width, seed=3 + place) if own else None for place, own in enumerate(weighted))
    found = norms.add_norm(residual, x, weight, EPS, (then[0], then[1]), torch.bfloat16)
    wanted = reference.add_norm(residual, x, weight, EPS, (then[0], then[1]))
    assert found[0].dtype == dtype and torch.equal(residual, before)
    assert (found[1] is found[2]) == (weighted == (False, False))
    for one, other in zip(found, wanted, strict=True):
        close(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("count", "width"), SIZES)
@pytest.mark.parametrize("weighted", [True, False])
def test_join_branches(count: int, width: int, weighted: bool, dtype: torch.dtype) -> None:
    residual = random(count, width, dtype=dtype)
    branches = (random(count, width, dtype=torch.bfloat16, seed=1), random(count, width, dtype=torch.bfloat16, seed=2))
    branch_weights, weight = random(2, 1, width, seed=3), random(width, dtype=torch.bfloat16, seed=4)
    then = random(width, seed=5) if weighted else None
    found = norms.join_branches(residual, branches, branch_weights, weight, 0.37, EPS, then, torch.bfloat16)
    wanted = reference.join_branches(residual, branches, branch_weights.squeeze(1), weight, 0.37, EPS, then)
    assert found[0].dtype == dtype and found[1].dtype == torch.bfloat16
    for one, other in zip(found, wanted, strict=True):
        close(one, other)
