"""Norms and rotation of queries, keys and values, and where they go, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dgkernels import reference
from dgkernels.rotary import rotate_into
from tests.kernels.interpreted.inputs import random

EPS = 1e-6
SIZES = [(1, 4, 2, 16), (9, 2, 1, 24), (20, 4, 2, 64), (3, 2, 2, 256), (3, 2, 1, 512), (5, 0, 2, 32)]


def factors(count: int, width: int) -> tuple[Tensor, Tensor]:
    angles = torch.rand(count, 1, width // 2, generator=torch.Generator().manual_seed(9)) * 6
    sine, cosine = angles.sin(), angles.cos()
    return torch.cat((cosine, cosine), -1), torch.cat((-sine, sine), -1)


def close(found: Tensor, wanted: Tensor) -> None:
    tolerance = 2.0**-8 if found.dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.float(), wanted, atol=1e-4, rtol=tolerance)


@pytest.mark.parametrize(("count", "heads", "kv_heads", "width"), SIZES)
@pytest.mark.parametrize("own_values", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_to_the_rows_that_are_named(
    count: int, heads: int, kv_heads: int, width: int, own_values: bool, dtype: torch.dtype
) -> None:
    parts = heads + (2 if own_values else 1) * kv_heads
    raw = random(count, parts * width, dtype=torch.bfloat16, scale=4.0)
    weights = random(heads + kv_heads, width, seed=1)
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(2))[:count]
    keys, values = (torch.full((kv_heads, 40, width), 7.0, dtype=dtype) for _ in range(2))
    found = rotate_into(raw, weights, *factors(count, width), EPS, keys, values, rows)
    queries, new_keys, new_values = reference.rotate_into(raw, weights, *factors(count, width), EPS, kv_heads)
    assert found.dtype == dtype and found.shape == (heads, count, width)
    for one, other in ((found, queries), (keys[:, rows], new_keys), (values[:, rows], new_values)):
        close(one, other)
    untouched = torch.ones(40, dtype=torch.bool).index_fill(0, rows, False)
    assert (keys[:, untouched] == 7).all() and (values[:, untouched] == 7).all()


@pytest.mark.parametrize("known", [0, 1, 4])
def test_to_a_piece_of_a_buffer(known: int) -> None:
    """What is known already is neither written nor moved."""
    raw, weights = random(6, 4 * 32, dtype=torch.bfloat16), random(3, 32, seed=1)
    buffers = [torch.full((1, 20, 32), 7.0, dtype=torch.bfloat16) for _ in range(2)]
    keys, values = (buffer[:, 10 : 16 - known] for buffer in buffers)
    found = rotate_into(raw, weights, *factors(6, 32), EPS, keys, values, known=known)
    queries, new_keys, new_values = reference.rotate_into(raw, weights, *factors(6, 32), EPS, 1)
    for one, other in ((found, queries), (keys, new_keys[:, known:]), (values, new_values[:, known:])):
        close(one, other)
    for buffer in buffers:
        assert (buffer[:, :10] == 7).all() and (buffer[:, 16 - known :] == 7).all()
