"""Kernels compiled ahead of time, without a GPU: what ptxas makes of them, by the numbers.

Triton's wheel has an assembler for every architecture, and `cuobjdump` to read what it made. The process must not be
one that interprets (TRITON_INTERPRET).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeAlias

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import ASTSource

Constant: TypeAlias = Any
"""What a `tl.constexpr` parameter may be: a number, a string, a type, a tuple of such."""

CAPABILITIES: Final = (80, 89, 90, 100, 120)

SHARED_LIMITS: Final[Mapping[int, int]] = {
    capability: kibibytes * 1024
    for capability, kibibytes in {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99}.items()
}
"""Shared memory in bytes that a block may have, by compute capability (CUDA C++ Programming Guide, table 30)."""

_TOOLS: Final = Path(nvidia.__file__).parent / "bin"
_USAGE: Final = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
_INSTRUCTION: Final = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)
_MMA: Final = re.compile(r"(?:HMMA|IMMA|DMMA|QMMA|OMMA|HGMMA|IGMMA|QGMMA|UTC[A-Z]*MMA)")


@dataclass(frozen=True)
class Compiled:
    """A kernel as the GPU would run it.

    Attributes:
        capability: the compute capability it is compiled for, as 90.
        registers: per thread.
        stack: bytes per thread of the stack frame, where registers that did not fit are kept.
        local: bytes per thread of other local memory.
        spill_stores: instructions that write local memory (STL).
        spill_loads: instructions that read it (LDL).
        shared: bytes of shared memory per block, static and dynamic.
        instructions: in all.
        mma: instructions of the tensor cores by kind, as {"HMMA": 16}; kinds that do not occur are left out.
        wide_loads: loads of 16 bytes per thread from global memory to registers (LDG.128).
        async_copies: copies from global to shared memory past the registers (LDGSTS).
        seconds: what compiling took; next to nothing when it was in Triton's cache.
        ttgir: the program as Triton laid it out over threads.
        ptx: as it was given to the assembler.
        sass: as it was assembled.
    """

    capability: int
    registers: int
    stack: int
    local: int
    spill_stores: int
    spill_loads: int
    shared: int
    instructions: int
    mma: Mapping[str, int]
    wide_loads: int
    async_copies: int
    seconds: float
    ttgir: str
    ptx: str
    sass: str

    @property
    def spills(self) -> bool:
        """Whether registers did not suffice."""
        return bool(self.stack or self.local or self.spill_stores or self.spill_loads)

    @property
    def fits(self) -> bool:
        """Whether a block of this architecture has the shared memory."""
        return self.shared <= SHARED_LIMITS[self.capability]

    def summary(self) -> str:
        """The numbers, without the texts, in a line."""
        texts = ("ttgir", "ptx", "sass")
        numbers = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in texts}
        return json.dumps({**numbers, "seconds": round(self.seconds, 2)})


def compiled(
    kernel: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Constant],
    capability: int,
    *,
    num_warps: int = 4,
    num_stages: int = 3,
    divisible: Collection[str] = (),
    unaligned: Collection[str] = (),
    **options: Any,
) -> Compiled:
    """Compiles a kernel.

    Triton aborts the whole process, rather than raise, where a thread has fewer elements than the `pack` of inline
    assembly: give such a kernel larger tiles or fewer warps.

    Args:
        kernel: a function under `triton.jit`.
        signature: the types of its other parameters, as {"x": "*bf16", "rows": "i32"}.
        constexprs: the values of its `tl.constexpr` parameters.
        capability: what to compile for, one of `SHARED_LIMITS`.
        divisible: integers that are multiples of 16. The launcher finds out by itself; here it must be said, or
            loads that depend on them are not vectorised.
        unaligned: pointers that are no multiples of 16 bytes; all others are, as torch's tensors are.
        options: others of Triton's, as `maxnreg`.

    Raises:
        RuntimeError: the process interprets kernels, or the assembler's output cannot be read.
        ValueError: a parameter has neither a type nor a value.
    """
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("kernels are interpreted in this process: compile in one without TRITON_INTERPRET")
    source = _source(kernel, signature, constexprs, divisible, unaligned)
    started = time.perf_counter()
    built = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "num_stages": num_stages, **options},
    )
    seconds = time.perf_counter() - started
    usage, sass = _read(built.asm["cubin"])
    return _counted(capability, usage, sass, built, seconds)


def _source(
    kernel: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Constant],
    divisible: Collection[str],
    unaligned: Collection[str],
) -> ASTSource:
    names: list[str] = kernel.arg_names
    if set(names) != {*signature, *constexprs}:
        raise ValueError(f"{kernel.__name__} has the parameters {names}, not {[*signature, *constexprs]}")
    is_aligned = {
        name: name in divisible or (kind.startswith("*") and name not in unaligned) for name, kind in signature.items()
    }
    return ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constexprs else signature[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constexprs.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name, aligned in is_aligned.items() if aligned},
    )


def _read(cubin: bytes) -> tuple[tuple[int, int, int], str]:
    """Registers, stack and local memory of machine code, and the code as text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage, sass = _inspect("-res-usage", path), _inspect("-sass", path)
    found = _USAGE.search(usage)
    if not found:
        raise RuntimeError(f"cuobjdump -res-usage says nothing of registers:\n{usage}")
    return (int(found[1]), int(found[2]), int(found[4])), sass


