"""Graphs of a model's denoising steps: made when they are first needed, tried before they are used, or refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch

from dgengine import memory
from dgengine.errors import NumericsError, described
from dgengine.frame import Frame
from dgengine.graphs.late import LateStepper
from dgengine.graphs.queue import CudaQueue, StepQueue
from dgengine.graphs.state import MOST_STEPS, BlockState, Record
from dgengine.model import Model
from dgengine.sampler import BlockSampler, Draft, temperature_at
from dgengine.stepping import EagerStepper, Stepper

SWITCH: Final = "DGENGINE_GRAPHS"
"""The environment variable that turns graphs off where nobody has said anything else: 0."""

_TRIED: Final = 2  # steps: the first has none before it that it could be conditioned on
_ENTROPY: Final = 1e-3  # nats, by which a replay may differ where every token is the same

Run: TypeAlias = Callable[[Frame], None]
"""Takes a step of a block whose canvas lies in a frame: always the same one, which it keeps no hold of."""


class StepGraphs:
    """Steppers of one model that run ahead.

    A graph belongs to the buffers that it was captured with: those of a block's state, and those of a cache. The first
    are lent to one block at a time; a second block beside it gets others. When a cache's buffers grow, its graph goes
    with them, and another is captured.

    Attributes:
        refusal: why steps are no longer taken so, in a few words; None while they are.
    """

    def __init__(
        self,
        model: Model,
        queue: StepQueue,
        captured: bool,
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Makes steppers.

        Args:
            model: one of which `why_not` says nothing.
            queue: of its device.
            captured: whether steps are captured, or run one operation at a time, as they have to be on a CPU.
            refused: told the reason when a trial has failed.
        """
        self.refusal: str | None = None
        self._model = model
        self._queue = queue
        self._refused = refused
        self._idle: list[_Bench] = []
        # One for all captures: what libraries keep for each stream, they keep once.
        self._beside = torch.cuda.Stream(model.device) if captured else None

    def stepper(self, eager: EagerStepper, cache: Any) -> Stepper:
        """What denoises the canvas of `eager`, which nothing was done with yet, after what `cache` holds.

        It is `eager` itself where such a sampling, or this device, has no graph.
        """
        if self.refusal is not None:
            return eager
        if not self._serves(eager.sampler):
            self.release()
            return eager
        frame = self._model.frame(cache)  # eager steps need it too: where there is no room for it, that is no refusal
        try:
            with torch.inference_mode():
                bench = self._idle.pop() if self._idle else _Bench(self._model)
                run = bench.runs.get(frame) or self._tried(bench, frame, eager)
        except NumericsError:  # which is the model's, and not the graph's: the first step will say so
            return eager
        except Exception as error:  # noqa: BLE001 - whatever cannot be captured here is run without
            self._refuse(f"they fail here ({described(error)})")
            memory.give_back(error, self._model.device)
            return eager
        if run is None:
            return eager
        bench.state.begin(eager.sampler.canvas, eager.sampler.key, eager.sampler.sampling)
        return LateStepper(
            bench.state, partial(run, frame), self._queue, eager.sampler.sampling, partial(self._give_back, bench)
        )  # fmt: skip

    def release(self) -> None:
        """Gives back the memory of all that is in no use: before steps that want the logits, which take a lot of it."""
        if self._idle:
            self._idle.clear()
            memory.release(self._model.device)

    def _give_back(self, bench: _Bench) -> None:
        if self.refusal is None:
            self._idle.append(bench)

    def _serves(self, sampler: BlockSampler) -> bool:
        """Whether no step of a block wants more of the logits than kernels tell, or is too cold for them."""
        head, sampling = self._model.kernel_head, sampler.sampling
        last = sampling.max_denoising_steps
        if head is None or sampler.wants_logits or last > MOST_STEPS:
            return False
        return temperature_at(last, sampling) >= head.lowest_temperature

    def _tried(self, bench: _Bench, frame: Frame, eager: EagerStepper) -> Run | None:
        """A step as it will be run, once it has done what eager ones do; None where it does not."""
        sampler = self._another(eager.sampler)
        begin = partial(bench.state.begin, sampler.canvas, sampler.key, sampler.sampling)
        run: Run = partial(bench.state.advance, self._model)
        if self._beside is not None:
            begin()
            run = _capture(partial(run, frame), self._beside)
        begin()
        one_by_one = EagerStepper(sampler, eager.denoise)
        while one_by_one.steps < _TRIED and not one_by_one.converged:
            found = Record.of(self._queue.submit(partial(run, frame), bench.state.record).wait().record)
            if not _alike(found, one_by_one.advance({}, _TRIED).draft):
                self._refuse("their first steps were not those of the operations one by one")
                return None
        bench.runs[frame] = run
        return run

    def _another(self, sampler: BlockSampler) -> BlockSampler:
        """Like `sampler`, for a trial that leaves nothing of this one changed."""
        model = self._model
        generator = torch.Generator(device=model.device).manual_seed(0)
        size = (model.config.canvas_length, model.config.vocab_size)
        return BlockSampler(sampler.sampling, *size, generator, model.dtype, sampler.key)

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self.release()
        self._refused(reason)


