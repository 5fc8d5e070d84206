"""transformers' DiffusionGemma of the same size in bfloat16, with random weights made on the device: ms a step.

First as it is, then compiled as `generate` compiles it when it is given a static cache. A step is the gap between two
drafts, with transformers' own sampling, as `engine/bench/vs_transformers.py` counts it.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from bench.contestants import Run, Watch
from bench.full_size import config_json
from bench.records import Record, Result
from bench.setting import Setup
from dgengine import memory
from dgengine.config import ModelConfig
from dgengine.footprint import precision_of, weight_bytes

_SPARE = 4 * 2**30  # bytes besides the weights
_DEVIATION = 0.02  # of weights: transformers' own initializer_range


def run(setup: Setup, record: Record) -> None:
    """Measures both, the compiled one last: it may take longer than there is time, and is cut off then."""
    sizes = setup.sizes
    if short := _too_large(sizes.config, setup.device):
        record.put(skipped=short)
        return
    start = time.perf_counter()
    model = random_reference(sizes.config, setup.device)
    record.put(build_seconds=time.perf_counter() - start, context=sizes.context, dtype="bfloat16")
    record.put(experts_implementation=getattr(model.config, "_experts_implementation", None))
    draw(model, sizes.contexts[0], 1)
    record.put(eager=_measured(setup, model))
    if not sizes.compiles or setup.deadline.passed:
        record.put(compiled={"skipped": "no time was left" if sizes.compiles else "not at this size"})
        return
    record.put(compiled={"skipped": "cut off: compiling took longer than there was time"})  # until it is there
    start = time.perf_counter()
    draw(model, sizes.context, 2, cache_implementation="static")
    compiling = time.perf_counter() - start
    record.put(compiled={"compile_seconds": compiling, **_measured(setup, model, cache_implementation="static")})


def _too_large(config: ModelConfig, device: torch.device) -> str | None:
    need, free = weight_bytes(config, precision_of("bfloat16")).total + _SPARE, memory.free(device).free
    if device.type != "cuda" or need <= free:
        return None
    return f"in bfloat16 it needs {need / 2**30:.0f} GiB, and {free / 2**30:.0f} are free"


def _measured(setup: Setup, model: Any, **options: Any) -> Result:
    if setup.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setup.device)
    run = draw(model, setup.sizes.context, setup.sizes.steps, **options)
    held = torch.cuda.max_memory_reserved(setup.device) if setup.device.type == "cuda" else None
    return {"step_seconds": statistics.median(run.step_seconds), "steps": run.steps, "reserved_bytes": held}


def draw(model: Any, prompt: int, steps: int, **options: Any) -> Run:
    """Denoises one canvas after a prompt of so many random tokens."""
    vocabulary = model.config.text_config.vocab_size
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(3, vocabulary, (1, prompt), generator=generator)
    ids[ids == model.config.image_token_id] = 3
    watch = Watch()
    start = time.perf_counter()
    with torch.inference_mode():
        model.generate(
            ids.to(model.device), streamer=watch, max_new_tokens=model.config.canvas_length,
            max_denoising_steps=steps, **options,
        )  # fmt: skip
    return Run(seconds=time.perf_counter() - start, drafts=[block for block in watch.drafts if block])


def random_reference(config: ModelConfig, device: torch.device) -> Any:
    """transformers' model of these dimensions, in bfloat16.

    Its encoder and decoder are made apart and tied afterwards, which on the device would take twice the memory: so
    parameters are made without storage, and each that is left after tying is drawn there once.
    """
    from accelerate import init_empty_weights  # type: ignore[import-untyped]
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
    from transformers.utils import logging

    logging.set_verbosity_error()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with init_empty_weights(include_buffers=False):
            model: Any = DiffusionGemmaForBlockDiffusion(DiffusionGemmaConfig.from_dict(config_json(config)))
    finally:
        torch.set_default_dtype(before)
    model.tie_weights()
    _materialize(model, device)
    return model.eval()


def _materialize(model: nn.Module, device: torch.device) -> None:
    """Draws every parameter, one that several modules share once, and moves the buffers."""
    generator = torch.Generator(device).manual_seed(0)
    drawn: dict[int, nn.Parameter] = {}
    kept = []  # or an id might be given anew
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            kept.append(parameter)
            if id(parameter) not in drawn:
                drawn[id(parameter)] = nn.Parameter(_drawn(parameter, generator), requires_grad=False)
            module.register_parameter(name, drawn[id(parameter)])
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def _drawn(parameter: Tensor, generator: torch.Generator) -> Tensor:
    empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=generator.device)
    return empty.normal_(std=_DEVIATION, generator=generator) if empty.dim() > 1 else empty.fill_(1.0)