def _inspect(option: str, cubin: Path) -> str:
    tool = _TOOLS / "cuobjdump"
    if not tool.exists():
        raise RuntimeError(f"this build of Triton {triton.__version__} has no {tool.name} in {_TOOLS}")
    run = subprocess.run([tool, option, cubin], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{tool.name} {option}: {run.stderr or run.stdout}")
    return run.stdout + run.stderr


def _counted(capability: int, usage: tuple[int, int, int], sass: str, built: Any, seconds: float) -> Compiled:
    instructions = _INSTRUCTION.findall(sass)
    kinds = [name.split(".")[0] for name in instructions]
    return Compiled(
        capability=capability,
        registers=usage[0],
        stack=usage[1],
        local=usage[2],
        spill_stores=kinds.count("STL"),
        spill_loads=kinds.count("LDL"),
        shared=built.metadata.shared,
        instructions=len(instructions),
        mma={kind: kinds.count(kind) for kind in sorted(set(kinds)) if _MMA.fullmatch(kind)},
        wide_loads=sum(name.startswith("LDG.") and ".128" in name for name in instructions),
        async_copies=kinds.count("LDGSTS"),
        seconds=seconds,
        ttgir=built.asm["ttgir"],
        ptx=built.asm["ptx"],
        sass=sass,
    )


def check_pack_layout(ttgir: str, pack: int = 4, containing: str = "") -> list[str]:
    """The inline assembly that does not get `pack` neighbours of the last axis in each of its registers.

    A GPU packs the elements that a thread holds in the order of its registers, whatever they are; the interpreter
    takes neighbours. So numbers that are right in the interpreter say nothing about this.

    Args:
        ttgir: `Compiled.ttgir`.
        pack: the `pack` of the assembly to look at.
        containing: a piece, within a line, of the assembly to look at. Where each result depends on the element in
            the same place alone, any order is right, and there is nothing to look for.

    Returns:
        A line for each offender among the 8-bit operands: the tensor's type, and its layout. A layout that this
        cannot read is an offender too.
    """
    layouts = dict(_ALIAS.findall(ttgir))
    operands = [
        operand
        for assembly in _ASSEMBLY.finditer(ttgir)
        if f"packed_element = {pack} " in assembly["attributes"] and containing in assembly["text"]
        for operand in _tensors(assembly["operands"])
        if operand.partition(", ")[0].endswith("xi8")
    ]
    return [
        f"tensor<{operand}>: {_described(operand, layouts)}"
        for operand in dict.fromkeys(operands)
        if not _is_contiguous(operand, layouts, pack)
    ]


_ALIAS: Final = re.compile(r"^(#\w+) = (#ttg\.[^\n]+)$", re.MULTILINE)
_ASSEMBLY: Final = re.compile(
    r"elementwise_inline_asm (?P<text>\".*?\") \{(?P<attributes>[^{}]*packed_element[^{}]*)\}"
    r"[^:\n]*: (?P<operands>[^\n]*?) ->"
)
_SLICE: Final = re.compile(r"#ttg\.slice<\{dim = (\d+), parent = (.+)\}>")
_LINEAR: Final = re.compile(r"#ttg\.linear<\{register = (\[\[.*?\]\])")
_BLOCKED: Final = re.compile(r"#ttg\.blocked<\{sizePerThread = (\[[\d, ]+\]).*?order = (\[[\d, ]+\])")


def _tensors(types: str) -> list[str]:
    """What stands in the outer brackets of each `tensor<…>`."""
    found = []
    for part in types.split("tensor<")[1:]:
        depth = 1
        for end, sign in enumerate(part):
            depth += {"<": 1, ">": -1}.get(sign, 0)
            if not depth:
                found.append(part[:end])
                break
    return found


def _described(operand: str, layouts: Mapping[str, str]) -> str:
    name = operand.partition(", ")[2]
    alias = re.search(r"#\w+(?=\}|$)", name)
    known = layouts.get(alias[0], "") if alias else ""
    return name if name == known or not known else f"{name}, {known}"


def _is_contiguous(operand: str, layouts: Mapping[str, str], pack: int) -> bool:
    """Whether the registers of a thread run along the last axis first, for `pack` elements at least."""
    steps = _register_steps(operand.partition(", ")[2], layouts)
    count = pack.bit_length() - 1
    rank = len(steps[0]) if steps else 0
    return steps[:count] == [[0] * (rank - 1) + [1 << bit] for bit in range(count)]


def _register_steps(layout: str, layouts: Mapping[str, str]) -> list[list[int]]:
    """Where each bit of a register's number leads: [bits, axes]. Empty for a layout that cannot be read."""
    layout = layouts.get(layout, layout)
    if sliced := _SLICE.match(layout):
        dropped = int(sliced[1])
        steps = [step[:dropped] + step[dropped + 1 :] for step in _register_steps(sliced[2], layouts)]
        return [step for step in steps if any(step)]
    if linear := _LINEAR.match(layout):
        return [list(step) for step in json.loads(linear[1])]
    if blocked := _BLOCKED.match(layout):
        sizes, order = json.loads(blocked[1]), json.loads(blocked[2])
        return [
            [1 << bit if axis == fastest else 0 for axis in range(len(sizes))]
            for fastest in order
            for bit in range(sizes[fastest].bit_length() - 1)
        ]
    return []
