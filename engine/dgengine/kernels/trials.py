"""Kernels are tried before they are used: where they fail, or give something else than torch, torch is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dgengine.errors import described


def why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why there are no kernels to be tried for a model's activations, in a few words; None where there are."""
    from dgkernels import support

    return "they compute in bfloat16" if dtype != torch.bfloat16 else support.why_not(device)


def refusal(what: str, errors: Callable[[], Iterable[float]], tolerance: float) -> str | None:
    """Why kernels are not to be used, in a few words; None where they are.

    Args:
        what: the kernels, in the plural.
        errors: runs them, and gives their relative errors.
        tolerance: what these have to be below.
    """
    try:
        with torch.inference_mode():
            found = list(errors())
    except Exception as failure:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
        return f"{what} fail here ({described(failure)})"
    wrong = [error for error in found if not error < tolerance]  # NaN as well
    return f"the results of {what} differ from torch's by {wrong[0]:.1%} here" if wrong else None


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Of the root mean square."""
    return float((found.float() - wanted).norm() / wanted.norm())
