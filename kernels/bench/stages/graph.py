"""A denoising step as one CUDA graph, beside the same step launched kernel by kernel.

The model is that of the stage `step`, in NVFP4 with kernels. Both ways answer the same prompt with the same seed, and
must come to the same tokens. On a CPU nothing can be captured: there, steps run ahead without, for a dry run.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile

from bench.records import Record, Result
from bench.setting import Setup
from bench.stages.step import VARIANTS, random_model
from dgengine.events import Block, Step
from dgengine.graphs.capture import StepGraphs
from dgengine.graphs.queue import CudaQueue, HostQueue
from dgengine.model import Model
from dgengine.sampling import Sampling
from dgengine.session import Session

EAGER: Final = "kernel by kernel"
GRAPH: Final = "one graph"
_PROFILED: Final = 6  # steps


class OtherTokens(Exception):
    """A graph whose answer is not that of the same kernels, launched one by one."""


def run(setup: Setup, record: Record) -> None:
    """Measures steps launched one by one, then graphs.

    Raises:
        RuntimeError: graphs were refused. OtherTokens: they give other tokens. What was measured is kept.
    """
    sizes = setup.sizes
    model = random_model(sizes.config, setup.device, VARIANTS[0])
    graphs = _graphs(model)
    record.put(context=sizes.context, steps=sizes.steps, canvas=sizes.config.canvas_length)
    rows: list[Result] = []
    answers: list[_Answer] = []
    for way, own in ((EAGER, None), (GRAPH, graphs)):
        session = Session(model, graphs=own)
        row, answer = _measured(setup, session)
        rows.append({"way": way, **row})
        answers.append(answer)
        record.put(ways=rows)
    if graphs.refusal is not None:
        raise RuntimeError(f"graphs were refused: {graphs.refusal}")
    same = answers[0].drafts == answers[1].drafts
    record.put(same_tokens=same)
    if not same:
        raise OtherTokens("the graph's answer is not that of the kernels one by one")


def _graphs(model: Model) -> StepGraphs:
    on_gpu = model.device.type == "cuda"
    return StepGraphs(model, CudaQueue(model.device) if on_gpu else HostQueue(), captured=on_gpu)


@dataclass
class _Answer:
    """What came of an answer, and when: seconds of steps, and from one canvas to the next, commit included."""

    steps: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)
    drafts: list[list[int]] = field(default_factory=list)


def _measured(setup: Setup, session: Session) -> tuple[Result, _Answer]:
    """Once to compile and capture, once to measure, and once, shorter, to look at the gaps."""
    sizes = setup.sizes
    start = time.perf_counter()
    _answer(session, sizes.context, sizes.canvases, sizes.steps)
    first = time.perf_counter() - start
    found = _answer(session, sizes.context, sizes.canvases, sizes.steps)
    result: Result = {"first_answer_seconds": first, "step_seconds": statistics.median(found.steps)}
    if gaps := [later - earlier for earlier, later in itertools.pairwise(found.blocks)]:
        result["tokens_per_second"] = sizes.config.canvas_length / statistics.median(gaps)
    if setup.device.type == "cuda":
        result["idle_share"] = _idle_share(setup, session)
    return result, found


def _answer(session: Session, prompt: int, canvases: int, steps: int) -> _Answer:
    config = session.model.config
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(0, config.vocab_size, (prompt,), generator=generator).tolist()
    sampling = Sampling(seed=1, max_new_tokens=canvases * config.canvas_length, max_denoising_steps=steps)
    result, start = _Answer(), time.perf_counter()
    for event in session.generate(ids, sampling):
        if isinstance(event, Step):
            result.drafts.append(event.draft.tolist())
            result.steps += [event.seconds] if event.step > 1 else []
        elif isinstance(event, Block):
            result.blocks.append(time.perf_counter() - start)
    return result


def _idle_share(setup: Setup, session: Session) -> float:
    """Of the time from the first kernel of a canvas to its last, the share in which none ran; the cache is warm."""
    _answer(session, setup.sizes.context, 1, _PROFILED)  # leaves the prompt in the cache, and nothing behind it
    torch.cuda.synchronize(setup.device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        _answer(session, setup.sizes.context, 1, _PROFILED)
        torch.cuda.synchronize(setup.device)
    on_device = (event.time_range for event in profiled.events() if event.device_type.name == "CUDA")
    return idle_share((span.start, span.end) for span in on_device)


def idle_share(spans: Iterable[tuple[float, float]]) -> float:
    """The share of the time from the first begin to the last end that no span covers."""
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    covered, reached = 0.0, ordered[0][0]
    for begin, end in ordered:
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    whole = reached - ordered[0][0]
    return 1 - covered / whole if whole else 0.0
