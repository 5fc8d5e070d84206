"""One denoising step on logits: temperature, statistics, draw, acceptance, fresh noise, pins, and when to
stop.

The rule is the reference's entropy bound (`generation_diffusion_gemma.py` of transformers). C is the canvas
length, V the vocabulary's size, K the alternatives traced. Nothing here knows the model: logits come in, a
`Draft` goes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgengine.counter import Draws, draws
from dgengine.errors import NumericsError
from dgengine.sampling import ResolvedSampling
from dgkernels.outcome import Outcome, Softmax

_GROUP = 64  # vocabulary entries per partial sum of the inverse-CDF draw
# Logits further below the row's peak than this are raised to it: their probability, e^-80, is nothing
# beside float32's rounding, and exponentials below e^-87 are denormal, which makes exp and softmax 10 to 80
# times slower on a CPU.
_FLOOR = 80.0
_BELOW_ONE = 1.0 - 2.0**-53


class Statistics(NamedTuple):
    """What one pass over the processed logits gives.

    Attributes:
        argmax: int64 [C].
        sample: int64 [C], one draw of each position's softmax.
        entropy: float32 [C], nats.
    """

    argmax: Tensor
    sample: Tensor
    entropy: Tensor


Look: TypeAlias = Callable[[Tensor, float, Tensor], Outcome]
"""What logits float32 [C, V] say over a temperature, by which they are divided in place, and a draw at uniforms
float64 [C], from 0 to below 1."""


class Draft(NamedTuple):
    """The outcome of one step, on the host. The fields are those of `events.Step`."""

    temperature: float
    draft: NDArray[np.int32]
    canvas: NDArray[np.int32]
    entropy: NDArray[np.float32]
    accepted: NDArray[np.bool_]
    pinned: NDArray[np.bool_]
    top_ids: NDArray[np.int32] | None
    top_probs: NDArray[np.float32] | None


@lru_cache(maxsize=1024)
def temperature_at(step: int, sampling: ResolvedSampling) -> float:
    """The temperature of a step counted from 1; steps beyond the limit keep the last one.

    The reference counts the steps that remain, N to 1, so that the ramp ends one notch above t_min. It
    reckons in
    float32, and so does this: float64 would differ in the last bit, and with it a token now and then.
    """
    limit = sampling.max_denoising_steps
    remaining = torch.tensor(max(limit - step + 1, 1), dtype=torch.int32)
    ramp = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / limit)
    return float(ramp)


def _statistics_of(outcome: Outcome) -> Statistics:
    return Statistics(outcome.argmax, outcome.sample, outcome.entropy)


def fast_statistics(logits: Tensor, generator: torch.Generator) -> Statistics:
    """Argmax, entropy and a sample of each row from one softmax pass.

    The draw inverts the distribution function at one uniform number per position, through partial sums,
    instead of making V exponential variates as `torch.multinomial` does; it follows the same distribution.
    A row with NaN or infinity in it has a NaN entropy.

    Args:
        logits: float32 [C, V], processed; raised to 80 below the peak where they are lower.
        generator: on the device of the logits.
    """
    peak, argmax = logits.max(dim=-1, keepdim=True)
    lowest = logits.amin(-1)
    torch.maximum(logits, peak - _FLOOR, out=logits)
    shifted = logits - peak
    weights = shifted.exp()  # [C, V], unnormalised
    group = math.gcd(weights.shape[-1], _GROUP)
    partial = weights.view(weights.shape[0], -1, group).sum(-1)  # [C, V / group]
    total = partial.sum(-1)
    entropy = total.log() - shifted.mul_(weights).sum(-1) / total
    entropy.add_(lowest, alpha=0.0)  # minus infinity, which the floor hid, becomes NaN here
    return Statistics(argmax.squeeze(-1), _invert(weights, partial, group, generator), entropy)


def _invert(weights: Tensor, partial: Tensor, group: int, generator: torch.Generator) -> Tensor:
    """One draw per row of unnormalised `weights` [C, V]; `partial` are its sums over groups of `group`."""
    rows = weights.shape[0]
    uniform = _uniforms(weights, generator).unsqueeze(1)
    running = partial.cumsum(-1, dtype=torch.float64)
    target = uniform * running[:, -1:]
    chosen = _search(running, target)  # [C, 1]
    inside = weights.view(rows, -1, group).gather(1, chosen.unsqueeze(-1).expand(-1, -1, group)).squeeze(1)
    before = running.gather(1, chosen) - partial.gather(1, chosen)
    place = _search(inside.cumsum(-1, dtype=torch.float64), (target - before).clamp_(min=0.0))
    return (chosen * group + place).squeeze(-1)


def _uniforms(like: Tensor, generator: torch.Generator) -> Tensor:
    """float64 [C], from 0 to below 1: one for each row of `like`."""
    return torch.rand(like.shape[0], dtype=torch.float64, device=like.device, generator=generator)


def _search(running: Tensor, target: Tensor) -> Tensor:
    """Where `target` [C, 1] falls among each row of the running sums [C, n].

    An entry of weight 0 is never chosen: the search is for the first running sum *above* the target, and the target is
    below the last one.
    """
    below_last = torch.minimum(target, running[:, -1:] * _BELOW_ONE)
    return torch.searchsorted(running, below_last, right=True).clamp_(max=running.shape[-1] - 1)  # for NaN


def reference_statistics(logits: Tensor, generator: torch.Generator) -> Statistics:
    """The same with the operations, and the random numbers, of transformers: `multinomial` over [C, V].

    Raises:
        NumericsError: NaN or infinity in the logits.
    """
    if not bool(torch.isfinite(logits).all()):
        raise NumericsError("The logits hold NaN or infinity.")
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
    sample = torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(-1)
    return Statistics(logits.argmax(dim=-1), sample, reference_entropy(logits))


def reference_entropy(logits: Tensor) -> Tensor:
    """Entropy float32 [C], in nats, of logits [C, V], with the operations of torch.distributions.Categorical."""
    normalised = logits - logits.logsumexp(dim=-1, keepdim=True)
    return -(normalised * torch.softmax(normalised, dim=-1)).sum(-1)


def accept(entropy: Tensor, bound: float | Tensor) -> Tensor:
    """Which positions to accept: the surest ones, as long as the entropy of those surer still is within
    `bound`.

    Args:
        entropy: float32 [C]; infinity at positions that take no part (pinned ones), which are never
            accepted.
        bound: nats; a number, or a float32 scalar on the device.

    Returns:
        bool [C].
    """
    ordered, order = torch.sort(entropy)
    chosen = ordered.cumsum(-1) - ordered <= bound  # infinity - infinity is NaN, and NaN <= bound is False
    return torch.zeros_like(chosen).scatter(-1, order, chosen)


def with_pins(draft: NDArray[np.int32], pins: Mapping[int, int]) -> NDArray[np.int32]:
    """A copy of a draft int32 [C] with `pins`, token id by position, put in."""
    pinned = draft.copy()
    pinned[list(pins.keys())] = list(pins.values())
    return pinned


class StoppingRule:
    """When a canvas is finished: its draft has stood still, and the model is sure of it. One for each canvas."""

    def __init__(self, sampling: ResolvedSampling) -> None:
        """Takes `stability_threshold` and `confidence_threshold` of `sampling`."""
        self._sampling = sampling
        self._history: list[NDArray[np.int32]] = []

    def met(self, draft: NDArray[np.int32], entropy: NDArray[np.float32], free: NDArray[np.bool_]) -> bool:
        """Whether it holds after one more step: over the positions that are `free` (bool [C]) alone.

        Args:
            draft: int32 [C], the argmax canvas of the step.
            entropy: float32 [C], in nats.
            free: bool [C], those that are not pinned.
        """
        needed = self._sampling.stability_threshold
        same = all(np.array_equal(old[free], draft[free]) for old in self._history)
        stable = len(self._history) == needed and same
        self._history = [*self._history, draft][-needed:] if needed else []
        if not free.any():
            return stable
        mean = torch.from_numpy(entropy[free]).mean()  # torch's own summation, as the reference's
        return stable and bool(mean < self._sampling.confidence_threshold)


class BlockSampler:
    """The denoising of one canvas: holds what passes from step to step.

    Attributes:
        canvas: int64 [C], what the next `decode` reads.
        self_conditioning: what the next pass reads: float32 [C, V] after `step` without a `Look`, else the softmax;
            None before the first step.
        steps: steps taken.
        converged: whether the last step met the stopping rule.
        draft: int32 [C] on the host, the argmax canvas of the last step: what is committed.
    """

    def __init__(
        self,
        sampling: ResolvedSampling,
        canvas_length: int,
        vocab_size: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        key: int = 0,
    ) -> None:
        """Draws the first canvas.

        Args:
            generator: its device is where the canvas lives; its state carries on from block to block.
            dtype: that of the weights. The processed logits are rounded to it before they are handed on;
                what a `Look` gives is not.
            key: where the random numbers of steps by kernels begin, of `counter.key_of`: these steps have them by
                counting, and not of the generator, so that they are the same where a graph runs ahead.
        """
        self.key = key
        self._sampling = sampling
        self._vocab_size = vocab_size
        self._generator = generator
        self._dtype = dtype
        self._pins: Mapping[int, int] = {}
        self._pin_at = self._pin_ids = torch.empty(0, dtype=torch.int64, device=generator.device)
        self._rule = StoppingRule(sampling)
        self.canvas = self._noise(canvas_length)
        self.self_conditioning: Tensor | Softmax | None = None
        self.steps = 0
        self.converged = False
        self.draft: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    @torch.inference_mode()
    def pin(self, pins: Mapping[int, int]) -> None:
        """Sets the pins (token id by position) from the coming step on; replaces all earlier ones."""
        if pins == self._pins:
            return
        device = self.canvas.device
        self._pins = dict(pins)
        self._pin_at = torch.tensor(list(pins.keys()), dtype=torch.int64, device=device)
        self._pin_ids = torch.tensor(list(pins.values()), dtype=torch.int64, device=device)
        self._hold()

    def pinned_draft(self, pins: Mapping[int, int]) -> NDArray[np.int32]:
        """The draft with `pins` put in: those set since the last step are not in it yet."""
        return with_pins(self.draft, pins)

    @torch.inference_mode()
    def step(self, logits: Tensor, look: Look | None = None) -> Draft:
        """Takes one step.

        Args:
            logits: float32 [C, V] from `model.decode`, softcapped; overwritten.
            look: takes the place of `fast_statistics`; None for that.

        Raises:
            NumericsError: NaN or infinity in the logits.
        """
        temperature = self.temperature
        self.steps += 1
        if look is not None and not self._sampling.reference:
            outcome = look(logits, temperature, _uniforms(logits, self._generator))
            statistics = _statistics_of(outcome)
            conditioning: Tensor | Softmax = outcome.softmax
        else:
            logits.div_(temperature)
            measure = reference_statistics if self._sampling.reference else fast_statistics
            statistics = measure(logits, self._generator)
            conditioning = logits if self._dtype == torch.float32 else logits.to(self._dtype).float()
        noise = self._noise(logits.shape[0])
        return self._settle(temperature, statistics, noise, conditioning, self._alternatives(logits))

    @property
    def temperature(self) -> float:
        """That of the next step."""
        return temperature_at(self.steps + 1, self._sampling)

    @property
    def wants_logits(self) -> bool:
        """Whether a step looks at more of the logits than an `Outcome` tells."""
        return self._sampling.reference or self._sampling.trace_top_k > 0

    @property
    def sampling(self) -> ResolvedSampling:
        """How it draws."""
        return self._sampling

    def uniforms(self) -> Tensor:
        """The randomness of the next step's draw where kernels make it: float32 [C, 2]."""
        return self._counted(self.steps).uniforms

    def _counted(self, step: int) -> Draws:
        key, place = (torch.full((1,), value, device=self.canvas.device) for value in (self.key, step))
        return draws(key, place, self.canvas.shape[0], self._vocab_size)

    @torch.inference_mode()
    def take(self, outcome: Outcome) -> Draft:
        """Takes one step whose logits kernels have looked at, at `temperature` and with `uniforms`.

        Raises:
            NumericsError: NaN or infinity in the logits.
        """
        temperature = self.temperature
        self.steps += 1
        noise = self._counted(self.steps - 1).noise
        return self._settle(temperature, _statistics_of(outcome), noise, outcome.softmax, None)

    def _settle(
        self,
        temperature: float,
        statistics: Statistics,
        noise: Tensor,
        conditioning: Tensor | Softmax,
        top: tuple[NDArray[np.int32], NDArray[np.float32]] | None,
    ) -> Draft:
        """Accepts, and makes the canvas of the next step."""
        entropy, accepted = self._accept(statistics.entropy)
        self.canvas = torch.where(accepted, statistics.sample, noise)
        argmax = statistics.argmax
        self.self_conditioning = conditioning
        if self._pins:
            argmax = argmax.index_copy(0, self._pin_at, self._pin_ids)
            self._hold()
        return self._report(temperature, argmax, entropy, accepted, top)

    def _noise(self, length: int) -> Tensor:
        return torch.randint(0, self._vocab_size, (length,), device=self._generator.device, generator=self._generator)

    def _accept(self, entropy: Tensor) -> tuple[Tensor, Tensor]:
        """Entropy with 0 at pins, and the accepted positions, pins excepted."""
        if not self._pins:
            return entropy, accept(entropy, self._sampling.entropy_bound)
        apart = entropy.index_fill(0, self._pin_at, math.inf)
        # A NaN anywhere must still be seen, so a pin's entropy is zeroed by a product and not overwritten.
        shown = entropy.index_copy(0, self._pin_at, entropy[self._pin_at] * 0.0)
        return shown, accept(apart, self._sampling.entropy_bound)

    def _hold(self) -> None:
        """Puts the pins on the canvas, and makes the self-conditioning one-hot there."""
        self.canvas = self.canvas.index_copy(0, self._pin_at, self._pin_ids)
        if self.self_conditioning is None or not self._pins:
            return
        if isinstance(self.self_conditioning, Softmax):
            self.self_conditioning.set(self._pin_at, self._pin_ids)
        else:
            self.self_conditioning[self._pin_at] = -math.inf
            self.self_conditioning[self._pin_at, self._pin_ids] = 0.0

    def _alternatives(self, logits: Tensor) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
        count = min(self._sampling.trace_top_k, self._vocab_size)
        if count == 0:
            return None
        values, ids = logits.topk(count, dim=-1)  # [C, K]
        probabilities = (values - logits.logsumexp(-1, keepdim=True)).exp()
        packed = torch.stack((ids.int(), probabilities.view(torch.int32))).cpu().numpy()
        return packed[0], packed[1].view(np.float32)

    def _report(
        self,
        temperature: float,
        argmax: Tensor,
        entropy: Tensor,
        accepted: Tensor,
        top: tuple[NDArray[np.int32], NDArray[np.float32]] | None,
    ) -> Draft:
        """One small copy to the host; then the stopping rule, there."""
        planes = (argmax.int(), self.canvas.int(), entropy.float().view(torch.int32), accepted.int())
        draft, canvas, bits, chosen = torch.stack(planes).cpu().numpy()  # each int32 [C]
        entropies = bits.view(np.float32)
        if not np.isfinite(entropies).all():
            raise NumericsError("The logits hold NaN or infinity.")
        pinned = np.zeros(draft.shape, dtype=np.bool_)
        if self._pins:
            pinned[list(self._pins)] = True
        self.converged = self._rule.met(draft, entropies, ~pinned)
        self.draft = draft
        ids, probabilities = top if top is not None else (None, None)
        return Draft(temperature, draft, canvas, entropies, chosen.astype(np.bool_), pinned, ids, probabilities)
