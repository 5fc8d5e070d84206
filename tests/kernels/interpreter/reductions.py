"""Repairs of what runs along an axis: sums, extremes, running sums, histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from tests.kernels.interpreter.floats import Array, Format
from tests.kernels.interpreter.handles import Handle, narrow, numbers, replace


def repair_reductions() -> None:
    """The interpreter's short cuts worked on the codes of bf16 and fp8, and 3.6 let NaN through."""
    replace(interpreter.ReduceOps, "min_max", _extremes)
    replace(interpreter.ReduceOps, "sum", _sum)
    replace(interpreter.ScanOps, "cumsum", lambda stock: _scan(stock, np.add))
    replace(interpreter.ScanOps, "cumprod", lambda stock: _scan(stock, np.multiply))
    interpreter.InterpreterBuilder.create_histogram = _histogram


def _extremes(stock: Callable[..., Any]) -> Callable[..., Any]:
    def min_max(self: Any, input: Any, val_reduce_op: Any, idx_reduce_op: Any = None) -> Any:
        tensor = input[0] if isinstance(input, tuple) else input
        value_op = _IGNORING_NAN.get(val_reduce_op, val_reduce_op)
        index_op = _IGNORING_NAN.get(idx_reduce_op, idx_reduce_op)
        form = narrow(tensor.dtype)
        if form is None:
            return stock(self, tensor, value_op, index_op)
        found = stock(self, self.to_tensor(numbers(tensor.handle), tl.float32), value_op, index_op)
        value, *index = found if isinstance(found, tuple) else (found,)
        coded = self.to_tensor(form.encode(value.handle.data).reshape(value.shape), tensor.dtype)
        return (coded, *index) if index else coded

    return min_max


# As on a GPU: the greater of a number and NaN is the number.
_IGNORING_NAN: dict[Any, Any] = {np.max: np.nanmax, np.min: np.nanmin, np.argmax: np.nanargmax, np.argmin: np.nanargmin}


def _sum(stock: Callable[..., Any]) -> Callable[..., Any]:
    def sum(self: Any, input: Any) -> Any:
        form = narrow(input.dtype)
        if form is None:
            return stock(self, input)
        values = numbers(input.handle)
        axis = self.axis
        if axis is None:
            values, axis = values.reshape(-1), 0
        total = _halved(values, axis, form)
        if self.keep_dims:
            total = total.reshape((1,) * input.handle.data.ndim) if self.axis is None else np.expand_dims(total, axis)
        return self.to_tensor(form.encode(total), input.dtype)

    return sum


def _halved(values: Array, axis: int, form: Format) -> Array:
    """The sum along an axis, whose length is a power of two, as a tree: each addition rounds, as it does on a GPU."""
    values = np.moveaxis(values, axis, 0)
    while len(values) > 1:
        middle = len(values) // 2
        values = form.decode(form.encode(values[:middle] + values[middle:]))
    return np.asarray(values[0])


def _scan(stock: Callable[..., Any], op: Callable[..., Array]) -> Callable[..., Any]:
    def scan(self: Any, input: Any) -> Any:
        form = narrow(input.dtype)
        if form is None:
            return stock(self, input)
        running = np.moveaxis(numbers(input.handle).copy(), self.axis, 0)
        for index in range(1, len(running)):
            running[index] = form.decode(form.encode(op(running[index - 1], running[index])))
        return [self.to_tensor(form.encode(np.moveaxis(running, 0, self.axis)), input.dtype)]

    return scan


def _histogram(self: Any, data: Handle, bins: int, mask: Handle | None) -> Handle:
    """Counts [bins] of int32 of the numbers in 0 to bins - 1; any other number counts nowhere."""
    valid = (data.data >= 0) & (data.data < bins)
    if mask is not None:
        valid &= mask.data
    counts = np.bincount(data.data[valid].astype(np.int64), minlength=bins).astype(np.int32)
    return interpreter.TensorHandle(counts, tl.int32)
