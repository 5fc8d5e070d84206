"""Tokens sorted by expert into blocks."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dgkernels.moe import reference
from dgkernels.moe.alignment import align, most_blocks
from tests.amounts import examples


@examples(30)
@given(
    tokens=st.integers(1, 40), experts=st.integers(1, 20), block=st.sampled_from((16, 32)), skew=st.floats(0, 6),
    seed=st.integers(0, 999), data=st.data(),
)  # fmt: skip
def test_as_the_reference(tokens: int, experts: int, block: int, skew: float, seed: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, min(experts, 4)))
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(tokens, experts, generator=generator)
    scores[:, 0] += skew  # an expert that everyone wants leaves others without a token
    chosen = scores.topk(top_k, dim=1).indices.int()
    rows, owners, used = reference.align(chosen, experts, block)
    found = align(chosen, experts, block)
    assert int(found.used) == used <= found.experts.numel() == most_blocks(chosen.numel(), experts, block)
    assert torch.equal(found.experts[:used], owners)
    assert torch.equal(found.rows[: used * block], rows)
