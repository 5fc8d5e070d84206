"""Repairs of the matrix products: bf16 and fp8 operands, and block scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton.language as tl

from tests.kernels.interpreter.floats import E4M3, E5M2, Array, Floats, decode_e2m1, decode_e8m0
from tests.kernels.interpreter.handles import Handle, handle_of, numbers


def repair_dots(builder: Any) -> None:
    """Products of bf16 and fp8 were those of their codes; E4M3 scales (NVFP4) were misread, or missing (3.6)."""
    builder.create_dot = _dot
    builder.create_dot_scaled = _dot_scaled


def _dot(self: Any, a: Handle, b: Handle, d: Handle, input_precision: Any, max_num_imprecise_acc: Any) -> Handle:
    """a [.., M, K] times b [.., K, N] plus d [.., M, N]; floats are summed in float32, or float64 if they are that."""
    sums = d.data.dtype if d.data.dtype.kind == "i" or d.data.dtype == np.float64 else np.dtype(np.float32)
    product = np.matmul(numbers(a).astype(sums), numbers(b).astype(sums))
    return handle_of(product + numbers(d), d.dtype)


def _dot_scaled(
    self: Any,
    lhs: Handle,
    lhs_scale: Handle | None,
    lhs_format: Any,
    rhs: Handle,
    rhs_scale: Handle | None,
    rhs_format: Any,
    fast_math: bool,
    lhs_k_pack: bool,
    rhs_k_pack: bool,
    acc: Handle,
) -> Handle:
    """lhs [M, K] times rhs [K, N] plus acc; scales are [M, K / block] and [N, K / block]."""
    left = _elements(lhs, lhs_format, -1 if lhs_k_pack else -2)
    right = _elements(rhs, rhs_format, -2 if rhs_k_pack else -1)
    if lhs_scale is not None:
        left = left * _scales(lhs_scale, left.shape[-1])
    if rhs_scale is not None:
        right = right * np.swapaxes(_scales(rhs_scale, right.shape[-2]), -1, -2)
    return handle_of(np.matmul(left, right) + numbers(acc), acc.dtype)


def _elements(operand: Handle, form: Any, packed_axis: int) -> Floats:
    name = str(getattr(form, "name", form)).lower()
    if "e2m1" in name:
        return decode_e2m1(operand.data, packed_axis)
    # Triton passes fp8 operands either as such or as bytes.
    if "e4m3" in name:
        return E4M3.decode(operand.data)
    if "e5m2" in name:
        return E5M2.decode(operand.data)
    return numbers(operand).astype(np.float32)


def _scales(scale: Handle, length: int) -> Array:
    """A factor for each of `length` elements along K. Scales are E4M3 numbers, or else bytes: powers of two."""
    factors = E4M3.decode(scale.data) if scale.dtype.scalar == tl.float8e4nv else decode_e8m0(scale.data)
    return np.repeat(factors, length // factors.shape[-1], axis=-1)
