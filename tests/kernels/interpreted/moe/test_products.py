"""The grouped products against torch, in float32 on the same weights."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dgkernels.moe import reference
from dgkernels.moe.alignment import align
from dgkernels.moe.layout import Form, Tile
from dgkernels.moe.products import combine, down, experts, gate_up
from dgkernels.tiles import Launch, MoeTiles
from tests.kernels.moe.matrices import draw, every_code_and_scale

LAUNCH = Launch()


@dataclass(frozen=True)
class Case:
    """N tokens of D, E experts of X, K of them a token; blocks and tiles."""

    tokens: int
    hidden: int = 128
    width: int = 64
    experts: int = 4
    top_k: int = 2
    block: int = 16
    gate_up: tuple[int, int] = (32, 64)
    down: tuple[int, int] = (64, 32)
    form: Form = "nvfp4"
    skew: float = 0.0

    @property
    def tiles(self) -> MoeTiles:
        return MoeTiles(self.block, self.gate_up, self.down, LAUNCH, LAUNCH)

    def chosen(self) -> Tensor:
        scores = torch.randn(self.tokens, self.experts, generator=torch.Generator().manual_seed(self.tokens))
        scores[:, 0] += self.skew
        return scores.topk(self.top_k, dim=1).indices.int()


CASES = [
    Case(1),
    Case(7),
    Case(40, block=32),
    Case(9, experts=1, top_k=1),
    Case(12, experts=9, top_k=3, skew=20.0),  # most experts have no token, one has all
    Case(5, hidden=192, width=96, gate_up=(32, 64), down=(32, 32)),
    Case(6, gate_up=(64, 128), down=(128, 64)),
    Case(3, gate_up=(16, 32), down=(16, 32)),
    Case(8, gate_up=(32, 64), down=(64, 64), form="nf4"),
    Case(8, gate_up=(32, 128), down=(64, 64), form="nf4"),
]


def relative(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """The largest error, and the root mean square one, as shares of the wanted's root mean square."""
    size = wanted.square().mean().sqrt()
    error = (found.float() - wanted).abs()
    return float(error.max() / size), float(error.square().mean().sqrt() / size)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_product_and_all_together(case: Case) -> None:
    torch.manual_seed(0)
    first = draw(case.experts, 2 * case.width, case.hidden, case.form, parts=2)
    second = draw(case.experts, case.hidden, case.width, case.form, seed=1)
    rows, columns = case.gate_up
    packed_first, packed_second = first.packed(Tile(2 * rows, columns), paired=True), second.packed(Tile(*case.down))
    x, chosen = torch.randn(case.tokens, case.hidden).bfloat16(), case.chosen()
    factors = torch.rand(case.tokens, case.top_k)
    aligned = align(chosen, case.experts, case.block)

    inner = gate_up(x, packed_first, aligned, case.top_k, LAUNCH)
    largest, usual = relative(inner, reference.gate_up(x, first.dense, chosen))
    assert largest <= 0.05 and usual <= 0.004

    outer = down(inner, packed_second, aligned, factors, LAUNCH)
    largest, usual = relative(outer, reference.down(inner, second.dense, chosen, factors))
    assert largest <= 0.03 and usual <= 0.003

    found = experts(x, factors, chosen, packed_first, packed_second, case.tiles)
    largest, usual = relative(found, reference.experts(x, factors, chosen, first.dense, second.dense))
    assert largest <= 0.06 and usual <= 0.006
    assert torch.equal(found, experts(x, factors, chosen, packed_first, packed_second, case.tiles))  # to the bit


def test_every_code_with_every_scale_is_decoded_exactly() -> None:
    coded = every_code_and_scale()
    packed = coded.packed(Tile(64, 128))
    columns = packed.shape[1]
    found = torch.cat([
        down(
            one.bfloat16(), packed, align(torch.zeros(16, 1, dtype=torch.int32), 1, 16), torch.ones(16, 1), LAUNCH
        ).t()
        for one in torch.eye(columns).split(16)
    ], dim=1)  # fmt: skip
    assert torch.equal(found.float(), coded.dense[0])  # six significant bits, so bfloat16 holds each


def test_the_sum_is_in_float32_and_in_order() -> None:
    rows = torch.tensor([[256.0] * 600, [1.0] * 600, [-256.0] * 600, [0.5] * 600]).bfloat16()
    assert torch.equal(combine(rows, 4), torch.full((1, 600), 1.5).bfloat16())
    assert torch.equal(combine(rows, 2), reference.combine(rows, 2).bfloat16())


def test_what_is_not_a_number_reaches_its_own_token_only() -> None:
    first, second = draw(2, 128, 128, parts=2), draw(2, 128, 64, seed=1)
    packed = first.packed(Tile(64, 64), paired=True), second.packed(Tile(64, 64))
    x = torch.randn(4, 128).bfloat16()
    x[2, 5] = float("nan")
    chosen = torch.tensor([[0], [1], [0], [1]], dtype=torch.int32)
    found = experts(x, torch.ones(4, 1), chosen, *packed, MoeTiles(16, (32, 64), (64, 64), LAUNCH, LAUNCH))
    assert found[2].isnan().all() and not found[[0, 1, 3]].isnan().any()
