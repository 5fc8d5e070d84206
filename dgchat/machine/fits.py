"""Which models fit this machine, and in which precision: what the engine's planner says, in a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dgchat.machine.probe import Machine
from dgengine import hub, planner
from dgengine.footprint import weight_bytes
from dgengine.full_model import FULL
from dgengine.planner import gib

AT: Final = planner.ENOUGH
"""The context at which needs are told, in tokens."""
_LONG: Final = 1000


@dataclass(frozen=True)
class Fit:
    """A model in a precision, on this machine.

    Attributes:
        model: its short name.
        precision: what --precision takes for it.
        weights: bytes of the weights.
        needs: bytes that it takes with a context of `AT` tokens, all of it where it runs.
        verdict: "fits", "tight", "no", or "slow" where it has to run on the processor.
        context: tokens for which there is room; 0 for "no".
        in_host: bytes of experts that stay in the host's memory.
        step: seconds that copying them takes in every step.
        reasons: the planner's own sentences.
    """

    model: str
    precision: str
    weights: int
    needs: int
    verdict: Literal["fits", "tight", "slow", "no"]
    context: int
    in_host: int = 0
    step: float = 0.0
    reasons: tuple[str, ...] = ()


def fits(machine: Machine, models: Iterable[hub.KnownModel] = hub.KNOWN, held: int = 0) -> list[Fit]:
    """Every model in every precision that it can be loaded in: on the GPU, or on the processor where there is none.

    Args:
        held: bytes that this very program holds, and would give back.
    """
    return [_fit(machine, model, precision, held) for model in models for precision in model.precisions]


def best(found: Sequence[Fit]) -> Fit | None:
    """What to run: the first that fits, else the one that just does with the fastest steps, else one that is slow."""
    for verdict in ("fits", "tight", "slow"):
        alike = [fit for fit in found if fit.verdict == verdict]
        if alike:
            return min(alike, key=lambda fit: fit.step)
    return None


def of_model(found: Iterable[Fit], short: str) -> Fit | None:
    """A model in the precision that suits the machine best."""
    return best([fit for fit in found if fit.model == short])


def _fit(machine: Machine, model: hub.KnownModel, name: str, held: int) -> Fit:
    gpu = machine.best_gpu  # one that does not work yet is worth mending for what it could do
    device: Literal["cuda", "cpu"] = "cuda" if gpu is not None else "cpu"
    free, total = (gpu.free, gpu.memory) if gpu is not None else (machine.memory_free, machine.memory)
    host = machine.memory_free or None if gpu is not None else None
    plan = planner.plan(FULL, min(free + held, total), total, name, device=device, host_bytes=host)
    ample = planner.plan(FULL, 2**50, 2**50, name, AT, device=device)
    verdict = plan.verdict if gpu is not None or plan.verdict == "no" else "slow"
    return Fit(
        model=model.short,
        precision="nvfp4" if name == "nvfp4-mlp" else name,
        weights=weight_bytes(FULL, planner.precision_on(device, name), device).total,
        needs=ample.parts.total,
        verdict=verdict,  # type: ignore[arg-type]
        context=plan.context if plan.fits else 0,
        in_host=plan.offload.host_bytes if plan.fits and plan.offload else 0,
        step=plan.offload.seconds_per_step if plan.fits and plan.offload else 0.0,
        reasons=plan.reasons,
    )


def words(fit: Fit) -> str:
    """ "fits: 92k tokens", "tight: 8k tokens, 6.1 GiB of experts in host memory", "no: 24.1 GiB needed"."""
    match fit.verdict:
        case "fits":
            return f"fits: {tokens(fit.context)} tokens"
        case "tight" if fit.in_host:
            return f"tight: {gib(fit.in_host)} in host memory, {fit.step:.2f} s a step more"
        case "tight":
            return f"tight: {tokens(fit.context)} tokens"
        case "slow":
            return "slow: on the processor"
        case _:
            return f"no: {gib(fit.needs)} needed"


def tokens(count: int) -> str:
    """ "92k", "800"."""
    return f"{count // 1024}k" if count >= _LONG else str(count)
