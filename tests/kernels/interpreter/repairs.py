"""Triton's CPU interpreter, made to compute what a GPU computes.

The interpreter (TRITON_INTERPRET=1) keeps bf16 and fp8 as bits, and in Triton 3.6 to 3.9 much of it takes these bits
for numbers, without a word. `repair` puts that right, and adds inline assembly and what 3.6 lacks.

What still differs from a GPU: nothing runs at once, so races stay unseen; `tl.dot` of float32 is exact rather than
TF32; exp and its like are numpy's; of a sum, the order; the layout of `pack` in inline assembly. Python's own `range`
gives numbers, where a compiled kernel has int32 values: use `tl.range`.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.language.semantic import TritonSemantic
from triton.runtime import interpreter

from tests.kernels.interpreter import ptx
from tests.kernels.interpreter.arithmetic import repair_casts, repair_operations
from tests.kernels.interpreter.dots import repair_dots
from tests.kernels.interpreter.handles import Handle, Type, handle_of, numbers, numpy_type, replace
from tests.kernels.interpreter.reductions import repair_reductions


def repair() -> None:
    """Repairs the interpreter of this process, once; to be called before a kernel runs.

    Raises:
        RuntimeError: TRITON_INTERPRET is not "1", or was not when Triton was imported.
    """
    _refuse_compiler()
    builder = interpreter.InterpreterBuilder
    if getattr(builder, "is_repaired", False):
        return
    repair_casts(builder)
    repair_operations(builder)
    repair_dots(builder)
    repair_reductions()
    _repair_memory(builder)
    _repair_launches()
    builder.create_inline_asm = _inline_assembly
    builder.is_repaired = True


def _refuse_compiler() -> None:
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("Triton's interpreter is off: set TRITON_INTERPRET=1 before the process starts")
    # Triton's own functions became compiled or interpreted ones when it was imported.
    if not isinstance(tl.standard._sum_combine, interpreter.InterpretedFunction):
        raise RuntimeError("Triton was imported before TRITON_INTERPRET=1 was set")


def _repair_memory(builder: Any) -> None:
    """Atomic additions of bf16, which added codes."""
    replace(builder, "create_atomic_rmw", _atomic)


def _atomic(stock: Callable[..., Handle]) -> Callable[..., Handle]:
    def create_atomic_rmw(self: Any, op: Any, ptr: Handle, val: Handle, mask: Handle, sem: Any, scope: Any) -> Handle:
        if val.dtype.scalar != tl.bfloat16:
            return stock(self, op, ptr, val, mask, sem, scope)
        if "FADD" not in str(op):
            raise NotImplementedError(f"atomic {op} of bf16")
        return _atomic_add(ptr, val, mask)

    return create_atomic_rmw


def _atomic_add(pointers: Handle, addends: Handle, mask: Handle) -> Handle:
    """Adds one after the other, so that equal pointers add up; returns what was there before each."""
    before = np.zeros(pointers.data.shape, np.uint16)
    for index in np.ndindex(before.shape):
        pointer = pointers.data[index].reshape(1)
        here = np.ascontiguousarray(mask.data[index]).reshape(1)
        old = interpreter._interpreter.load(pointer, here, np.zeros(1, np.uint16), np.dtype(np.uint16))
        total = numbers(interpreter.TensorHandle(old, tl.bfloat16)) + numbers(addends)[index]
        interpreter._interpreter.store(pointer, handle_of(total, tl.bfloat16).data, here)
        before[index] = old[0]
    return interpreter.TensorHandle(before, tl.bfloat16)


@dataclass(frozen=True)
class _Call:
    """What Triton expects of an inline-assembly operation: its results by number."""

    results: Sequence[Handle]

    def get_result(self, number: int) -> Handle:
        return self.results[number]


def _inline_assembly(
    self: Any, assembly: str, constraints: str, values: Sequence[Handle], types: Sequence[Type], pure: bool, pack: int
) -> _Call:
    arrays = np.broadcast_arrays(*(value.data for value in values))
    scalars = [dtype.scalar for dtype in types]
    results = ptx.run(assembly, constraints, arrays, [numpy_type(dtype) for dtype in scalars], pack)
    return _Call([interpreter.TensorHandle(data, dtype) for data, dtype in zip(results, scalars, strict=True)])


def _repair_launches() -> None:
    """Arguments and loops: a float argument is a float32, a bool an int1, the variable of `tl.range` an integer."""
    replace(interpreter, "_implicit_cvt", _argument)
    replace(interpreter, "_patch_lang_tensor", _tensor_methods)
    replace(interpreter, "_patch_lang_core", _language)
    if triton.__version__ < "3.7":
        replace(TritonSemantic, "dot_scaled", _wrapping_formats)


def _argument(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def implicit_cvt(arg: Any) -> Any:
        # As Python numbers they would not take part in type promotion: bf16 times a float argument is float32.
        if isinstance(arg, bool):
            return tl.tensor(interpreter.TensorHandle(np.array([arg]), tl.int1), tl.int1)
        if isinstance(arg, float):
            return tl.tensor(handle_of(np.array([arg]), tl.float32), tl.float32)
        return stock(arg)

    return implicit_cvt


def _tensor_methods(stock: Callable[..., None]) -> Callable[..., None]:
    def patch_lang_tensor(tensor: Any, scope: Any) -> None:
        stock(tensor, scope)
        # numpy 2.4 no longer turns an array of one dimension into an int.
        scope.set_attr(tensor, "__index__", lambda self: int(np.asarray(self.handle.data).item()))

    return patch_lang_tensor


def _language(stock: Callable[..., None]) -> Callable[..., None]:
    def patch_lang_core(lang: Any, scope: Any) -> None:
        stock(lang, scope)
        scope.set_attr(lang, "range", _range)

    return patch_lang_core


def _range(start: Any, end: Any = None, step: Any = 1, **options: Any) -> Iterator[Any]:
    """`tl.range`: tensors of int32, or of int64 if a bound is one."""
    bounds = (0, start, step) if end is None else (start, end, step)
    is_long = any(isinstance(bound, tl.tensor) and bound.dtype.primitive_bitwidth == 64 for bound in bounds)
    dtype = tl.int64 if is_long else tl.int32
    for number in range(*(operator.index(_unwrapped(bound)) for bound in bounds)):
        yield tl.tensor(handle_of(np.array([number]), dtype), dtype)


def _unwrapped(bound: Any) -> Any:
    return bound.value if isinstance(bound, tl.constexpr) else bound


def _wrapping_formats(stock: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(form: Any) -> Any:
        return form if form is None or isinstance(form, tl.constexpr) else tl.constexpr(form)

    def dot_scaled(
        self: Any, lhs: Any, lhs_scale: Any, lhs_format: Any, rhs: Any, rhs_scale: Any, rhs_format: Any, *rest: Any
    ) -> Any:
        return stock(self, lhs, lhs_scale, wrapped(lhs_format), rhs, rhs_scale, wrapped(rhs_format), *rest)

    return dot_scaled
