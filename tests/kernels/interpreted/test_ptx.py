"""Each instruction of the emulator, against Python's integers and numpy; the packing of registers; its refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kernels.interpreter.floats import decode_bf16, encode_bf16, fused_multiply_add
from tests.kernels.interpreter.ptx import INSTRUCTIONS, PtxError, run

MASK = 0xFFFFFFFF
words = st.integers(0, MASK)


def signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def execute(name: str, *operands: int) -> int:
    """The result of an instruction on words that lie in registers."""
    inputs = [np.array([operand], np.uint32) for operand in operands]
    constraints = ",".join(["=r"] + ["r"] * len(operands))
    names = ", ".join(f"${number + 1}" for number in range(len(operands)))
    (result,) = run(f"{name} $0, {names};", constraints, inputs, [np.dtype(np.uint32)], pack=1)
    return int(result[0])


@given(words, words, st.integers(0, 40))
def test_integers(a: int, b: int, count: int) -> None:
    assert execute("mov.b32", a) == execute("mov.u32", a) == a
    assert execute("not.b32", a) == a ^ MASK
    assert execute("and.b32", a, b) == a & b
    assert execute("or.b32", a, b) == a | b
    assert execute("xor.b32", a, b) == a ^ b
    assert execute("add.u32", a, b) == execute("add.s32", a, b) == (a + b) & MASK
    assert execute("shl.b32", a, count) == (a << count) & MASK
    assert execute("shr.b32", a, count) == execute("shr.u32", a, count) == a >> count
    assert execute("shr.s32", a, count) == (signed(a) >> count) & MASK


@given(words, words, words, st.integers(0, 255))
@example(0xF0F0F0F0, 0xCCCCCCCC, 0xAAAAAAAA, 0xE4)
def test_lop3(a: int, b: int, c: int, table: int) -> None:
    bits = [(table >> (4 * (a >> i & 1) + 2 * (b >> i & 1) + (c >> i & 1)) & 1) << i for i in range(32)]
    assert execute("lop3.b32", a, b, c, table) == sum(bits)


@given(words, words, st.integers(0, 0xFFFF))
@example(0x80C01122, 0, 0x3424)
def test_prmt(low: int, high: int, selector: int) -> None:
    eight = low.to_bytes(4, "little") + high.to_bytes(4, "little")
    chosen = []
    for place in range(4):
        choice = selector >> (4 * place) & 15
        byte = eight[choice & 7]
        chosen.append((255 if byte & 128 else 0) if choice & 8 else byte)
    assert execute("prmt.b32", low, high, selector) == int.from_bytes(chosen, "little")


def pair(word: int) -> torch.Tensor:
    return torch.tensor([signed(word)], dtype=torch.int32).view(torch.bfloat16)


@given(words, words)
def test_products_of_pairs(a: int, b: int) -> None:
    found = execute("mul.bf16x2", a, b)
    assert found == execute("mul.rn.bf16x2", a, b)
    halves = [np.array([a >> shift & 0xFFFF, b >> shift & 0xFFFF], np.uint16) for shift in (0, 16)]
    expected = [int(encode_bf16(np.array(np.prod(decode_bf16(half), dtype=np.float64)))) for half in halves]
    assert found == expected[0] | expected[1] << 16
    # torch rounds twice below the normal numbers.
    product = pair(a) * pair(b)
    is_normal = product.float().abs() >= 2.0**-126
    assert torch.equal(pair(found)[is_normal], product[is_normal])


@given(words, words, words)
def test_fused_multiplication_of_pairs(a: int, b: int, c: int) -> None:
    found = execute("fma.rn.bf16x2", a, b, c)
    for shift in (0, 16):
        numbers = (decode_bf16(np.array([word >> shift & 0xFFFF], np.uint16)) for word in (a, b, c))
        assert found >> shift & 0xFFFF == int(encode_bf16(fused_multiply_add(*numbers))[0])


def on_float(name: str, number: float) -> float:
    bits = int(np.array([number], np.float32).view(np.uint32)[0])
    return float(np.array([execute(name, bits)], np.uint32).view(np.float32)[0])


@given(st.floats(-30, 30, width=32))
def test_functions_of_a_float(number: float) -> None:
    assert on_float("tanh.approx.f32", number) == pytest.approx(math.tanh(number), rel=1e-6)
    assert on_float("ex2.approx.ftz.f32", number) == pytest.approx(2.0**number, rel=1e-6)
    if number >= 2.0**-126:
        assert on_float("lg2.approx.ftz.f32", number) == pytest.approx(math.log2(number), rel=1e-6, abs=1e-7)


def test_tiny_numbers_count_as_zero() -> None:
    assert on_float("ex2.approx.ftz.f32", -130.0) == 0
    assert on_float("ex2.approx.ftz.f32", 1e-40) == 1
    assert on_float("lg2.approx.ftz.f32", 1e-40) == -math.inf
    assert on_float("tanh.approx.f32", 1e-40) != 0
    assert math.isnan(on_float("lg2.approx.ftz.f32", -1.0))


def test_every_instruction_is_tested() -> None:
    source = Path(__file__).read_text()
    assert all(f'"{name}"' in source for name in INSTRUCTIONS)


def test_operands_in_registers_vary_from_run_to_run() -> None:
    inputs = [np.array([0x03020100, 0x07060504], np.uint32), np.array([0x0123, 0x3210], np.uint32)]
    (result,) = run("prmt.b32 $0, $1, 0, $2;", "=r,r,r", inputs, [np.dtype(np.uint32)], pack=1)
    assert [hex(word) for word in result] == ["0x10203", "0x7060504"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("pack", [1, 2, 4])
def test_elements_pass_through_registers(dtype: type[np.generic], pack: int) -> None:
    array = np.arange(-8, 8).astype(dtype).reshape(2, 8)
    count = max(1, pack * array.itemsize // 4)
    moves = "".join(f"mov.b32 ${register}, ${count + register};" for register in range(count))
    constraints = ",".join(["=r"] * count + ["r"] * count)
    (result,) = run(moves, constraints, [array], [array.dtype], pack)
    assert result.dtype == array.dtype
    assert np.array_equal(result, array)


def test_elements_lie_in_registers_from_the_low_end() -> None:
    array = np.array([-1, 2, 3, 4, 5, 6, 7, 8], np.int8)
    (whole,) = run("mov.b32 $0, $1;", "=r,r", [array], [np.dtype(np.int8)], pack=4)
    assert np.array_equal(whole, array)
    shifted, high = run(
        "shr.b32 $0, $2, 8; and.b32 $1, $2, 0xFF00;", "=r,=r,r", [array], [np.dtype(np.uint8)] * 2, pack=4
    )
    assert shifted.tolist() == [2, 3, 4, 0, 6, 7, 8, 0]
    assert high.tolist() == [0, 2, 0, 0, 0, 6, 0, 0]
    (alone,) = run("mov.b32 $0, $1;", "=r,r", [array], [np.dtype(np.uint32)], pack=1)
    assert alone[0] == 0xFF


def test_halves_of_registers() -> None:
    array = np.array([0x22221111, 0x44443333], np.uint32)
    low, high = run("mov.b32 {$0, $1}, $2;", "=h,=h,r", [array], [np.dtype(np.uint16)] * 2, pack=1)
    assert (low.tolist(), high.tolist()) == ([0x1111, 0x3333], [0x2222, 0x4444])
    swap = "{ .reg .b16 l, h; mov.b32 {l, h}, $1; mov.b32 $0, {h, l}; }"
    (swapped,) = run(swap, "=r,r", [array], [np.dtype(np.uint32)], pack=1)
    assert swapped.tolist() == [0x11112222, 0x33334444]


def test_wider_results_take_more_registers() -> None:
    array = np.array([1, 2, 3, 4], np.uint8)
    (result,) = run(
        "{ .reg .b32 t<2>; // a comment\n prmt.b32 t0, $2, 0, 0x4140; /* one; more */ prmt.b32 t1, $2, 0, 0x4342;"
        "mov.b32 $0, t0; mov.b32 $1, t1; }",
        "=r,=r,r",
        [array],
        [np.dtype(np.uint16)],
        pack=4,
    )
    assert result.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("assembly", "constraints", "message"),
    [
        ("bfind.u32 $0, $1;", "=r,r", "unknown PTX instruction 'bfind.u32'"),
        ("and.b32 $0, $1;", "=r,r", "and.b32 takes 2 operands"),
        ("mov.b32 t, $1;", "=r,r", "'t' is written, but is no output and was not declared"),
        ("mov.b32 $1, $1;", "=r,r", "is no output"),
        ("mov.b32 {$0, $0, $0}, $1;", "=r,r", "not two halves"),
        ("add.u32 $0, {$1, $1}, $1;", "=r,r", "known to mov.b32 alone"),
        ("mov.b32;", "=r,r", "mov.b32 takes 1 operands besides its result, not 0"),
        ("mov.b32 $0, t;", "=r,r", "'t' is neither a register nor a number"),
        (".reg .b32 t; mov.b32 $0, t;", "=r,r", "'t' is read before it is written"),
        (".reg .pred p; mov.b32 $0, $1;", "=r,r", "unknown declaration '.reg .pred p'"),
        ("", "=r,r", "'\\$0' is read before it is written"),
        ("mov.b32 $0, $1;", "=r,=r,r", "2 output and 1 input registers; the arrays take 1 and 1"),
    ],
)
def test_wrong_assembly_is_refused(assembly: str, constraints: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        run(assembly, constraints, [np.zeros(4, np.uint32)], [np.dtype(np.uint32)], pack=1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PtxError, match="no multiple of pack=4"):
        run("mov.b32 $0, $1;", "=r,r", [np.zeros(6, np.uint8)], [np.dtype(np.uint8)], pack=4)
    with pytest.raises(PtxError, match="int64"):
        run("mov.b32 $0, $1;", "=r,r", [np.zeros(6, np.int64)], [np.dtype(np.uint8)], pack=1)
