"""Weights are arranged for the kernels, and nothing of them is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgkernels.moe.layout import Form, Tile, fits, pack, unpack
from dgkernels.moe.numbers import NF4
from tests.kernels.moe.matrices import draw


@given(
    experts=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3), height=st.sampled_from((1, 2, 4)),
    width=st.sampled_from((1, 2, 3)), form=st.sampled_from(("nvfp4", "nf4")), paired=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_what_is_packed_is_unpacked(
    experts: int, rows: int, columns: int, height: int, width: int, form: Form, paired: bool, seed: int
) -> None:
    tile = Tile(32 * height, 64 * width)
    coded = draw(experts, rows * tile.rows, columns * tile.columns, form, parts=2 if paired else 1, seed=seed)
    packed = coded.packed(tile, paired)
    codes, scales = unpack(packed)
    assert torch.equal(codes, coded.codes)
    assert torch.equal(scales.view(torch.uint8), coded.scales.view(torch.uint8))
    assert packed.experts == experts and packed.shape == (rows * tile.rows, columns * tile.columns)
    held = sum(tensor.nbytes for tensor in packed.tensors()[:2])
    assert held == coded.codes.nbytes + coded.scales.nbytes  # not a byte more


def test_a_tile_of_pairs_holds_the_same_rows_of_both_halves() -> None:
    coded = draw(1, 128, 64)
    numbered = coded.codes.clone()
    numbered[0, :64], numbered[0, 64:] = 0x11, 0x22
    packed = pack(numbered, coded.scales, coded.global_scales, Tile(64, 64), paired=True)
    for tile in packed.codes[0, :, 0]:
        single = pack(numbered[:, :64], coded.scales[:, :64], None, Tile(32, 64)).codes[0, 0, 0]
        assert torch.equal(tile[: tile.numel() // 2], single)


@pytest.mark.parametrize(
    ("rows", "columns", "tile", "form", "paired"),
    [
        (64, 64, Tile(24, 32), "nvfp4", False),
        (64, 64, Tile(16, 16), "nvfp4", False),
        (64, 64, Tile(16, 32), "nf4", False),
        (72, 64, Tile(16, 32), "nvfp4", False),
        (64, 48, Tile(16, 32), "nvfp4", False),
        (64, 64, Tile(16, 32), "nvfp4", True),
    ],
)
def test_what_cannot_be_cut_is_refused(rows: int, columns: int, tile: Tile, form: Form, paired: bool) -> None:
    coded = draw(1, rows, columns - columns % 64 if form == "nf4" else columns, form)
    assert not fits(rows, columns, tile, form, paired)
    with pytest.raises(ValueError, match="tile"):
        coded.packed(tile, paired)


def test_the_numbers_of_nf4_are_those_of_bitsandbytes() -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    assert torch.equal(torch.tensor(NF4), functional.get_4bit_type("nf4", device="cpu").cpu())
