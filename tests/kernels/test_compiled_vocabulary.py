"""The head's kernels as the compiler makes them."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are compiled in a process without the interpreter", allow_module_level=True)

import triton

from dgkernels import vocabulary
from dgkernels.tiles import MOE, vocabulary_tiles
from tests.kernels.compiling import CAPABILITIES, compiled
from tests.kernels.moe.test_compiled import check

WORDS, HIDDEN = 262_144, 2816
SIGNATURE = {
    "hidden": "*bf16", "embedding": "*bf16", "weights": "*bf16", "sums": "*fp32", "best": "*i32", "count": "i32",
    "cap": "fp32", "uniforms": "*fp32", "argmax": "*i64", "sample": "*i64", "entropy": "*fp32", "totals": "*fp32",
}  # fmt: skip


@pytest.mark.parametrize("capability", [number for number in CAPABILITIES if divmod(number, 10) in MOE])
def test_the_head(capability: int) -> None:
    tiles = vocabulary_tiles((capability // 10, capability % 10), WORDS, HIDDEN)
    assert tiles is not None
    cuts, launch = WORDS // tiles.words, tiles.launch
    head = {
        "WIDTH": HIDDEN, "WORDS": WORDS, "CUTS": cuts, "ROWS": tiles.rows, "TILE": tiles.words,
        "COLUMNS": tiles.columns, "TOP": vocabulary._TOP, "STAGES": launch.stages,
    }  # fmt: skip
    names = set(vocabulary._head.arg_names) - head.keys()
    found = compiled(
        vocabulary._head, {name: SIGNATURE[name] for name in names}, head, capability, num_warps=launch.warps,
        num_stages=launch.stages,
    )  # fmt: skip
    check(found)
    assert found.mma and found.async_copies
    finish = {"WORDS": WORDS, "CUTS": cuts, "CUTS_PADDED": triton.next_power_of_2(cuts), "TILE": tiles.words}
    names = set(vocabulary._finish.arg_names) - finish.keys()
    check(compiled(vocabulary._finish, {name: SIGNATURE[name] for name in names}, finish, capability))
