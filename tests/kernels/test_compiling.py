# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The numbers of kernels compiled without a GPU, on kernels whose numbers are known."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton", reason="Triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are interpreted in this process", allow_module_level=True)

import triton
import triton.language as tl

from tests.kernels import compiling
from tests.kernels.compiling import CAPABILITIES, SHARED_LIMITS, Compiled, check_pack_layout, compiled


@triton.jit
def copy(x, y, count, N: tl.constexpr):
    i = tl.program_id(0) * count + tl.arange(0, N)
    tl.store(y + i, tl.load(x + i))


@triton.jit
def product(a, b, c, K, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr):
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BLOCK)
    total = tl.zeros((M, N), tl.float32)
    for start in tl.range(0, K, BLOCK):
        left = tl.load(a + i[:, None] * K + (start + k)[None, :])
        right = tl.load(b + (start + k)[:, None] * N + j[None, :])
        total = tl.dot(left, right, total)
    tl.store(c + i[:, None] * N + j[None, :], total)


@triton.jit
def halves(x, y, M: tl.constexpr, N: tl.constexpr, ACROSS: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    at = i + j * M if ACROSS else i * N + j
    low = tl.inline_asm_elementwise(
        "{ .reg .b32 a; and.b32 a, $1, 0x0F0F0F0F; mov.b32 $0, a; }",
        "=r,r",
        [tl.load(x + at)],
        dtype=tl.uint8,
        is_pure=True,
        pack=4,
    )
    tl.store(y + at, low)


def built(capability: int, rows: int = 64, block: int = 64, stages: int = 3, maxnreg: int | None = None) -> Compiled:
    return compiled(
        product,
        {"a": "*bf16", "b": "*bf16", "c": "*fp32", "K": "i32"},
        {"M": rows, "N": 64, "BLOCK": block},
        capability,
        num_stages=stages,
        divisible=("K",),
        maxnreg=maxnreg,
    )


MMA = {80: "HMMA", 89: "HMMA", 90: "HGMMA", 100: "UTC", 120: "HMMA"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_clean_kernel(capability: int) -> None:
    kernel = built(capability)
    assert not kernel.spills
    assert kernel.fits
    assert 0 < kernel.registers <= 255
    assert sum(kernel.mma.values()) > 0
    assert all(kind.startswith(MMA[capability]) for kind in kernel.mma)
    assert kernel.async_copies > 0
    assert kernel.instructions > 100
    assert f".target sm_{capability}" in kernel.ptx
    assert "ttg." in kernel.ttgir


def test_too_few_registers_spill() -> None:
    kernel = built(80, rows=128, maxnreg=32)
    assert kernel.registers <= 32
    assert kernel.spills
    assert kernel.stack > 0
    assert kernel.spill_stores > 0
    assert kernel.spill_loads > 0


def test_too_much_shared_memory_does_not_fit() -> None:
    large = {capability: built(capability, rows=128, block=128, stages=4) for capability in (80, 89)}
    assert large[89].shared > SHARED_LIMITS[89]
    assert not large[89].fits
    assert large[80].fits


@pytest.mark.parametrize(("divisible", "unaligned", "wide"), [(["count"], [], 1), ([], [], 0), (["count"], ["x"], 0)])
def test_loads_are_wide_where_the_addresses_allow_it(divisible: list[str], unaligned: list[str], wide: int) -> None:
    types = {"x": "*bf16", "y": "*bf16", "count": "i32"}
    kernel = compiled(copy, types, {"N": 1024}, 90, divisible=divisible, unaligned=unaligned)
    assert kernel.wide_loads == wide


def test_packs_of_neighbours_pass() -> None:
    types = {"x": "*u8", "y": "*u8"}
    for size in (16, 64):
        kernel = compiled(halves, types, {"M": 64, "N": size, "ACROSS": False}, 90, num_warps=1)
        assert check_pack_layout(kernel.ttgir) == []


def test_packs_across_the_last_axis_are_found() -> None:
    types = {"x": "*u8", "y": "*u8"}
    kernel = compiled(halves, types, {"M": 64, "N": 64, "ACROSS": True}, 90)
    (offender,) = check_pack_layout(kernel.ttgir)
    assert offender.startswith("tensor<64x64xi8, #blocked")
    assert check_pack_layout(kernel.ttgir, pack=2) == []
    assert check_pack_layout(kernel.ttgir, containing="0x0F0F0F0F") == [offender]
    assert check_pack_layout(kernel.ttgir, containing="prmt.b32") == []


ASSEMBLY = '%r = tt.elementwise_inline_asm "{ x }" {constraints = "=r,r", packed_element = 4 : i32, pure = true} %a : '
LAYOUTS = """
#wide = #ttg.blocked<{sizePerThread = [1, 8], threadsPerWarp = [8, 4], warpsPerCTA = [4, 1], order = [1, 0]}>
#few = #ttg.blocked<{sizePerThread = [4, 2], threadsPerWarp = [8, 4], warpsPerCTA = [4, 1], order = [1, 0]}>
#rows = #ttg.linear<{register = [[0, 1], [0, 2], [8, 0]], lane = [[1, 0]], warp = [], block = []}>
#pairs = #ttg.linear<{register = [[0, 1], [8, 0], [0, 2]], lane = [[1, 0]], warp = [], block = []}>
#deep = #ttg.linear<{register = [[0, 1, 0], [0, 0, 1], [0, 0, 2]], lane = [], warp = [], block = []}>
"""


@pytest.mark.parametrize(
    ("operand", "passes"),
    [
        ("tensor<16x16xi8, #wide>", True),
        ("tensor<16x16xi8, #few>", False),
        ("tensor<16x16xi8, #rows>", True),
        ("tensor<16x16xi8, #pairs>", False),
        ("tensor<16xi8, #ttg.slice<{dim = 0, parent = #pairs}>>", True),
        ("tensor<16xi8, #ttg.slice<{dim = 1, parent = #pairs}>>", False),
        ("tensor<4xi8, #ttg.slice<{dim = 0, parent = #ttg.slice<{dim = 1, parent = #deep}>}>>", True),
        ("tensor<16x16xi8, #ttg.dot_op<{opIdx = 0, parent = #mma, kWidth = 4}>>", False),
        ("tensor<16x16xi16, #pairs>", True),
        ("tensor<16x16xi8, #rows>, tensor<16x16xi8, #pairs>", False),
    ],
)
def test_layouts_are_read(operand: str, passes: bool) -> None:
    text = LAYOUTS + ASSEMBLY + f"{operand} -> tensor<16x16xi8, #rows> loc(#loc)\n"
    assert (check_pack_layout(text) == []) is passes


def test_wrong_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="has the parameters"):
        compiled(copy, {"x": "*bf16", "y": "*bf16"}, {"N": 64}, 90)
    monkeypatch.setattr(compiling, "_TOOLS", compiling._TOOLS / "elsewhere")
    with pytest.raises(RuntimeError, match="has no cuobjdump"):
        compiled(copy, {"x": "*bf16", "y": "*bf16", "count": "i32"}, {"N": 64}, 90)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="interpreted"):
        compiled(copy, {"x": "*bf16", "y": "*bf16", "count": "i32"}, {"N": 64}, 90)


def test_a_summary_is_short() -> None:
    text = compiled(copy, {"x": "*bf16", "y": "*bf16", "count": "i32"}, {"N": 64}, 90).summary()
    assert '"registers"' in text
    assert len(text) < 400
