"""What an engine shows of its work, told as events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dgengine.events import Block, Done, Prefill, Reason, Step
from dgengine.sampler import StoppingRule, temperature_at
from dgengine.sampling import ResolvedSampling
from dgengine.stats import Recorder


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One denoising step, as far as an engine shows it.

    Attributes:
        draft: int32 [C], the most probable token at each position.
        entropy: float32 [C], in nats, at the step's temperature.
        accepted: bool [C].
        top_ids: int32 [C, K], most probable first; None when not traced.
        top_probs: float32 [C, K]; None when not traced.
    """

    draft: NDArray[np.int32]
    entropy: NDArray[np.float32]
    accepted: NDArray[np.bool_]
    top_ids: NDArray[np.int32] | None = None
    top_probs: NDArray[np.float32] | None = None


class Narration:
    """The events of one answer, made in the order in which its engine reports.

    Attributes:
        committed: the token ids of the canvases that are finished, whole.
        recorder: counts and times.
    """

    def __init__(self, prompt_length: int, sampling: ResolvedSampling, eos: frozenset[int], recorder: Recorder) -> None:
        self.committed: list[int] = []
        self.recorder = recorder
        self._prompt_length = prompt_length
        self._sampling = sampling
        self._eos = np.array(sorted(eos), dtype=np.int64)
        self._number = 1
        self._ended = False
        self._begin()

    @property
    def block_number(self) -> int:
        """The number of the block that is being denoised, from 1."""
        return self._number

    def _begin(self) -> None:
        self._steps = 0
        self._converged = False
        self._draft = np.empty(0, dtype=np.int32)
        self._rule = StoppingRule(self._sampling)

    def prefill(self, reused: int, done: bool) -> Prefill:
        """The beginning, or the end, of the encoder's pass over the prompt, whose first `reused` ids are held."""
        total = self._prompt_length - reused
        self.recorder.reused = reused
        self.recorder.encoded = total if done else 0
        return Prefill(total if done else 0, total, reused)

    def encoded(self, tokens: int, seconds: float) -> None:
        """A finished canvas of `tokens` was encoded, in `seconds`."""
        self.recorder.encoded += tokens
        self.recorder.add_seconds(seconds)

    def step(self, view: View, seconds: float) -> Step:
        """One more step of the block. What the canvas holds afterwards is not shown by these engines: the draft
        stands for it."""
        self._steps += 1
        self.recorder.add_step(self._number, seconds)
        self._draft = view.draft
        nothing = np.zeros(view.draft.shape, dtype=np.bool_)
        self._converged = self._rule.met(view.draft, view.entropy, ~nothing)
        return Step(
            block=self._number,
            step=self._steps,
            temperature=temperature_at(self._steps, self._sampling),
            seconds=seconds,
            draft=view.draft,
            canvas=view.draft,
            entropy=view.entropy,
            accepted=view.accepted,
            pinned=nothing,
            top_ids=view.top_ids,
            top_probs=view.top_probs,
        )

    def block(self) -> Block:
        """The end of the block: its last draft is committed."""
        ends = np.flatnonzero(np.isin(self._draft, self._eos))
        tokens = self._draft[: ends[0] + 1] if ends.size else self._draft
        self._ended = bool(ends.size)
        self.committed += self._draft.tolist()
        self.recorder.tokens[self._number] = len(tokens)
        converged = self._converged or self._steps < self._sampling.max_denoising_steps
        finished = Block(self._number, tokens, self._steps, converged)
        self._number += 1
        self._begin()
        return finished

    def done(self, cancelled: bool) -> Done:
        """The end of the answer."""
        reason: Reason = "cancelled" if cancelled else "eos" if self._ended else "length"
        return Done(reason, self.recorder.stats())
