"""A denoising step as a function of buffers at fixed addresses: nothing of it is decided on the host.

It does what `BlockSampler` does with an `Outcome`, in operations whose shapes never change: where pins are, which step
it is, how hot, and whether it is the last are numbers in the device's memory. So it can be captured once and replayed
for every step of every block. C is the canvas length, V the vocabulary's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dgengine.counter import draws
from dgengine.frame import Frame
from dgengine.sampler import accept, temperature_at
from dgengine.sampling import ResolvedSampling
from dgkernels.outcome import Outcome, Softmax

MOST_STEPS: Final = 1024
"""Temperatures that there is room for: beyond the last of a ramp, steps keep it."""

_ACCEPTED, _PINNED = 1, 2  # bits of a record's last plane
_PLANES: Final = 4


class Denoiser(Protocol):
    """What a step needs of a model."""

    def denoise(
        self,
        canvas: Tensor,
        frame: Frame,
        self_conditioning: Softmax | None,
        temperature: float | Tensor,
        uniforms: Tensor,
        into: Softmax | None = None,
    ) -> Outcome:
        """As `dgengine.model.Model.denoise`."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldSoftmax(Softmax):
    """A softmax that is certain of some positions: as `Softmax.set`, without knowing on the host which they are.

    Attributes:
        held: bool [C].
        ids: int64 [C], what it is certain of there.
    """

    held: Tensor
    ids: Tensor

    def mean(self, embedding: Tensor) -> Tensor:
        """Likewise; where it is certain, exactly the embedding."""
        mean = Softmax.mean(self, embedding)
        return torch.where(self.held.unsqueeze(-1), F.embedding(self.ids, embedding).float(), mean)


class Record(NamedTuple):
    """What a step tells the host.

    Attributes:
        draft: int32 [C].
        canvas: int32 [C].
        entropy: float32 [C].
        accepted: bool [C].
        pinned: bool [C].
        converged: whether the stopping rule is met.
        failed: whether an entropy is not finite.
    """

    draft: NDArray[np.int32]
    canvas: NDArray[np.int32]
    entropy: NDArray[np.float32]
    accepted: NDArray[np.bool_]
    pinned: NDArray[np.bool_]
    converged: bool
    failed: bool

    @classmethod
    def of(cls, numbers: NDArray[np.int32]) -> Record:
        """Reads what `BlockState.record` held, int32 [4 C + 2]."""
        draft, canvas, bits, flags = numbers[:-2].reshape(_PLANES, -1)
        accepted, pinned = ((flags & bit).astype(np.bool_) for bit in (_ACCEPTED, _PINNED))
        return cls(draft, canvas, bits.view(np.float32), accepted, pinned, bool(numbers[-2]), bool(numbers[-1]))


