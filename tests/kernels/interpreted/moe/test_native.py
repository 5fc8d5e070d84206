"""The experts by products of NVFP4 by NVFP4, against what the rounded numbers give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dgkernels.moe import native, reference
from dgkernels.moe.native import FourBits, Stack
from dgkernels.tiles import native_tiles
from tests.kernels.interpreted.inputs import random
from tests.kernels.moe.matrices import E2M1, Coded, draw


def dense(rows: FourBits) -> Tensor:
    """float32 [N, D]."""
    nibbles = torch.stack((rows.codes & 15, rows.codes >> 4), dim=-1).flatten(1)
    numbers: Tensor = E2M1[nibbles.long()].unflatten(1, (-1, 16)) * rows.scales.float().unsqueeze(2)
    return numbers.flatten(1) * rows.factors.unsqueeze(1)


def stack(coded: Coded) -> Stack:
    assert coded.global_scales is not None
    return Stack(coded.codes, coded.scales, coded.global_scales)


@pytest.mark.parametrize(("count", "width"), [(1, 16), (5, 48), (70, 64), (3, 704), (2, 2816)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rows_are_quantised_to_the_nearest_code(count: int, width: int, dtype: torch.dtype) -> None:
    x = random(count, width, dtype=dtype) * torch.logspace(-4, 4, count).unsqueeze(1).to(dtype)
    found = native.quantise_blocks(x)
    wanted = reference.quantise_blocks(x)
    torch.testing.assert_close(dense(found), wanted, atol=0.0, rtol=1e-5)
    assert 0.05 < (wanted - x.float()).norm() / x.float().norm() < 0.15


def test_every_code_and_every_tie() -> None:
    """A tie goes to the even code, as the hardware rounds."""
    x = torch.tensor([[0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0, -0.25, -0.75, -1.25, -1.75, -2.5, -3.5, -5.0, -6.0]])
    found = native.quantise_blocks(x * 448)
    assert found.factors.item() == 1.0 and found.scales.float().item() == 448.0
    assert (dense(found) / 448)[0, :8].tolist() == [0, 1, 1, 2, 2, 4, 4, 6]
    assert (dense(found) / 448)[0, 8:].tolist() == [0, -1, -1, -2, -2, -4, -4, -6]


def test_zeros_stay_so_and_nan_is_seen() -> None:
    x = random(3, 64)
    x[1], x[2, 7] = 0.0, float("nan")
    rows = dense(native.quantise_blocks(x))
    assert rows[0].isfinite().all() and not rows[1].any() and rows[2].isnan().all()


@pytest.mark.parametrize("capability", [(10, 0), (12, 0)])
@pytest.mark.parametrize(
    ("tokens", "hidden", "width", "experts", "top_k"),
    [(1, 64, 32, 3, 2), (9, 288, 96, 5, 2), (40, 128, 64, 4, 4), (5, 512, 352, 2, 1)],
)
def test_the_experts(
    tokens: int, hidden: int, width: int, experts: int, top_k: int, capability: tuple[int, int]
) -> None:
    tiles = native_tiles(capability, hidden, width)
    assert tiles is not None
    first, second = draw(experts, 2 * width, hidden, parts=2), draw(experts, hidden, width, seed=1)
    x = random(tokens, hidden, dtype=torch.bfloat16)
    scores = random(tokens, experts, seed=3)
    chosen, factors = scores.topk(top_k, dim=1).indices.int(), torch.rand(tokens, top_k)
    found = native.experts(x, factors, chosen, stack(first), stack(second), tiles)
    inner = reference.gate_up(reference.quantise_blocks(x), first.dense, chosen).bfloat16()
    outer = reference.down(reference.quantise_blocks(inner), second.dense, chosen, factors)
    wanted = reference.combine(outer.bfloat16(), top_k)
    # the sum's order may send an intermediate to the code beside
    assert (found.float() - wanted).norm() / wanted.norm() <= 0.02
    exact = reference.experts(x, factors, chosen, first.dense, second.dense)
    assert (found.float() - exact).norm() / exact.norm() <= 0.2


def test_what_no_tile_divides_and_who_has_no_such_products() -> None:
    assert native_tiles((10, 0), 100, 64) is None and native_tiles((12, 0), 128, 72) is None
    assert native_tiles((9, 0), 2816, 704) is None and native_tiles((8, 9), 2816, 704) is None
