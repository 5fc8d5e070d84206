"""What was found, and what to do about it, in lines for people."""

from __future__ import annotations

from dgchat.machine.fits import Fit, best, tokens
from dgchat.machine.probe import Machine
from dgengine import hub
from dgengine.planner import GIB, gib


def lines(machine: Machine) -> list[str]:
    """The machine, and its GPUs."""
    memory = f", {machine.memory / GIB:.0f} GiB of memory" if machine.memory else ""
    return [f"{machine.system}, {machine.processor}, {machine.cores} cores{memory}", *_gpu_lines(machine)]


def _gpu_lines(machine: Machine) -> list[str]:
    if not machine.gpus:
        return ["no NVIDIA GPU found"]
    return [f"{gpu.name}, {gib(gpu.memory)}, {gib(gpu.free)} of it free" for gpu in machine.gpus]


def advice(machine: Machine, found: list[Fit]) -> str:
    """What this machine can run, in a sentence or two."""
    chosen = best(found)
    if lies_idle(machine):
        return "The GPU cannot be used as things are: dgchat doctor says what mends that. Until then pocket runs well."
    if chosen is None or chosen.verdict == "no":
        return f"{_smallest(machine, found)} pocket runs well."
    if chosen.verdict == "slow":
        return "Without an NVIDIA GPU the full model would run on the processor, very slowly; pocket runs well."
    how = f"dgchat pull {chosen.model}, then dgchat --model {chosen.model}"
    if chosen.verdict == "fits":
        return f"The full model fits this GPU, with room for {tokens(chosen.context)} tokens: {how}."
    if chosen.in_host:
        return (
            f"The full model runs here with a part of it in the host's memory, which makes a step {chosen.step:.2f} s "
            f"longer: {how}."
        )
    return f"The full model just fits this GPU, with room for {tokens(chosen.context)} tokens: {how}."


def lies_idle(machine: Machine) -> bool:
    """Whether there is a GPU that cannot be used."""
    there = bool(machine.gpus or machine.nvidia.silent or machine.nvidia.problem)
    return there and machine.gpu is None


def _smallest(machine: Machine, found: list[Fit]) -> str:
    least = min((fit.needs for fit in found), default=hub.DEFAULT.bytes)
    if machine.gpu is not None:
        return f"The full model takes at least {gib(least)}, and {gib(machine.gpu.free)} of the GPU are free;"
    return f"Without an NVIDIA GPU the full model, which takes at least {gib(least)}, cannot run here;"
