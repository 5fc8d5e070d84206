"""Where a checkpoint's weights go and in which form, by the memory that is free when it is loaded.

On a GPU the `planner` decides, among the precisions that this checkpoint can be held in: what is stored in codes stays
in them, and is never quantised again. On the CPU nothing is chosen; what would not fit is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from dgengine import memory, planner
from dgengine.config import ModelConfig
from dgengine.errors import InsufficientMemoryError
from dgengine.footprint import PRECISIONS, Precision, weight_bytes
from dgengine.footprint import Form as PlannedForm
from dgengine.layouts import Layout, Stored
from dgengine.planner import Plan
from dgengine.quantized.base import Form
from dgengine.quantized.forms import Recipe, recipe_of

# Bits that a weight takes, scales included, roughly.
_BITS: Final[dict[Form, float]] = {"fp8": 8, "int8": 8, "nf4": 4.5, "nvfp4": 4.5}
_PARTS: Final = ("experts", "mlp", "attention", "conditioning")


@dataclass(frozen=True, slots=True)
class Placement:
    """How to load a model.

    Attributes:
        dtype: of what is plain.
        recipe: what to quantise while loading.
        streamed: of how many layers the experts stay in the host's memory.
        context: tokens that prompt and answer may come to.
        plan: what was reckoned with; None where nothing was planned.
        notes: what is less than the model could do, and why, in sentences.
    """

    dtype: torch.dtype
    recipe: Recipe
    context: int
    streamed: int = 0
    plan: Plan | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to hold a checkpoint's weights: what to quantise while loading, and what that is to the planner."""

    recipe: Recipe
    precision: Precision


def place(
    config: ModelConfig,
    layout: Layout,
    device: torch.device,
    dtype: torch.dtype,
    recipe: Recipe | None,
    context: int | None = None,
    besides: int = 0,
) -> Placement:
    """Looks how much memory is free, and decides.

    Args:
        config: the model's dimensions.
        layout: how the checkpoint stores its weights.
        device: where it is to run.
        dtype: of what is plain.
        recipe: what to quantise while loading; None leaves it to the plan.
        context: tokens that must have room; None takes what there is room for.
        besides: bytes of a GPU that are to stay free for something else.

    Raises:
        InsufficientMemoryError: it does not fit, with how much is missing.
    """
    longest = config.max_position_embeddings
    limit = longest if context is None else min(context, longest)
    whole = Placement(dtype, recipe or Recipe(), limit)
    if device.type == "cpu":
        _refuse_too_large(config, held(layout, whole.recipe, dtype))
        return whole
    choices = servable(config, layout, dtype, None if recipe is None else [recipe])
    if not choices:
        return whole
    free, host = memory.free(device), memory.host()
    plans = [
        planner.plan(
            config, max(0, free.free - besides), free.total, choice.precision.name, None if context is None else limit,
            host_bytes=host.free,
        )
        for choice in choices
    ]  # fmt: skip
    chosen = best(plans, limit)
    if not plans[chosen].fits:
        raise InsufficientMemoryError(" ".join(plans[chosen].reasons))
    return _planned(replace(whole, recipe=choices[chosen].recipe), plans, chosen, longest)


def _planned(whole: Placement, plans: Sequence[Plan], chosen: int, longest: int) -> Placement:
    plan = plans[chosen]
    streamed = plan.offload.layers if plan.offload else 0
    context = min(plan.context, whole.context)
    notes = [_passed_over(other) for other in plans[:chosen]]
    if notes or streamed or context < longest:
        notes += plan.reasons
    if context < longest:
        notes.append(f"Prompt and answer may come to {context:,} of the model's {longest:,} tokens.")
    return replace(whole, streamed=streamed, context=context, plan=plan, notes=tuple(notes))


