"""A small emulator of PTX, for what kernels put into `tl.inline_asm_elementwise`.

Registers are arrays: one number for each time that the assembly runs. They are 32 bits wide; one of 16 bits is half
empty. An instruction that is
not here is refused by its name; `INSTRUCTIONS` is the place to add it. The elements of the last axis are packed in
order: what order a GPU sees is decided by the layout that the compiler picks, see `tests.kernels.compiling`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tests.kernels.interpreter.floats import Array, Bits, Floats, decode_bf16, encode_bf16, fused_multiply_add

_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_DECLARATION: Final = re.compile(r"\.reg\s+\.(?:[busf]32|[bus]16)\s+(.+)", re.DOTALL)
_OPERAND: Final = re.compile(r"\{[^}]*\}|[^\s,][^,]*")
_NAMES: Final = re.compile(r"([A-Za-z_%$][\w$]*)(?:<(\d+)>)?")
_HALVES: Final = re.compile(r"mov\.b32\s+\{\s*([^,\s]+)\s*,\s*([^,\s]+)\s*\}\s*,\s*(\S+)")
_HALF: Final = np.uint32(16)
_LOW: Final = np.uint32(0xFFFF)
_FLOAT_NAN: Final = np.uint32(0x7FFFFFFF)


class PtxError(Exception):
    """Assembly that a GPU's assembler would refuse, or that this emulator does not know."""


