"""The full-size model with random NVFP4 weights: ms a denoising step, tokens/s, time to the first step, memory.

The weights are made on the device, so that no file is needed; the model, its session and its sampler are the engine's
own. Nothing that it writes means anything, so no canvas converges, and each takes as many steps as it may.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import torch

from bench.drawn import RandomSource
from bench.records import Record, Result
from bench.roofline import floor_seconds, operations
from bench.setting import Rates, Setup
from dgengine import footprint, planner
from dgengine.checkpoint import assemble
from dgengine.config import ModelConfig
from dgengine.events import Block, Step
from dgengine.model import Model
from dgengine.quantized.base import Form
from dgengine.sampling import Sampling
from dgengine.session import Session


@dataclass(frozen=True)
class Variant:
    """One way to hold and run the model.

    Attributes:
        precision: as the planner names it.
        dense: the form of the dense part; None is bfloat16.
        kernels: whether they are used.
    """

    precision: str
    dense: Form | None
    kernels: bool


VARIANTS: Final = (
    Variant("nvfp4", None, True),
    Variant("nvfp4+fp8", "fp8", True),
    Variant("nvfp4", None, False),
)


def run(setup: Setup, record: Record) -> None:
    """Measures one variant after the other, until time is up.

    Raises:
        RuntimeError: the kernels were to be used, and were not; the others were run first.
    """
    rates = setup.rates()
    record.put(bandwidth=rates.bandwidth, flops=rates.flops, canvas=setup.sizes.config.canvas_length)
    rows: list[Result] = []
    for variant in VARIANTS:
        if setup.deadline.passed:
            record.put(cut="no time was left for the rest")
            break
        row: Result = {"precision": variant.precision, "kernels": variant.kernels}
        rows.append(row)
        _measure(setup, variant, rates, row, lambda: record.put(variants=rows))
        _release(setup.device)
    if refused := [row["refused"] for row in rows if "refused" in row]:
        raise RuntimeError(f"the kernels were not used: {refused[0]}")


def _measure(setup: Setup, variant: Variant, rates: Rates, row: Result, save: Callable[[], None]) -> None:
    sizes, config = setup.sizes, setup.sizes.config
    start = time.perf_counter()
    model = random_model(config, setup.device, variant)
    _release(setup.device)
    row |= {"build_seconds": time.perf_counter() - start, "weight_bytes": model.weight_bytes()}
    if variant.kernels and not model.uses_kernels:
        row["refused"] = model.kernel_note or "for no reason that was told"
        save()
        return
    context = sizes.context if variant.kernels else sizes.slow_context
    answer(model, sizes.contexts[0], 1, 2)  # compiles what is to be compiled
    canvases, steps = (sizes.canvases, sizes.steps) if variant.kernels else (1, sizes.slow_steps)
    row |= _steps(setup, model, context, canvases, steps)
    precision = footprint.precision_of(variant.precision)
    row |= {
        "floor_seconds": floor_seconds(config, precision, context, rates),
        "floor_operations": [vars(own) for own in operations(config, precision, context)],
    }
    save()
    first_steps: list[Result] = []
    for tokens in sizes.contexts if variant.kernels else sizes.contexts[:1]:
        if setup.deadline.passed:
            break
        first_steps.append(_first_step(setup, model, variant, tokens))
        row["first_steps"] = first_steps
        save()


def random_model(config: ModelConfig, device: torch.device, variant: Variant) -> Model:
    """The model, with kernels if they run."""
    source = RandomSource(config, device, "nvfp4", variant.dense)
    return assemble(config, source, device, torch.bfloat16, variant.kernels)


# one answer


@dataclass
class Answer:
    """When things came, in seconds since it was asked for.

    Attributes:
        first: the first step.
        taken: how many steps there were.
        steps: how long each took but a canvas' first, which has no self-conditioning.
        blocks: when each canvas was finished.
    """

    first: float = 0.0
    taken: int = 0
    steps: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)


def answer(model: Model, prompt: int, canvases: int, steps: int) -> Answer:
    """Answers a prompt of so many random tokens with so many canvases, in a session of its own."""
    config = model.config
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(0, config.vocab_size, (prompt,), generator=generator).tolist()
    sampling = Sampling(seed=1, max_new_tokens=canvases * config.canvas_length, max_denoising_steps=steps)
    session, result = Session(model), Answer()
    start = time.perf_counter()
    for event in session.generate(ids, sampling):
        now = time.perf_counter() - start
        if isinstance(event, Step):
            result.first = result.first or now
            result.taken += 1
            result.steps += [event.seconds] if event.step > 1 else []
        elif isinstance(event, Block):
            result.blocks.append(now)
    return result


def _steps(setup: Setup, model: Model, context: int, canvases: int, steps: int) -> Result:
    """Of an answer: its median step, and tokens/s from the end of a canvas to that of the next, commit included."""
    found = answer(model, context, canvases, steps)
    result: Result = {
        "context": context,
        "steps": steps,
        "step_seconds": statistics.median(found.steps),
        "steps_taken": found.taken,
    }
    if gaps := [later - earlier for earlier, later in itertools.pairwise(found.blocks)]:
        result["tokens_per_second"] = model.config.canvas_length / statistics.median(gaps)
    return result


def _first_step(setup: Setup, model: Model, variant: Variant, tokens: int) -> Result:
    """Seconds from an empty cache to the first step after so many tokens, and what memory that took.

    Twice: prompts of other lengths may need kernels that are not compiled yet.
    """
    _release(setup.device)
    if setup.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setup.device)
    compiling, found = (answer(model, tokens, 1, 2) for _ in range(2))
    whole = tokens + model.config.canvas_length
    parts = planner.plan(model.config, 2**50, 2**50, variant.precision, whole).parts
    planned = {"planned_bytes": parts.total, "planned_context_bytes": parts.cuda_context}
    seconds = {"seconds": found.first, "seconds_at_first": compiling.first}
    return {"tokens": tokens, **seconds, **planned, **_memory(setup.device)}


def _memory(device: torch.device) -> Result:
    """The most that torch held, and what the device holds besides (context, libraries, other programs)."""
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    beside = total - free - torch.cuda.memory_reserved(device)
    reserved = torch.cuda.max_memory_reserved(device)
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(device),
        "reserved_bytes": reserved,
        "beside_bytes": beside,
        "peak_bytes": reserved + beside,
    }


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