def best(plans: Sequence[Plan], longest: int) -> int:
    """Which of several plans to take, of which the first has the most exact weights.

    The first that is wholly on the device with a comfortable context; or else that with the longest context, if it is
    long enough; or else the one that streams least; or else whatever fits. Where none does, the last one.

    Args:
        longest: tokens beyond which nobody asks for more.
    """

    def first(numbers: Iterable[int], contexts: int) -> list[int]:
        return [number for number in numbers if plans[number].context >= min(contexts, longest)]

    fitting = [number for number, plan in enumerate(plans) if plan.fits]
    resident = [number for number in fitting if plans[number].offload is None]
    if comfortable := first(resident, planner.COMFORTABLE):
        return comfortable[0]
    if enough := first(resident, planner.ENOUGH):
        return max(enough, key=lambda number: plans[number].context)
    if streaming := [number for number in fitting if number not in resident]:
        return min(streaming, key=lambda number: _moved(plans[number]))
    return max(resident, key=lambda number: plans[number].context, default=len(plans) - 1)


def _moved(plan: Plan) -> int:
    return plan.offload.bytes_per_step if plan.offload else 0


def _passed_over(plan: Plan) -> str:
    """Why it was not this one."""
    if plan.fits and plan.offload is None:
        return f"{plan.precision.name} weights leave room for {plan.context:,} tokens only."
    return plan.reasons[0]


# what a checkpoint can be held in


def servable(
    config: ModelConfig, layout: Layout, dtype: torch.dtype, recipes: Sequence[Recipe] | None = None
) -> list[Choice]:
    """The planner's precisions that a checkpoint can be held in, the most exact first.

    Args:
        recipes: the only ways to load it; None for all that are chosen unasked.
    """
    if recipes is None:
        recipes = [recipe_of(name) or Recipe() for name in planner.AUTOMATIC["cuda"]]
    found: dict[str, Choice] = {}
    for recipe in recipes:
        if _is_refused(layout, recipe):
            continue
        precision = _planned_as(config, held(layout, recipe, dtype))
        if precision is not None:
            found.setdefault(precision.name, Choice(recipe, precision))
    return list(found.values())


def held(layout: Layout, recipe: Recipe, dtype: torch.dtype) -> Precision:
    """What the weights are once they are loaded; of layers that differ, by the largest."""
    forms: dict[str, list[Form | None]] = {part: [] for part in _PARTS}
    forms["experts"] = [stored.form or recipe.experts for stored in layout.experts.values()]
    for stored in layout.matrices.values():
        forms[_part(stored)].append(stored.form or recipe.dense)
    experts, mlp, attention, conditioning = (_largest(forms[part]) for part in _PARTS)
    return Precision("as loaded", experts, mlp, attention, conditioning, dtype.itemsize)


def _part(stored: Stored) -> str:
    if ".self_conditioning." in stored.name:
        return "conditioning"
    return "attention" if ".self_attn." in stored.name else "mlp"


def _largest(forms: Sequence[Form | None]) -> PlannedForm | None:
    """The form of the most bits; int8 takes as much as FP8, which the planner knows."""
    form = max(forms, key=_bits, default=None)
    return "fp8" if form == "int8" else form


def _bits(form: Form | None) -> float:
    return 16 if form is None else _BITS[form]


def _is_refused(layout: Layout, recipe: Recipe) -> bool:
    """Whether experts that are stored in one form would have to be quantised to another."""
    stored = {experts.form for experts in layout.experts.values()} - {None}
    return recipe.experts is not None and not stored <= {recipe.experts}


def _planned_as(config: ModelConfig, own: Precision) -> Precision | None:
    """The smallest of the planner's precisions that takes no less in any part; None where there is none."""
    covering = [one for one in PRECISIONS if _covers(one, own)]
    exact = [one for one in covering if replace(one, name=own.name) == own]
    return min(exact or covering, key=lambda one: weight_bytes(config, one).total, default=None)


def _covers(one: Precision, own: Precision) -> bool:
    parts = (_bits(getattr(one, part)) >= _bits(getattr(own, part)) for part in _PARTS)
    alike = one.width == own.width and (one.experts is None) == (own.experts is None)  # or it takes several times more
    return alike and all(parts)


# the CPU


def _refuse_too_large(config: ModelConfig, own: Precision) -> None:
    """Raises InsufficientMemoryError where the weights alone exceed the memory that is free."""
    need, free = weight_bytes(config, own, "cpu").total, memory.host().free
    if need > free:
        raise InsufficientMemoryError(
            f"The weights take {planner.gib(need)} of memory, and {planner.gib(free)} are free: ask for a smaller "
            "precision, such as nvfp4+fp8, close other programs, or use a GPU."
        )
