"""The head's kernels as the compiler makes them."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are compiled in a process without the interpreter", allow_module_level=True)

import triton

from dgkernels import eights, vocabulary
from dgkernels.tiles import FP8, MOE, vocabulary_tiles
from tests.kernels.compiling import CAPABILITIES, compiled
from tests.kernels.moe.test_compiled import check

WORDS, HIDDEN = 262_144, 2816
SIGNATURE = {
    "hidden": "*bf16", "embedding": "*bf16", "hidden_scales": "*bf16", "word_scales": "*bf16", "weights": "*bf16",
    "sums": "*fp32", "best": "*i32", "count": "i32",
    "cap": "*fp32", "uniforms": "*fp32", "argmax": "*i64", "sample": "*i64", "entropy": "*fp32", "totals": "*fp32",
}  # fmt: skip
IN_FP8 = {"hidden": "*fp8e4nv", "embedding": "*fp8e4nv", "hidden_scales": "*fp32", "word_scales": "*fp32"}


@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("capability", [number for number in CAPABILITIES if divmod(number, 10) in MOE])
def test_the_head(capability: int, fp8: bool) -> None:
    tiles = vocabulary_tiles((capability // 10, capability % 10), WORDS, HIDDEN, fp8)
    if tiles is None:
        assert fp8 and capability < 89
        return
    cuts, launch = WORDS // tiles.words, tiles.launch
    head = {
        "WIDTH": HIDDEN, "WORDS": WORDS, "CUTS": cuts, "ROWS": tiles.rows, "TILE": tiles.words,
        "COLUMNS": tiles.columns, "TOP": vocabulary._TOP, "SCALED": fp8, "STAGES": launch.stages,
    }  # fmt: skip
    names = set(vocabulary._head.arg_names) - head.keys()
    types = SIGNATURE | (IN_FP8 if fp8 else {})
    found = compiled(
        vocabulary._head, {name: types[name] for name in names}, head, capability, num_warps=launch.warps,
        num_stages=launch.stages,
    )  # fmt: skip
    check(found)
    assert found.mma and found.async_copies
    assert not fp8 or any("Q" in kind for kind in found.mma), found.mma  # tensor cores that multiply FP8
    finish = {"WORDS": WORDS, "CUTS": cuts, "CUTS_PADDED": triton.next_power_of_2(cuts), "TILE": tiles.words}
    names = set(vocabulary._finish.arg_names) - finish.keys()
    check(compiled(vocabulary._finish, {name: SIGNATURE[name] for name in names}, finish, capability))


@pytest.mark.parametrize("capability", [number for number in CAPABILITIES if divmod(number, 10) >= FP8])
def test_rows_in_fp8(capability: int) -> None:
    constants = {"WIDTH": HIDDEN, "PADDED": 4096, "ROWS": 1, "LARGEST": eights.LARGEST, "LEAST": eights._LEAST}
    types = {"x": "*bf16", "codes": "*fp8e4nv", "scales": "*fp32", "count": "i32"}
    check(compiled(eights._quantise_rows, types, constants, capability, num_warps=8))