def run(
    assembly: str, constraints: str, inputs: Sequence[Array], outputs: Sequence[np.dtype[np.generic]], pack: int
) -> list[Array]:
    """Runs assembly once for every `pack` elements.

    Args:
        assembly: what `tl.inline_asm_elementwise` takes; `$0`, `$1`, … are the outputs' registers, then the inputs'.
        constraints: one for each register, as `=r` or `r`.
        inputs: arrays of one shape, of elements of 8, 16 or 32 bits.
        outputs: the types of the elements of the results, of 8, 16 or 32 bits.
        pack: how many elements of each array a run sees. Those of less than 32 bits share registers.

    Returns:
        One array of the inputs' shape for each output.

    Raises:
        PtxError: an instruction, a register or a number of constraints is wrong.
    """
    shape = inputs[0].shape
    if inputs[0].size % pack:
        raise PtxError(f"{inputs[0].size} elements are no multiple of pack={pack}")
    wanted = [_registers_of(dtype, pack) for dtype in outputs]
    given = [register for array in inputs for register in _packed(array, pack)]
    _check_constraints(constraints, sum(wanted), len(given))
    machine = _Machine(inputs[0].size // pack, _numbered(given, first=sum(wanted)), _numbers(sum(wanted)))
    machine.run(assembly)
    results, first = [], 0
    for dtype, count in zip(outputs, wanted, strict=True):
        registers = [machine.read(f"${number}") for number in range(first, first + count)]
        results.append(_unpacked(registers, dtype, pack).reshape(shape))
        first += count
    return results


def _numbers(count: int) -> set[str]:
    return {f"${number}" for number in range(count)}


def _numbered(registers: Sequence[Bits], first: int) -> dict[str, Bits]:
    return {f"${first + number}": register for number, register in enumerate(registers)}


def _check_constraints(constraints: str, outputs: int, inputs: int) -> None:
    parts = [part.strip() for part in constraints.split(",") if not part.strip().startswith("~")]
    written = sum(part.startswith("=") for part in parts)
    if (written, len(parts) - written) != (outputs, inputs):
        raise PtxError(
            f"constraints {constraints!r} name {written} output and {len(parts) - written} input registers; "
            f"the arrays take {outputs} and {inputs}"
        )


def _elements_per_register(dtype: np.dtype[np.generic], pack: int) -> int:
    if dtype.itemsize > 4 or dtype == np.bool_:
        raise PtxError(f"elements of type {dtype} do not fit a 32-bit register")
    return min(4 // dtype.itemsize, pack)


def _registers_of(dtype: np.dtype[np.generic], pack: int) -> int:
    return pack // _elements_per_register(dtype, pack)


def _packed(array: Array, pack: int) -> list[Bits]:
    """The registers that an array fills; what is left of a register is zero."""
    dtype = array.dtype
    together = _elements_per_register(dtype, pack)
    rows = np.ascontiguousarray(array).view(f"u{dtype.itemsize}").reshape(-1, pack)
    words = np.ascontiguousarray(rows).view(f"u{dtype.itemsize * together}").astype(np.uint32)
    return [np.ascontiguousarray(words[:, column]) for column in range(words.shape[1])]


def _unpacked(registers: Sequence[Bits], dtype: np.dtype[np.generic], pack: int) -> Array:
    width = dtype.itemsize * _elements_per_register(dtype, pack)
    words = np.stack(registers, axis=1).astype(f"u{width}")
    return np.ascontiguousarray(words).view(dtype)


@dataclass
class _Machine:
    """Registers, and what runs on them: `written` of them have a number, the `declared` ones may get one."""

    runs: int
    written: dict[str, Bits]
    declared: set[str] = field(default_factory=set)

    def run(self, assembly: str) -> None:
        for statement in _COMMENT.sub("", assembly).split(";"):
            # Braces around statements are scopes; those around operands stand behind an instruction.
            self._step(statement.lstrip("{} \t\n").rstrip())

    def _step(self, statement: str) -> None:
        if not statement:
            return
        if statement.startswith("."):
            self.declared |= _declared(statement)
            return
        name, *rest = statement.split(None, 1)
        target, *operands = [operand.strip() for operand in _OPERAND.findall("".join(rest))] or [""]
        instruction = _known(name, len(operands))
        if "{" in statement and name != "mov.b32":
            raise PtxError(f"operands in braces are known to mov.b32 alone: {statement!r}")
        self._write(target, instruction(*(self.read(operand) for operand in operands)))

    def _write(self, target: str, word: Bits) -> None:
        if target.startswith("{"):
            low, high = _halves(target)
            self._write(low, word & _LOW)
            self._write(high, word >> _HALF)
        elif target in self.declared:
            self.written[target] = word
        else:
            raise PtxError(f"{target!r} is written, but is no output and was not declared")

    def read(self, operand: str) -> Bits:
        """A register's bits, or a constant's: one for each run. Two registers in braces are the halves of one."""
        if operand.startswith("{"):
            low, high = _halves(operand)
            return (self.read(low) & _LOW) | (self.read(high) << _HALF)
        if operand in self.written:
            return self.written[operand]
        if operand in self.declared:
            raise PtxError(f"register {operand!r} is read before it is written")
        return np.full(self.runs, _constant(operand), np.uint32)


def _halves(operand: str) -> tuple[str, str]:
    names = [name.strip() for name in operand.strip("{}").split(",")]
    if len(names) != 2:
        raise PtxError(f"{operand!r} is not two halves of a register")
    return names[0], names[1]


def _declared(statement: str) -> set[str]:
    match = _DECLARATION.fullmatch(statement)
    if not match:
        raise PtxError(f"unknown declaration {statement!r}")
    names: set[str] = set()
    for part in match[1].split(","):
        name = _NAMES.fullmatch(part.strip())
        if not name:
            raise PtxError(f"unknown declaration {statement!r}")
        names |= {f"{name[1]}{number}" for number in range(int(name[2]))} if name[2] else {name[1]}
    return names


def _known(name: str, operands: int) -> Callable[..., Bits]:
    if name not in INSTRUCTIONS:
        raise PtxError(f"unknown PTX instruction {name!r}")
    takes, instruction = INSTRUCTIONS[name]
    if operands != takes:
        raise PtxError(f"{name} takes {takes} operands besides its result, not {operands}")
    return instruction


def _constant(operand: str) -> int:
    try:
        if operand[:2] in ("0f", "0F"):
            return int(operand[2:], 16)
        return int(operand.removesuffix("U"), 0) & 0xFFFFFFFF
    except ValueError:
        raise PtxError(f"{operand!r} is neither a register nor a number") from None


def _permute(low: Bits, high: Bits, selector: Bits) -> Bits:
    """`prmt`: each byte of the result is one of eight, or the sign of one, repeated."""
    eight = np.stack([word >> np.uint32(8 * i) & np.uint32(255) for word in (low, high) for i in range(4)], axis=1)
    result = np.zeros_like(low)
    for place in range(4):
        choice = (selector >> np.uint32(4 * place)) & np.uint32(15)
        byte = np.take_along_axis(eight, (choice & np.uint32(7))[:, None].astype(np.intp), axis=1)[:, 0]
        sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
        result |= np.where(choice & np.uint32(8), sign, byte) << np.uint32(8 * place)
    return result


def _lop3(a: Bits, b: Bits, c: Bits, table: Bits) -> Bits:
    """`lop3`: any function of three bits; its value for (a, b, c) is the bit 4a + 2b + c of the table."""
    result = np.zeros_like(a)
    for case in range(8):
        chosen = (a if case & 4 else ~a) & (b if case & 2 else ~b) & (c if case & 1 else ~c)
        result |= np.where(table >> np.uint32(case) & np.uint32(1), chosen, np.uint32(0))
    return result


def _shift_left(word: Bits, count: Bits) -> Bits:
    return np.where(count > 31, np.uint32(0), word << np.minimum(count, np.uint32(31)))


def _shift_right(word: Bits, count: Bits) -> Bits:
    return np.where(count > 31, np.uint32(0), word >> np.minimum(count, np.uint32(31)))


def _shift_right_signed(word: Bits, count: Bits) -> Bits:
    return (word.view(np.int32) >> np.minimum(count, np.uint32(31)).astype(np.int32)).view(np.uint32)


def _pairwise(operation: Callable[..., Array]) -> Callable[..., Bits]:
    """An operation on bf16 numbers, on both halves of registers; its result is rounded once."""

    def both(*words: Bits) -> Bits:
        low, high = (
            encode_bf16(operation(*(decode_bf16(half.astype(np.uint16)) for half in halves)))
            for halves in ([word & _LOW for word in words], [word >> _HALF for word in words])
        )
        return low.astype(np.uint32) | (high.astype(np.uint32) << _HALF)

    return both


def _bf16_product(x: Floats, y: Floats) -> Array:
    return np.multiply(x, y, dtype=np.float64)


def _on_floats(function: Callable[[Floats], Floats], flushes: bool) -> Callable[[Bits], Bits]:
    """A function of a float32 number; with `flushes`, numbers below the normal ones count as zero (`.ftz`)."""

    def flushed(numbers: Floats) -> Floats:
        is_tiny = flushes & (np.abs(numbers) < np.finfo(np.float32).tiny)
        return np.where(is_tiny, np.copysign(np.float32(0), numbers), numbers)

    def apply(word: Bits) -> Bits:
        with np.errstate(all="ignore"):
            numbers = flushed(function(flushed(word.view(np.float32))))
        return np.where(np.isnan(numbers), _FLOAT_NAN, numbers.view(np.uint32))

    return apply


INSTRUCTIONS: Final[Mapping[str, tuple[int, Callable[..., Bits]]]] = {
    "mov.b32": (1, np.copy),
    "mov.u32": (1, np.copy),
    "not.b32": (1, np.bitwise_not),
    "and.b32": (2, np.bitwise_and),
    "or.b32": (2, np.bitwise_or),
    "xor.b32": (2, np.bitwise_xor),
    "shl.b32": (2, _shift_left),
    "shr.b32": (2, _shift_right),
    "shr.u32": (2, _shift_right),
    "shr.s32": (2, _shift_right_signed),
    "add.u32": (2, np.add),
    "add.s32": (2, np.add),
    "prmt.b32": (3, _permute),
    "lop3.b32": (4, _lop3),
    "mul.bf16x2": (2, _pairwise(_bf16_product)),
    "mul.rn.bf16x2": (2, _pairwise(_bf16_product)),
    "fma.rn.bf16x2": (3, _pairwise(fused_multiply_add)),
    "tanh.approx.f32": (1, _on_floats(np.tanh, flushes=False)),
    "ex2.approx.ftz.f32": (1, _on_floats(np.exp2, flushes=True)),
    "lg2.approx.ftz.f32": (1, _on_floats(np.log2, flushes=True)),
}
"""By name: how many operands come after the result, and what is done with them."""
