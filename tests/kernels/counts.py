"""What the compiler makes of the products, as a table for kernels/NOTES.md: `python -m tests.kernels.counts`."""

from __future__ import annotations

import re
import sys

from tests.kernels.compiling import Compiled
from tests.kernels.moe.test_compiled import PRODUCTS, Case, tiles

_LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+([^;]*);")
_BACK = re.compile(r"BRA.*0x([0-9a-f]+)")
_BYTES = 16  # of an instruction
_LANES = 32


def loop_length(found: Compiled) -> int:
    """Instructions of the longest loop."""
    longest = 0
    for address, instruction in _LINE.findall(found.sass):
        jump = _BACK.search(instruction)
        if jump:
            longest = max(longest, int(address, 16) - int(jump[1], 16))
    return longest // _BYTES


def row(case: Case) -> str:
    """A line of the table."""
    found, own = case.compile(), tiles(case.capability, case.form)
    first = case.product == "gate_up"
    rows, columns = own.gate_up if first else own.down
    warps = (own.gate_up_launch if first else own.down_launch).warps
    weights = (2 if first else 1) * rows * columns
    cells = (
        f"{case.capability // 10}.{case.capability % 10}", case.form, case.product, f"{rows} x {columns}", own.block,
        warps, found.registers, f"{found.shared / 1024:.0f}", f"{loop_length(found) * _LANES * warps / weights:.2f}",
        ", ".join(f"{count} {kind}" for kind, count in found.mma.items()),
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Prints the table."""
    titles = (
        "capability", "form", "product", "tile", "block", "warps", "registers", "shared, KiB",
        "instructions a weight and lane", "tensor core instructions",
    )  # fmt: skip
    sys.stdout.write("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|\n")
    for case in PRODUCTS:
        sys.stdout.write(row(case) + "\n")


if __name__ == "__main__":
    main()
