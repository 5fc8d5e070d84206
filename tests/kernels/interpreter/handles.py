"""What the interpreter computes with: handles, which are numpy arrays with a Triton type.

The interpreter keeps bf16 as uint16 and fp8 as uint8: bits, on which arithmetic means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from tests.kernels.interpreter.floats import BF16, E4M3, E5M2, Array, Format

Handle: TypeAlias = Any
"""A `triton.runtime.interpreter.TensorHandle`."""

Type: TypeAlias = Any
"""A `triton.language.dtype`."""

_FORMATS: Final[dict[str, Format]] = {"bf16": BF16, "fp8e4nv": E4M3, "fp8e5": E5M2}


def narrow(dtype: Type) -> Format | None:
    """The format of a type whose arrays hold codes; None where they hold numbers."""
    return _FORMATS.get(getattr(dtype.scalar, "name", ""))


def is_narrow(*handles: Handle) -> bool:
    """Whether any of the handles holds codes."""
    return any(narrow(handle.dtype) for handle in handles)


def numbers(handle: Handle) -> Array:
    """The numbers of a handle, decoded into float32 where it holds codes."""
    form = narrow(handle.dtype)
    data: Array = handle.data
    return form.decode(data) if form else data


def handle_of(values: Array, dtype: Type) -> Handle:
    """A handle of numbers, rounded to `dtype`."""
    scalar = dtype.scalar
    form = narrow(scalar)
    with np.errstate(over="ignore", invalid="ignore"):
        data = form.encode(values) if form else np.asarray(values).astype(numpy_type(scalar))
    return interpreter.TensorHandle(data, scalar)


def truth(values: Array) -> Handle:
    """A handle of truth values."""
    return interpreter.TensorHandle(values, tl.int1)


def numpy_type(dtype: Type) -> np.dtype[Any]:
    """The type of the arrays that hold a Triton type."""
    found: np.dtype[Any] = interpreter._get_np_dtype(dtype)
    return found


def replace(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    """Puts `wrapper(original)` in the place of an attribute."""
    setattr(owner, name, wrapper(getattr(owner, name)))