class BlockState:
    """Everything that passes from step to step of a block, at addresses that stay.

    Attributes:
        record: int32 [4 C + 2], what the last step tells: see `Record`.
    """

    def __init__(self, count: int, words: int, device: torch.device) -> None:
        """Makes the buffers for a canvas of `count` and a vocabulary of `words`: 2 C V bytes, and little else."""
        self._words = words

        def row(dtype: torch.dtype, size: int = count) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=device)

        self.record = row(torch.int32, _PLANES * count + 2)
        self._canvas = row(torch.int64)
        self._softmax = Softmax(torch.zeros(count, words, dtype=torch.bfloat16, device=device), row(torch.float32))
        self._pinned, self._pin_ids = row(torch.bool), row(torch.int64)
        self._was_pinned, self._was_ids = row(torch.bool), row(torch.int64)  # at the end of the step before
        self._draft = row(torch.int64)
        self._streak = row(torch.int64)  # for how many steps the draft has stood still there
        self._key, self._step = row(torch.int64, 1), row(torch.int64, 1)
        self._stopped = row(torch.bool, 1)
        self._temperatures = row(torch.float32, MOST_STEPS)
        self._bounds = row(torch.float32, 2)  # of the entropy that is shared, and of the mean
        self._stability = row(torch.int64, 1)

    @torch.inference_mode()
    def begin(self, canvas: Tensor, key: int, sampling: ResolvedSampling) -> None:
        """Makes ready for the first step of a block.

        Args:
            canvas: int64 [C], on the device.
            key: where its random numbers begin, of `counter.key_of`.
            sampling: of at most `MOST_STEPS` steps.
        """
        self._canvas.copy_(canvas)
        # A softmax of nothing has the mean zero, and so has the signal: as if there were no step before.
        self._softmax.weights.zero_()
        self._softmax.totals.fill_(1.0)
        self._draft.fill_(-1)
        for buffer in (self._pinned, self._was_pinned, self._streak, self._step, self._stopped):
            buffer.zero_()
        self._key.fill_(key)
        self._stability.fill_(sampling.stability_threshold)
        _upload(self._bounds, [sampling.entropy_bound, sampling.confidence_threshold])
        _upload(self._temperatures, _ramp(sampling))

    @torch.inference_mode()
    def pin(self, pins: Mapping[int, int]) -> None:
        """Sets the pins, token id by position, from the next step on; replaces all earlier ones."""
        count = self._canvas.shape[0]
        _upload(self._pinned, [place in pins for place in range(count)])
        _upload(self._pin_ids, [pins.get(place, 0) for place in range(count)])

    @torch.inference_mode()
    def advance(self, model: Denoiser, frame: Frame) -> None:
        """Takes a step, and leaves its record. After one that met the stopping rule, nothing passes on any more.

        The softmax does change then, but no step of this block reads it.
        """
        drawn = draws(self._key, self._step, self._canvas.shape[0], self._words)
        temperature = self._temperatures.index_select(0, self._step.clamp(max=MOST_STEPS - 1))
        canvas = torch.where(self._pinned, self._pin_ids, self._canvas)
        outcome = model.denoise(canvas, frame, self._conditioning(), temperature, drawn.uniforms, self._softmax)
        self._settle(outcome, drawn.noise)

    def _conditioning(self) -> Softmax:
        """What the step before thought, with the pins of its end, and those of now."""
        held = (self._pinned | self._was_pinned) & (self._step > 0)
        ids = torch.where(self._pinned, self._pin_ids, self._was_ids)
        return HeldSoftmax(self._softmax.weights, self._softmax.totals, held, ids)

    def _settle(self, outcome: Outcome, noise: Tensor) -> None:
        """Accepts, makes the canvas of the next step, and decides whether this was the last."""
        pinned, ids = self._pinned, self._pin_ids
        # a product, so that a NaN is still seen
        entropy = torch.where(pinned, outcome.entropy * 0.0, outcome.entropy)
        accepted = accept(torch.where(pinned, math.inf, outcome.entropy), self._bounds[0])
        canvas = torch.where(pinned, ids, torch.where(accepted, outcome.sample, noise))
        draft = torch.where(pinned, ids, outcome.argmax)
        streak = torch.where(draft == self._draft, self._streak + 1, 0)
        converged = self._is_met(streak, entropy)
        failed = ~entropy.isfinite().all().view(1)
        flags = accepted.int() * _ACCEPTED + pinned.int() * _PINNED
        planes = (draft.int(), canvas.int(), entropy.view(torch.int32), flags, converged.int(), failed.int())
        torch.cat(planes, out=self.record)

        running = ~self._stopped
        for buffer, value in (
            (self._canvas, canvas),
            (self._draft, draft),
            (self._streak, streak),
            (self._was_pinned, pinned),
            (self._was_ids, ids),
            (self._step, self._step + 1),
            (self._stopped, converged | failed),
        ):
            buffer.copy_(torch.where(running, value, buffer))

    def _is_met(self, streak: Tensor, entropy: Tensor) -> Tensor:
        """The `StoppingRule`, bool [1]: its last drafts equal this one where each position has stood still so long."""
        free = ~self._pinned
        still = (self._pinned | (streak >= self._stability)).all()
        mean = torch.where(free, entropy, 0.0).sum() / free.sum()
        sure = (mean < self._bounds[1]) | self._pinned.all()
        return (self._step >= self._stability) & still & sure


@lru_cache(maxsize=4)
def _ramp(sampling: ResolvedSampling) -> list[float]:
    """`MOST_STEPS` temperatures."""
    ramp = [temperature_at(step, sampling) for step in range(1, sampling.max_denoising_steps + 1)]
    return ramp + ramp[-1:] * (MOST_STEPS - len(ramp))


def _upload(buffer: Tensor, values: list[float] | list[int] | list[bool]) -> None:
    """Puts numbers of the host into a buffer, without waiting for what the device still has to do."""
    on_gpu = buffer.device.type == "cuda"
    buffer.copy_(torch.tensor(values, dtype=buffer.dtype, pin_memory=on_gpu), non_blocking=True)
