"""The kernels where they belong; `make gpu` measures them as well."""

from __future__ import annotations

import pytest
import torch

from dgkernels.moe import reference
from dgkernels.moe.layout import Form, Tile
from dgkernels.tiles import moe_tiles
from tests.kernels.moe.matrices import draw

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")


@pytest.mark.parametrize("form", ["nvfp4", "nf4"])
@pytest.mark.parametrize(
    ("tokens", "hidden", "width", "experts", "top_k", "skew"),
    [(256, 2816, 704, 16, 8, 0.0), (1, 256, 128, 4, 2, 0.0), (77, 512, 192, 9, 3, 20.0), (512, 256, 128, 128, 8, 1.0)],
)
def test_experts(tokens: int, hidden: int, width: int, experts: int, top_k: int, skew: float, form: Form) -> None:
    from dgkernels.moe.products import experts as by_kernels

    tiles = moe_tiles(torch.cuda.get_device_capability(), hidden, width, form)
    if tiles is None:
        pytest.skip("there is no configuration for this GPU")
    torch.manual_seed(0)
    first = draw(experts, 2 * width, hidden, form, parts=2)
    second = draw(experts, hidden, width, form, seed=1)
    packed = [
        first.packed(Tile(2 * tiles.gate_up[0], tiles.gate_up[1]), paired=True), second.packed(Tile(*tiles.down))
    ]  # fmt: skip
    there = [own.holding(tuple(tensor.to(DEVICE) for tensor in own.tensors())) for own in packed]
    x, scores = torch.randn(tokens, hidden).bfloat16(), torch.randn(tokens, experts)
    scores[:, 0] += skew
    chosen, factors = scores.topk(top_k, dim=1).indices.int(), torch.rand(tokens, top_k)
    found = by_kernels(x.to(DEVICE), factors.to(DEVICE), chosen.to(DEVICE), there[0], there[1], tiles)
    some = slice(0, 6)  # the reference gathers a matrix for each row
    wanted = reference.experts(x[some], factors[some], chosen[some], first.dense, second.dense)
    assert (found[some].cpu().float() - wanted).norm() / wanted.norm() <= 0.006
    again = by_kernels(x.to(DEVICE), factors.to(DEVICE), chosen.to(DEVICE), there[0], there[1], tiles)
    assert torch.equal(found, again)


def test_the_engine_uses_them() -> None:
    from dgengine import Block, Engine

    engine = Engine.load("pocket", device="cuda", precision="nvfp4")
    assert engine.model.uses_kernels and not engine.info.notes
    ids = engine.encode_chat([{"role": "user", "content": "Who are you?"}])
    blocks = [event for event in engine.session().generate(ids) if isinstance(event, Block)]
    text = "".join(engine.decode(block.tokens) for block in blocks)
    assert text.startswith("I am pocket")
