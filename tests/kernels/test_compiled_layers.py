"""What lies between a layer's products, and attention, as the compiler makes them."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are compiled in a process without the interpreter", allow_module_level=True)

import triton

from dgkernels import attention, gated, norms, rotary
from dgkernels.tiles import attention_tiles
from tests.kernels.compiling import Compiled, compiled
from tests.kernels.moe.test_compiled import capabilities, check

HIDDEN, HEADS = 2816, 16  # of the full model
LAYERS = {"sliding": (256, 8), "full": (512, 2)}  # head width, K/V heads

BF16 = "x out residual total first second normed embedding signal gate_up raw queries keys values"
FLOATS = "weight first_weight second_weight branch_weights then weights cosine signed_sine parts sums"
SIGNATURE = (
    dict.fromkeys(BF16.split(), "*bf16")
    | dict.fromkeys(FLOATS.split(), "*fp32")
    | {"ids": "*i64", "rows": "*i64", "start": "*i32", "end": "*i32"}
    | dict.fromkeys(("count", "known", "step", "key_head", "key_step", "query_head", "query_token"), "i32")
    | dict.fromkeys(("factor", "eps", "scale", "scalar"), "fp32")
)
DIVISIBLE = ("count", "known", "step", "key_head", "key_step", "query_head", "query_token")


def build(kernel: Any, constants: dict[str, Any], capability: int, warps: int, stages: int = 3) -> Compiled:
    names = set(kernel.arg_names) - constants.keys()
    types = {name: SIGNATURE[name] for name in names}
    own = [name for name in DIVISIBLE if name in names]
    return compiled(kernel, types, constants, capability, num_warps=warps, num_stages=stages, divisible=own)


@pytest.mark.parametrize("capability", list(capabilities()))
def test_norms(capability: int) -> None:
    rows, padded = norms._cut(HIDDEN)
    sizes, warps = {"WIDTH": HIDDEN, "PADDED": padded, "ROWS": rows}, norms._warps(rows * padded)
    for kernel, flags in (
        (norms._norm, {"WEIGHTED": True}),
        (norms._embed, {"WITH_SIGNAL": True}),
        (norms._add_norm, {"FIRST": True, "SECOND": True, "TWO": True}),
        (norms._join_branches, {"WEIGHTED": True}),
    ):
        found = build(kernel, sizes | flags, capability, warps)
        check(found)
        assert found.registers <= 128 and found.wide_loads, found.summary()


@pytest.mark.parametrize("capability", list(capabilities()))
def test_the_gate(capability: int) -> None:
    constants = {"WIDTH": 2112, "ROWS": gated._ROWS, "COLUMNS": gated._COLUMNS}
    check(build(gated._gelu_gate, constants, capability, 4))


@pytest.mark.parametrize("kind", list(LAYERS))
@pytest.mark.parametrize("capability", list(capabilities()))
def test_the_rotation(capability: int, kind: str) -> None:
    width, kv_heads = LAYERS[kind]
    constants = {
        "HEADS": HEADS, "KV_HEADS": kv_heads, "OWN_VALUES": kind == "sliding", "HALF": width // 2,
        "PADDED": width // 2, "TOKENS": rotary._ELEMENTS // width, "INDEXED": True,
    }  # fmt: skip
    check(build(rotary._rotate_into, constants, capability, 2))


@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize("kind", list(LAYERS))
@pytest.mark.parametrize("capability", list(capabilities()))
def test_attention(capability: int, kind: str, splits: int) -> None:
    width, kv_heads = LAYERS[kind]
    tiles = attention_tiles((capability // 10, capability % 10), width)
    assert tiles is not None
    constants = {
        "GROUP": HEADS // kv_heads, "HEADS": HEADS, "DIM": width, "WIDTH": width, "ROWS": tiles.rows,
        "KEYS": tiles.keys, "CHUNK": tiles.chunk, "SPLITS": splits, "STAGES": tiles.launch.stages,
    }  # fmt: skip
    kernel = attention._attend
    names = set(kernel.arg_names) - constants.keys()
    types = {name: SIGNATURE[name] for name in names} | {"parts": "*bf16" if splits == 1 else "*fp32"}
    found = compiled(
        kernel, types, constants, capability, num_warps=tiles.launch.warps, num_stages=tiles.launch.stages,
        divisible=[name for name in DIVISIBLE if name in names],
    )  # fmt: skip
    check(found)
    assert found.mma and found.async_copies, found.summary()


@pytest.mark.parametrize("splits", [2, 8])
@pytest.mark.parametrize("capability", list(capabilities()))
def test_joining_the_shares(capability: int, splits: int) -> None:
    width = triton.next_power_of_2(512)
    constants = {"HEADS": HEADS, "DIM": width, "WIDTH": width, "SPLITS": splits, "ROWS": attention._JOINED}
    check(build(attention._join, constants, capability, 4))
