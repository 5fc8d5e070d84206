"""Every kernel, in every configuration, as the compiler makes it: no stack, no spills, within shared memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are compiled in a process without the interpreter", allow_module_level=True)

from dgkernels.moe import alignment, products, routing
from dgkernels.moe.alignment import most_blocks
from dgkernels.tiles import MOE, MoeTiles, moe_tiles
from tests.kernels.compiling import CAPABILITIES, Compiled, compiled

HIDDEN, WIDTH, EXPERTS, TOP_K = 2816, 704, 128, 8  # of the full model
CANVAS, PASS = 256, 512  # tokens of a canvas, and of a piece of the prompt

POINTERS = {
    "bf16": "x inner out residual projection rows_in",
    "u8": "codes",
    "fp32": "global_scales numbers factors scale parts squares per_expert_scale weights",
    "i32": "rows experts used chosen owners",
}
INTEGERS = ("count", "blocks", "hidden", "input_stride", "expert_stride")
SIGNATURE = {name: f"*{kind}" for kind, names in POINTERS.items() for name in names.split()}
SIGNATURE |= dict.fromkeys(INTEGERS, "i32")


def build(
    kernel: Any, constants: dict[str, Any], capability: int, own: dict[str, str] | None = None, **launch: Any
) -> Compiled:
    """Compiles a kernel, whose parameters have the types of `SIGNATURE`, or their `own`."""
    names = set(kernel.arg_names) - constants.keys()
    types = SIGNATURE | (own or {})
    return compiled(kernel, {name: types[name] for name in names}, constants, capability, **launch)


def capabilities() -> Iterator[int]:
    """Those that can be compiled for, and have a configuration."""
    yield from (number for number in CAPABILITIES if divmod(number, 10) in MOE)


def tiles(capability: int, form: str) -> MoeTiles:
    found = moe_tiles(divmod(capability, 10), HIDDEN, WIDTH, form)
    assert found is not None
    return found


@dataclass(frozen=True)
class Case:
    """A product's kernel on one kind of GPU."""

    capability: int
    form: str
    product: str

    def compile(self) -> Compiled:
        own, nf4 = tiles(self.capability, self.form), self.form == "nf4"
        rows, columns = own.gate_up if self.product == "gate_up" else own.down
        launch = own.gate_up_launch if self.product == "gate_up" else own.down_launch
        constants: dict[str, Any] = {
            "HIDDEN": HIDDEN, "WIDTH": WIDTH, "ROWS": rows, "COLUMNS": columns, "BLOCK": own.block, "NF4": nf4,
            "STAGES": launch.stages,
        }  # fmt: skip
        kernel = products._down
        if self.product == "gate_up":
            kernel, constants = products._gate_up, constants | {"TOP_K": TOP_K}
        scales = {"scales": "*fp32" if nf4 else "*u8"}
        return build(kernel, constants, self.capability, scales, num_warps=launch.warps, num_stages=launch.stages)


PRODUCTS = [
    Case(number, form, product)
    for number in capabilities()
    for form in ("nvfp4", "nf4")
    for product in ("gate_up", "down")
]


def check(found: Compiled) -> None:
    assert found.stack == found.local == found.spills == 0, found.summary()
    assert found.fits, found.summary()


@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_the_products(case: Case) -> None:
    found = case.compile()
    check(found)
    assert found.mma, "no tensor core is used"
    if case.form == "nvfp4":
        assert found.async_copies, "weights are not fetched ahead"


@pytest.mark.parametrize("capability", list(capabilities()))
def test_hopper_keeps_the_decoded_weights_in_registers(capability: int) -> None:
    kinds = set(Case(capability, "nvfp4", "gate_up").compile().mma)
    expected = {80: "HMMA", 89: "HMMA", 90: "HGMMA", 100: "UTC", 120: "HMMA"}
    assert any(kind.startswith(expected[capability]) for kind in kinds), kinds


@pytest.mark.parametrize("tokens", [1, CANVAS, PASS])
@pytest.mark.parametrize("capability", list(capabilities()))
def test_alignment(capability: int, tokens: int) -> None:
    import triton

    block, count = tiles(capability, "nvfp4").block, tokens * TOP_K
    blocks = triton.next_power_of_2(most_blocks(count, EXPERTS, block))
    constants = {"EXPERTS": EXPERTS, "COUNT": triton.next_power_of_2(count), "BLOCK": block, "BLOCKS": blocks}
    check(build(alignment._align, constants, capability))


@pytest.mark.parametrize("capability", list(capabilities()))
def test_routing_and_the_sum(capability: int) -> None:
    steps = -(-HIDDEN // (routing._COLUMNS * routing._SPLITS))
    project = {
        "HIDDEN": HIDDEN, "EXPERTS": EXPERTS, "PADDED": EXPERTS, "TOKENS": routing._TOKENS, "COLUMNS": routing._COLUMNS,
        "STEPS": steps, "WHOLE": steps * routing._COLUMNS * routing._SPLITS == HIDDEN,
    }  # fmt: skip
    assert project["WHOLE"]  # the full model needs no masks
    check(build(routing._project, project, capability))
    choose = {
        "HIDDEN": HIDDEN, "EXPERTS": EXPERTS, "PADDED": EXPERTS, "TOP_K": TOP_K, "K_PADDED": TOP_K,
        "SPLITS": routing._SPLITS,
    }  # fmt: skip
    check(build(routing._choose, choose, capability, {"eps": "fp32"}, num_warps=1))
    combine = {"TOP_K": TOP_K, "COLUMNS": products._COMBINED}
    check(build(products._combine, combine, capability, {"rows": "*bf16"}))
