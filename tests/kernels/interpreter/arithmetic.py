"""Repairs of casts and of what is computed element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton._C.libtriton import ir
from triton.runtime import interpreter

from tests.kernels.interpreter.floats import Array, fused_multiply_add, truncate_bf16
from tests.kernels.interpreter.handles import (
    Handle,
    Type,
    handle_of,
    is_narrow,
    narrow,
    numbers,
    numpy_type,
    replace,
    truth,
)


def repair_casts(builder: Any) -> None:
    """Casts from and to bf16 and fp8, which truncated, lost NaN, or took numbers for codes."""
    replace(builder, "cast_impl", _cast)
    replace(builder, "create_fp_to_fp", _rounding_cast)
    builder.get_bf16 = lambda self, value: handle_of(np.array([value], np.float32), tl.bfloat16)


def repair_operations(builder: Any) -> None:
    """Arithmetic and comparisons of bf16 and fp8, fused multiplication, integers' rough edges in Triton 3.6."""
    replace(builder, "binary_op", _binary)
    replace(builder, "ternary_op", _ternary)
    replace(builder, "unary_op", _unary)
    replace(builder, "create_fma", _fma)
    builder.create_minnumf = lambda self, lhs, rhs: self.binary_op(lhs, rhs, np.fmin)
    builder.create_maxnumf = lambda self, lhs, rhs: self.binary_op(lhs, rhs, np.fmax)
    builder.create_clampf = _clamp
    builder.create_ashr = _shift_right
    builder.create_umulhi = _multiply_high
    builder.get_all_ones_value = _all_ones


def _cast(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def cast_impl(self: Any, src: Handle, dst_type: Type) -> Handle:
        if is_narrow(src) or narrow(dst_type):
            return handle_of(numbers(src), dst_type)
        return stock(self, src, dst_type)

    return cast_impl


def _rounding_cast(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def create_fp_to_fp(self: Any, src: Handle, dst_type: Type, rounding_mode: Any) -> Handle:
        if not is_narrow(src) and not narrow(dst_type):
            return stock(self, src, dst_type, rounding_mode)
        if rounding_mode != ir.ROUNDING_MODE.RTZ:
            return handle_of(numbers(src), dst_type)
        if dst_type.scalar != tl.bfloat16:
            raise NotImplementedError(f"rounding toward zero to {dst_type.scalar} in the interpreter")
        return interpreter.TensorHandle(truncate_bf16(numbers(src)), tl.bfloat16)

    return create_fp_to_fp


def _binary(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def binary_op(self: Any, lhs: Handle, rhs: Handle, op: Callable[..., Array]) -> Handle:
        if lhs.data.dtype == rhs.data.dtype == np.bool_:
            # One-bit integers wrap around; numpy's truth values do not.
            return truth((op(lhs.data.astype(np.int8), rhs.data.astype(np.int8)) & 1).astype(np.bool_))
        if not is_narrow(lhs, rhs):
            return _typed(stock(self, lhs, rhs, op))
        with np.errstate(all="ignore"):
            return _result(op(numbers(lhs), numbers(rhs)), lhs.dtype)

    return binary_op


def _ternary(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def ternary_op(self: Any, lhs: Handle, rhs: Handle, other: Handle, op: Callable[..., Array]) -> Handle:
        if op is np.where or not is_narrow(lhs, rhs, other):
            return stock(self, lhs, rhs, other, op)
        return _result(op(numbers(lhs), numbers(rhs), numbers(other)), other.dtype)

    return ternary_op


def _unary(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def unary_op(self: Any, arg: Handle, op: Callable[..., Array]) -> Handle:
        return _result(op(numbers(arg)), arg.dtype) if is_narrow(arg) else stock(self, arg, op)

    return unary_op


def _result(values: Array, dtype: Type) -> Handle:
    return truth(values) if values.dtype == np.bool_ else handle_of(values, dtype)


def _typed(handle: Handle) -> Handle:
    """The handle; the interpreter gives comparisons the type of what was compared, which casts then believe."""
    return truth(handle.data) if handle.data.dtype == np.bool_ else handle


def _fma(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def create_fma(self: Any, x: Handle, y: Handle, z: Handle) -> Handle:
        if z.dtype.scalar == tl.float64 or not z.dtype.scalar.is_floating():
            return stock(self, x, y, z)
        return handle_of(fused_multiply_add(numbers(x), numbers(y), numbers(z)), z.dtype)

    return create_fma


def _clamp(self: Any, arg: Handle, lo: Handle, hi: Handle, propagate_nans: Any) -> Handle:
    if propagate_nans == ir.PROPAGATE_NAN.NONE:
        return self.binary_op(self.binary_op(arg, lo, np.fmax), hi, np.fmin)
    return self.ternary_op(arg, lo, hi, np.clip)


def _shift_right(self: Any, lhs: Handle, rhs: Handle) -> Handle:
    # Handles are shared, and must not be changed.
    signed = [
        interpreter.TensorHandle(each.data.astype(interpreter._get_signed_np_dtype(each.data.dtype)), each.dtype)
        for each in (lhs, rhs)
    ]
    return self.binary_op(*signed, np.right_shift)


def _multiply_high(self: Any, lhs: Handle, rhs: Handle) -> Handle:
    """The upper half of the product of what the bits are as unsigned numbers."""
    dtype = lhs.data.dtype
    bits = 8 * dtype.itemsize
    wide: Any = object if bits == 64 else f"u{dtype.itemsize * 2}"
    words = (each.data.view(f"u{dtype.itemsize}").astype(wide) for each in (lhs, rhs))
    upper = np.multiply(*words) >> bits
    return interpreter.TensorHandle(upper.astype(f"u{dtype.itemsize}").view(dtype), lhs.dtype.scalar)


def _all_ones(self: Any, dtype: Type) -> Handle:
    found = numpy_type(dtype)
    if found != np.bool_ and not np.issubdtype(found, np.integer):
        raise TypeError(f"unsupported type {dtype}")
    ones = np.array([True]) if found == np.bool_ else np.array([-1], np.int64).astype(found)
    return interpreter.TensorHandle(ones, dtype.scalar)
