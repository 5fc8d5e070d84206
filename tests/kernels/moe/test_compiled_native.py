"""Products of NVFP4 by NVFP4 as the compiler makes them, where tensor cores have them."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are compiled in a process without the interpreter", allow_module_level=True)

import triton

from dgkernels.moe import native
from dgkernels.support import NATIVE_TRITON
from dgkernels.tiles import native_tiles
from tests.kernels.compiling import compiled
from tests.kernels.moe.test_compiled import HIDDEN, TOP_K, WIDTH, check

pytestmark = pytest.mark.skipif(
    tuple(map(int, triton.__version__.split(".")[:2])) < NATIVE_TRITON, reason="this Triton does not reach them"
)

TYPES = {
    "*u8": "x inner codes", "*fp8e4nv": "x_scales inner_scales scales", "*bf16": "out", "i32": "count",
    "*fp32": "x_factors inner_factors global_scales factors", "*i32": "rows experts used",
}  # fmt: skip
SIGNATURE = {name: kind for kind, names in TYPES.items() for name in names.split()}


@pytest.mark.parametrize("product", ["gate_up", "down"])
@pytest.mark.parametrize(("capability", "instruction"), [(100, "UTCOMMA"), (120, "OMMA")])
def test_the_products(capability: int, instruction: str, product: str) -> None:
    tiles = native_tiles((capability // 10, 0), HIDDEN, WIDTH)
    assert tiles is not None
    first = product == "gate_up"
    (rows, columns), launch = (tiles.gate_up, tiles.gate_up_launch) if first else (tiles.down, tiles.down_launch)
    constants: dict[str, Any] = {
        "HIDDEN": HIDDEN, "WIDTH": WIDTH, "ROWS": rows, "COLUMNS": columns, "BLOCK": tiles.block,
        "STAGES": launch.stages,
    }  # fmt: skip
    kernel = native._gate_up if first else native._down
    constants |= {"TOP_K": TOP_K} if first else {}
    types = {name: SIGNATURE[name] for name in kernel.arg_names if name not in constants}
    found = compiled(kernel, types, constants, capability, num_warps=launch.warps, num_stages=launch.stages)
    check(found)
    assert set(found.mma) == {instruction} and found.async_copies, found.summary()


@pytest.mark.parametrize("capability", [100, 120])
@pytest.mark.parametrize("width", [HIDDEN, WIDTH])
def test_rows(capability: int, width: int) -> None:
    padded = triton.next_power_of_2(width)
    rows = max(1, native._ELEMENTS // padded)
    constants = {"WIDTH": width, "PADDED": padded, "ROWS": rows, "HIGHEST": native._HIGHEST, "LEAST": native._LEAST}
    types = {"x": "*bf16", "codes": "*u8", "scales": "*fp8e4nv", "factors": "*fp32", "count": "i32"}
    check(compiled(native._quantise_blocks, types, constants, capability, num_warps=8))