class _Bench:
    """The state of one block at a time, and the steps that were captured with it, by the frame that they write to."""

    def __init__(self, model: Model) -> None:
        self.state = BlockState(model.config.canvas_length, model.config.vocab_size, model.device)
        self.runs: WeakKeyDictionary[Frame, Run] = WeakKeyDictionary()


def step_graphs(
    model: Model, wanted: bool | None, refused: Callable[[str], None] = lambda reason: None
) -> tuple[StepGraphs | None, str | None]:
    """What takes the steps of a model as graphs, or None; and why not, where that was wished or is usual.

    Args:
        wanted: None for wherever it can be, unless the environment variable `DGENGINE_GRAPHS` is 0.
        refused: told the reason when a trial has failed, later.
    """
    if wanted is None and os.environ.get(SWITCH) == "0":
        wanted = False
    # where there is no head, it was not wished, or the model's `kernel_note` has said why
    pointless = model.device.type == "cpu" or model.kernel_head is None
    if wanted is False or (wanted is None and pointless):
        return None, None
    reason = why_not(model)
    return (None, reason) if reason else (StepGraphs(model, CudaQueue(model.device), True, refused), None)


def why_not(model: Model) -> str | None:
    """Why the steps of a model cannot be captured, in a few words; None where they can."""
    if model.device.type != "cuda":
        return "they are for NVIDIA GPUs"
    if model.kernel_head is None:
        return "torch computes the logits"
    if model.host_bytes():
        return "experts are copied from the host's memory in every step"
    return None if model.has_fixed_shapes else "torch computes the experts, whose tokens it counts on the host"


def _capture(step: Callable[[], None], beside: torch.cuda.Stream) -> Run:
    """Takes a step on the stream `beside`, then makes a graph of another, which does the same whenever it is called."""
    device = beside.device
    here = torch.cuda.current_stream(device)
    beside.wait_stream(here)
    try:
        with torch.cuda.device(device), torch.cuda.stream(beside):
            step()  # compiles and loads what is needed, which a capture must not
            torch.cuda.synchronize(device)
            memory.release(device)  # what a graph holds is its own: what is kept for others would lie beside it
            graph = _recorded(step)
    finally:
        here.wait_stream(beside)  # which may still be at it, where this failed
    return lambda frame: graph.replay()


def _recorded(step: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """What a step does on the current stream, as a graph.

    `torch.cuda.graph` would leave its stream the current one where ending a capture fails, as it does after a step that
    was not allowed.
    """
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")  # other threads may use the GPU meanwhile
    try:
        step()
    except BaseException:
        with suppress(RuntimeError):  # it says only that something had failed
            graph.capture_end()
        raise
    graph.capture_end()
    return graph


def _alike(found: Record, wanted: Draft) -> bool:
    """Whether a step's record tells what the eager step came to: every token the same."""
    same = (
        np.array_equal(found.draft, wanted.draft)
        and np.array_equal(found.canvas, wanted.canvas)
        and np.array_equal(found.accepted, wanted.accepted)
    )
    return same and not found.failed and bool(np.abs(found.entropy - wanted.entropy).max() <= _ENTROPY)
