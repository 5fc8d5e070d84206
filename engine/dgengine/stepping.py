"""What denoises a block, step by step: by itself (`EagerStepper`) or as graphs that run ahead (`dgengine.graphs`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dgengine.sampler import BlockSampler, Draft


class Stepped(NamedTuple):
    """A step that was taken.

    Attributes:
        draft: what came of it.
        seconds: how long it took.
    """

    draft: Draft
    seconds: float


class Stepper(Protocol):
    """The denoising of one canvas."""

    @property
    def steps(self) -> int:
        """Steps that `advance` has given."""

    @property
    def converged(self) -> bool:
        """Whether the last of them met the stopping rule."""

    @property
    def draft(self) -> NDArray[np.int32]:
        """int32 [C], the argmax canvas of the last of them; empty before the first."""

    def advance(self, pins: Mapping[int, int], limit: int) -> Stepped:
        """The next step.

        Args:
            pins: token id by position: they hold in every step that begins from now on. Where steps are computed ahead,
                the one that this call gives may have begun before.
            limit: steps that the block may take, this one included; none beyond it is begun.

        Raises:
            NumericsError: NaN or infinity in the logits of this step, which `steps` counts.
        """

    def close(self) -> None:
        """No step is wanted any more; what was computed ahead is lost. It may be called more than once."""


class EagerStepper:
    """A `Stepper` that takes a step when it is asked for one: whatever is sampled how, on any device."""

    def __init__(self, sampler: BlockSampler, denoise: Callable[[BlockSampler], Draft]) -> None:
        """Denoises the canvas of `sampler` by `denoise`, which takes one step with it."""
        self.sampler = sampler
        self.denoise = denoise

    @property
    def steps(self) -> int:
        return self.sampler.steps

    @property
    def converged(self) -> bool:
        return self.sampler.converged

    @property
    def draft(self) -> NDArray[np.int32]:
        return self.sampler.draft

    def advance(self, pins: Mapping[int, int], limit: int) -> Stepped:
        start = time.perf_counter()
        self.sampler.pin(pins)
        draft = self.denoise(self.sampler)
        return Stepped(draft, time.perf_counter() - start)

    def close(self) -> None:
        pass
