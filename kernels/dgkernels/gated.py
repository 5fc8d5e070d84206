# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The gated activation of what one product gave for both gate and up."""

from __future__ import annotations

from typing import Final

import triton
import triton.language as tl
from torch import Tensor

from dgkernels.launching import on_device_of_first

_COLUMNS: Final = 512  # that a program takes
_ROWS: Final = 2


@on_device_of_first
def gelu_gate(gate_up: Tensor) -> Tensor:
    """gelu_tanh(gate) * up, in float32 and rounded once: [N, 2F] with the gate in the first half -> [N, F].

    Args:
        gate_up: bfloat16 or float32, which the result is too; rows may lie apart.
    """
    count, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty(count, width)
    _gelu_gate[(triton.cdiv(count, _ROWS), triton.cdiv(width, _COLUMNS))](
        gate_up, out, count, gate_up.stride(0), WIDTH=width, ROWS=_ROWS, COLUMNS=_COLUMNS, num_warps=4
    )
    return out


@triton.jit
def gelu_tanh(x):
    """0.5 x (1 + tanh u) is x sigmoid(2u)."""
    return x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))


@triton.jit
def _gelu_gate(gate_up, out, count, step, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    present = (row < count)[:, None] & (column < WIDTH)[None, :]
    gate_up += row.to(tl.int64)[:, None] * step + column[None, :]
    gate = tl.load(gate_up, mask=present, other=0.0).to(tl.float32)
    up = tl.load(gate_up + WIDTH, mask=present, other=0.0).to(tl.float32)
    target = out + row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    tl.store(target, (gelu_tanh(gate) * up).to(out.dtype.element_ty), mask=present)
