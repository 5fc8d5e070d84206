"""Quantising by the name of a form, and what to quantise while loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from dgengine.quantized import fp8, int8, nf4, nvfp4
from dgengine.quantized.base import Form, Quantized

_ENCODERS: Final[Mapping[Form, Callable[[Tensor], Quantized]]] = {
    "nvfp4": nvfp4.encode,
    "fp8": fp8.encode,
    "int8": int8.encode,
    "nf4": nf4.encode,
}


_FORMS: Final[Mapping[str, Form]] = {form: form for form in _ENCODERS}
EXPERT_FORMS: Final = ("nvfp4", "fp8", "nf4")
"""The forms that experts are quantised to when asked for by name."""


@dataclass(frozen=True)
class Recipe:
    """What is quantised while a checkpoint is loaded. None leaves everything as it is stored.

    Attributes:
        experts: the form for the experts. Experts that are stored in another form already are refused.
        dense: the form for the projections of attention, dense MLPs and self-conditioning that are stored plain.
            Router, norms and embedding are never quantised.
    """

    experts: Form | None = None
    dense: Form | None = None


def recipe_of(precision: str) -> Recipe | None:
    """The recipe that a precision's name stands for; None where the name is not one of a form.

    "nvfp4" and "nf4" are of the experts; "fp8" is of experts and dense projections, as in the published FP8 checkpoint;
    "nvfp4+fp8" names one form for the experts and one for the dense projections.
    """
    experts, plus, dense = precision.partition("+")
    if experts not in EXPERT_FORMS or (plus and dense not in _ENCODERS):
        return None
    return Recipe(_FORMS[experts], _FORMS[dense] if plus else _FORMS["fp8"] if experts == "fp8" else None)


def quantize(weight: Tensor, form: Form) -> Quantized:
    """Quantises a matrix [O, I] of finite numbers, on its own device.

    Raises:
        ValueError: the form cannot cut rows of I into its blocks, or a number is not finite.
    """
    return _ENCODERS[form](weight)
