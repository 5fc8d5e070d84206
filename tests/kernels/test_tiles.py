"""Configurations by compute capability."""

from __future__ import annotations

import pytest
import torch

from dgkernels import support
from dgkernels.moe.layout import Tile, fits
from dgkernels.tiles import MOE, AttentionTiles, Launch, attention_tiles, key_splits, moe_tiles


@pytest.mark.parametrize("form", ["nvfp4", "nf4"])
@pytest.mark.parametrize("capability", sorted(MOE))
@pytest.mark.parametrize(("hidden", "width"), [(2816, 704), (256, 128), (128, 64)])
def test_every_configuration_cuts_the_experts(capability: tuple[int, int], form: str, hidden: int, width: int) -> None:
    tiles = moe_tiles(capability, hidden, width, form)
    assert tiles is not None
    rows, columns = tiles.gate_up
    assert fits(2 * width, hidden, Tile(2 * rows, columns), form, paired=True)  # type: ignore[arg-type]
    assert fits(hidden, width, Tile(*tiles.down), form)  # type: ignore[arg-type]


def test_what_no_tile_divides_and_what_no_one_knows() -> None:
    assert moe_tiles((9, 0), 100, 64) is None
    assert moe_tiles((9, 0), 128, 72) is None
    assert moe_tiles((7, 5), 2816, 704) is None


def test_why_a_device_does_not_run_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    support.why_not.cache_clear()
    assert "NVIDIA" in (support.why_not(torch.device("cpu")) or "")
    assert "NVIDIA" in (support.why_not(torch.device("meta")) or "")
    support.why_not.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "not installed" in (support.why_not(torch.device("cuda")) or "")
    support.why_not.cache_clear()


@pytest.mark.parametrize("capability", sorted(MOE))
def test_attention_of_any_width_up_to_the_widest(capability: tuple[int, int]) -> None:
    for width in (16, 24, 64, 128, 256, 320, 512):
        assert attention_tiles(capability, width) is not None
    assert attention_tiles(capability, 513) is None
    assert attention_tiles((7, 5), 64) is None


@pytest.mark.parametrize(
    ("programs", "multiprocessors", "capacity", "splits"),
    [
        (64, 132, 5000, 2),  # an H100's full layer: two shares fill it but for four
        (32, 132, 1535, 4),
        (128, 128, 5000, 1),
        (130, 128, 5000, 3),  # the second round would be all but idle
        (1000, 132, 5000, 1),
        (1, 132, 64, 1),  # no share without a tile of keys
        (1, 132, 10, 1),
    ],
)
def test_keys_are_shared_where_that_fills_the_device(
    programs: int, multiprocessors: int, capacity: int, splits: int
) -> None:
    assert key_splits(programs, multiprocessors, capacity, AttentionTiles(64, 64, 64, Launch())) == splits
