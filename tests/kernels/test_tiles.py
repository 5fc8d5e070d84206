"""Configurations by compute capability."""

from __future__ import annotations

import pytest
import torch

from dgkernels import support
from dgkernels.moe.layout import Tile, fits
from dgkernels.tiles import MOE, moe_tiles


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
