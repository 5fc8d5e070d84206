"""The attention of a canvas against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dgkernels import reference
from dgkernels.attention import attend_canvas
from dgkernels.tiles import AttentionTiles, Launch
from tests.kernels.interpreted.inputs import random

TILES = AttentionTiles(16, 16, 32, Launch(4, 2))


def drawn(heads: int, kv_heads: int, count: int, capacity: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Such that scores have a standard deviation of 2, as normed queries and keys do."""
    queries = random(heads, count, width, dtype=torch.bfloat16, scale=2 * width**-0.5)
    keys, values = (random(kv_heads, capacity, width, dtype=torch.bfloat16, seed=seed) for seed in (1, 2))
    return queries, keys, values


def bounds(start: int, end: int) -> tuple[Tensor, Tensor]:
    return torch.tensor([start], dtype=torch.int32), torch.tensor([end], dtype=torch.int32)


def check(found: Tensor, given: tuple[Tensor, Tensor, Tensor], start: int, end: int) -> None:
    wanted = reference.attend_canvas(*given, start, end)
    assert found.dtype == torch.bfloat16 and found.shape == wanted.shape
    assert (found.float() - wanted).norm() / wanted.norm() <= 0.006


@pytest.mark.parametrize(
    ("heads", "kv_heads", "count", "width"),
    [(4, 2, 8, 32), (4, 1, 5, 24), (2, 2, 17, 64), (2, 1, 3, 256), (2, 1, 3, 512), (1, 1, 1, 16)],
)
@pytest.mark.parametrize("splits", [1, 2, 5])
@pytest.mark.parametrize(("start", "end"), [(0, 50), (7, 50), (3, 35), (20, 21), (0, 16)])
def test_as_torch(heads: int, kv_heads: int, count: int, width: int, splits: int, start: int, end: int) -> None:
    """Also where there are fewer keys than programs to share them."""
    given = drawn(heads, kv_heads, count, 50, width)
    check(attend_canvas(*given, *bounds(start, end), TILES, splits), given, start, end)


@pytest.mark.parametrize("width", [64, 256, 512])
def test_with_the_tiles_of_a_device(width: int) -> None:
    given = drawn(4, 2, 20, 100, width)
    check(attend_canvas(*given, *bounds(2, 93)), given, 2, 93)


@pytest.mark.parametrize("splits", [1, 3])
def test_what_is_not_seen_may_be_anything(splits: int) -> None:
    given = drawn(2, 1, 6, 64, 32)
    clean = attend_canvas(*given, *bounds(9, 40), TILES, splits)
    for tensor in given[1:]:
        tensor[:, :9] = float("nan")
        tensor[:, 40:] = float("inf")
    assert torch.equal(attend_canvas(*given, *bounds(9, 40), TILES, splits), clean)


def test_queries_that_lie_between_keys() -> None:
    queries, keys, values = drawn(4, 2, 7, 30, 32)
    joined = torch.cat((queries, keys[:, :7])).transpose(0, 1).contiguous()  # [T, H + KV, D]
    found = attend_canvas(joined[:, :4].transpose(0, 1), keys, values, *bounds(0, 30), TILES, 1)
    check(found, (queries, keys, values), 0, 30)


def test_scores_of_any_size() -> None:
    queries, keys, values = drawn(1, 1, 4, 40, 16)
    for factor in (0.0, 200.0):
        given = ((queries * factor), keys, values)
        for splits in (1, 3):
            found = attend_canvas(*given, *bounds(0, 40), TILES, splits)
            torch.testing.assert_close(found.float(), reference.attend_canvas(*given, 0, 40), atol=0.02, rtol=0.01)


def test_heads_that_no_tile_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="no configuration for heads of 1024"):
        attend_canvas(*drawn(1, 1, 1, 4, 1024), *bounds(0, 4))
