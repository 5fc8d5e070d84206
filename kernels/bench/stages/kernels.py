"""How long each kernel takes: beside its floor, its torch reference, and what others have for the same.

The floor is the larger of the bytes over the bandwidth and the operations over the rate that the stage `machine`
measured. Of bytes only those count that have to be moved: the weights of experts that are chosen, inputs and outputs.
Everything starts with a cold cache, as in a model, whose layers are far larger than it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench.head_case import HeadCase, draw_head
from bench.layer_case import Part, draw_parts
from bench.moe_case import Case, Routing, draw_case, draw_routing, draw_weights
from bench.records import Record, Result
from bench.rivals import RIVALS, Missing
from bench.setting import Rates, Setup
from bench.timing import Call, Stopwatch
from dgengine.errors import described
from dgkernels.moe.layout import Form, Packed

_BF16, _FLOAT32 = 2, 4  # bytes


@dataclass(frozen=True)
class Work:
    """A kernel's call, its reference's, and what has to be done: bytes and operations."""

    kernel: str
    call: Call
    reference: Call
    bytes: float
    flops: float = 0.0


def run(setup: Setup, record: Record) -> None:
    """Times kernel after kernel, NVFP4 first, until time is up."""
    watch, rates = setup.stopwatch(), setup.rates()
    record.put(tokens=setup.sizes.tokens, bandwidth=rates.bandwidth, flops=rates.flops)
    rows: list[Result] = []
    for form, work, case in _all_work(setup):
        if setup.deadline.passed:
            record.put(cut="no time was left for the rest")
            return
        rows.append({"form": form, **_time(setup, watch, rates, work)})
        record.put(kernels=rows)
        if case is not None:
            rows[-1]["rivals"] = dict(_time_rivals(setup, watch, work.kernel, case))
            record.put(kernels=rows)


def _all_work(setup: Setup) -> Iterator[tuple[str, Work, Case | None]]:
    sizes = setup.sizes
    generator = torch.Generator(setup.device).manual_seed(2)
    yield "bf16", routing_work(draw_routing(sizes.moe, sizes.tokens, generator)), None
    head = draw_head(sizes.config, sizes.tokens, generator)
    if head is not None:
        for work in head_work(head):
            yield "bf16", work, None
        del head, work
        gc.collect()
    for part in draw_parts(sizes.config, sizes.tokens, sizes.context, generator):
        yield "bf16", layer_work(part), None
    gc.collect()
    forms: tuple[Form, ...] = ("nvfp4", "nf4")
    for form in forms:
        weights = draw_weights(sizes.moe, form, generator)
        case = draw_case(weights, sizes.tokens, generator, sizes.reference_tokens)
        for work in experts_work(case):
            if form == "nvfp4" or work.kernel not in ("align", "combine"):  # those have no weights
                yield form, work, case
        del weights, case, work
        gc.collect()


def routing_work(routing: Routing) -> Work:
    """The router's."""
    (tokens, hidden), experts = routing.residual.shape, routing.projection.shape[1]
    moved = _BF16 * (tokens * hidden + hidden * experts) + _FLOAT32 * (hidden + experts + 2 * tokens * routing.top_k)
    return Work("route", routing.route, routing.reference_route, moved, 2 * tokens * hidden * experts)


def layer_work(part: Part) -> Work:
    """What lies between products; its reference is the engine's torch."""
    return Work(part.kernel, part.call, part.by_torch, part.bytes, part.flops)


def head_work(case: HeadCase) -> Iterator[Work]:
    """The head's: logits, and what is wanted of them; and with what the next step makes of that."""
    (count, hidden), words = case.hidden.shape, case.embedding.shape[0]
    moved = _BF16 * (count * hidden + words * hidden)
    logits = 2 * count * hidden * words
    yield Work("head", case.head, case.reference_head, moved, logits)
    if case.fp8 is not None:
        yield Work("head, FP8", case.head_in_fp8, case.reference_head, moved - words * hidden, logits)
    both = moved + _BF16 * words * hidden + _FLOAT32 * count * hidden
    yield Work("conditioned", case.conditioned, case.reference_conditioned, both, 2 * logits)


def experts_work(case: Case) -> Iterator[Work]:
    """Those of the mixture, and all of it."""
    size, rows, tokens = case.weights.size, case.chosen.numel(), case.x.shape[0]
    gate_up, down = (_chosen_bytes(packed, case) for packed in case.weights.packed)
    first, second = 4 * rows * size.width * size.hidden, 2 * rows * size.width * size.hidden  # operations
    x, inner = _BF16 * tokens * size.hidden, _BF16 * rows * size.width
    outer, factors = _BF16 * rows * size.hidden, _FLOAT32 * rows
    yield Work("experts", case.experts, case.reference_experts, gate_up + down + 2 * x + 2 * factors, first + second)
    if case.weights.native_tiles is not None:
        moved = gate_up + down + 2 * x + 2 * factors
        yield Work("experts, FP4", case.native, case.reference_experts, moved, first + second)
    yield Work("gate_up", case.gate_up, case.reference_gate_up, gate_up + x + inner, first)
    yield Work("down", case.down, case.reference_down, down + inner + outer + factors, second)
    yield Work("combine", case.combine, case.reference_combine, outer + x)
    yield Work("align", case.align, case.reference_align, 2 * _FLOAT32 * rows)


def _chosen_bytes(packed: Packed, case: Case) -> float:
    """Of the experts that a token takes."""
    share = len(case.chosen.unique()) / packed.experts
    return share * sum(tensor.nbytes for tensor in packed.tensors())


def _time(setup: Setup, watch: Stopwatch, rates: Rates, work: Work) -> Result:
    seconds = watch.median(work.call, setup.sizes.repeats)
    floor = rates.floor(work.bytes, work.flops)
    return {
        "kernel": work.kernel,
        "seconds": seconds,
        "floor_seconds": floor,
        "share_of_floor": floor / seconds,
        "bytes": work.bytes,
        "flops": work.flops,
        "share_of_bandwidth": work.bytes / seconds / rates.bandwidth,
        "reference_seconds": watch.median(work.reference, setup.sizes.slow_repeats, warm_ups=1),
    }


def _time_rivals(setup: Setup, watch: Stopwatch, kernel: str, case: Case) -> Iterator[tuple[str, Result]]:
    """Each rival's time, or why there is none."""
    for name, prepare in RIVALS.get(kernel, {}).items():
        try:
            yield name, {"seconds": watch.median(prepare(case), setup.sizes.slow_repeats)}
        except Missing as reason:
            yield name, {"missing": str(reason)}
        except Exception as error:  # noqa: BLE001 - a rival that fails here is no reason to stop
            yield name, {"missing": described(error)}
        if setup.device.type == "cuda":
            torch.cuda.empty_cache()
