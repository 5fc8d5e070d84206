"""One conversation with transformers' `generate`, whose streamer's calls become events."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer

from dgbackends.inversion import Emit, generated
from dgbackends.local import LocalSession
from dgbackends.narration import Narration, View
from dgengine.control import Control
from dgengine.errors import SamplingError, not_finite
from dgengine.events import Event
from dgengine.sampler import accept, reference_entropy
from dgengine.sampling import ResolvedSampling

if TYPE_CHECKING:
    from dgbackends.transformers.backend import TransformersBackend

_drawing = threading.Lock()  # transformers draws from torch's global random numbers: one answer at a time


class _Cancelled(Exception):
    """Raised from the streamer, to stop `generate`."""


class TransformersSession(LocalSession):
    """One conversation. Make one with `TransformersBackend.session`."""

    def __init__(self, backend: TransformersBackend) -> None:
        """Makes an empty session."""
        super().__init__(backend)
        self._model = backend.model
        self._device = backend.device

    def _check_wishes(self, sampling: ResolvedSampling, control: Control) -> None:
        super()._check_wishes(sampling, control)
        if sampling.t_max <= sampling.t_min:
            raise SamplingError(
                f"transformers needs t_max above t_min, and both are {sampling.t_max}: raise t_max or lower t_min."
            )

    def _answer(
        self, prompt: list[int], sampling: ResolvedSampling, control: Control, narration: Narration
    ) -> Generator[Event, None, bool]:
        reused = self._reused(prompt)
        yield narration.prefill(reused, done=False)
        if control.orders(1).cancelled:
            return True
        if self._cache is None:
            self._cache = DynamicCache(config=self._model.config.get_text_config(decoder=True))
        try:
            yield from generated(partial(self._run, prompt[reused:], reused, sampling, control, narration))
        except _Cancelled:
            return True
        finally:
            self._held = [*prompt, *narration.committed][: self._cache.get_seq_length()] if self._cache else []
        return False

    def _run(
        self,
        new: list[int],
        reused: int,
        sampling: ResolvedSampling,
        control: Control,
        narration: Narration,
        emit: Emit[Event],
    ) -> None:
        """Calls `generate`, and emits events from within; stops with `_Cancelled`."""
        turns = _Turns(sampling.seed, emit)
        witness = _Witness(sampling)
        streamer = _Streamer(turns, witness, control, narration)
        ids = torch.tensor([new], dtype=torch.int64, device=self._device)
        watched = self._model.model.encoder.register_forward_hook(
            lambda *_: streamer.encoded(reused, self._model.config.canvas_length)
        )
        try:
            with turns:
                self._model.generate(
                    ids,
                    streamer=streamer,
                    generation_config=_generation_config(sampling),
                    logits_processor=LogitsProcessorList([witness]),
                    **{_cache_argument(self._model): self._cache},
                )
        finally:
            watched.remove()


class _Turns:
    """Torch's global random numbers, as they stand after `manual_seed`, while `generate` has the turn.

    At each hand-over they change places with everybody else's, so that an answer is what its seed says whatever runs
    between its steps, and what runs there does not notice the answer.

    Attributes:
        seconds: how long `generate` has had the turn.
    """

    def __init__(self, seed: int, emit: Emit[Event]) -> None:
        self._emit = emit
        self._seed = seed
        self._others: list[Tensor] = []
        self._start = 0.0

    def __enter__(self) -> None:
        _drawing.acquire()
        self._others = _random_state()
        torch.manual_seed(self._seed)
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        _set_random_state(self._others)
        _drawing.release()

    @property
    def seconds(self) -> float:
        """Since the turn was last taken up, or since `lap`."""
        return time.perf_counter() - self._start

    def lap(self) -> None:
        """Begins to count anew."""
        self._start = time.perf_counter()

    def hand_over(self, event: Event, control: Control, block: int) -> None:
        """Emits, and waits until the next event is asked for, and no pause holds it.

        Raises:
            _Cancelled: it was cancelled meanwhile.
        """
        ours = _random_state()
        self.__exit__()
        try:
            self._emit(event)
            cancelled = control.orders(block).cancelled
        finally:
            _drawing.acquire()
            self._others = _random_state()
            _set_random_state(ours)
            self._start = time.perf_counter()
        if cancelled:
            raise _Cancelled


class _Witness(LogitsProcessor):
    """Looks at each step's logits, which the streamer is not shown, and lets them pass unchanged.

    Entropy and accepted positions follow from the logits alone, by the rule and with the operations of the reference.
    """

    def __init__(self, sampling: ResolvedSampling) -> None:
        self._sampling = sampling
        self._seen: tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None] | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, cur_step: Tensor) -> Tensor:
        """Notes what follows from `scores` float32 [1, C, V], before temperature, with `cur_step` steps remaining.

        Raises:
            NumericsError: NaN or infinity in them.
        """
        asked = self._sampling
        temperature = asked.t_min + (asked.t_max - asked.t_min) * (cur_step / asked.max_denoising_steps)
        logits = scores[0] / temperature
        if not bool(torch.isfinite(logits).all()):
            raise not_finite()
        entropy = reference_entropy(logits)
        top = None
        if asked.trace_top_k:
            values, ids = logits.topk(min(asked.trace_top_k, logits.shape[-1]), dim=-1)
            top = (ids, (values - logits.logsumexp(-1, keepdim=True)).exp())
        self._seen = (entropy, accept(entropy, asked.entropy_bound), top)
        return scores

    def view(self, draft: Tensor) -> View:
        """The step that was seen last, whose argmax canvas is `draft` int64 [C]."""
        assert self._seen is not None, "the logits of a step come before its draft"
        entropy, accepted, top = self._seen
        return View(
            draft=draft.int().cpu().numpy(),
            entropy=entropy.float().cpu().numpy(),
            accepted=accepted.cpu().numpy(),
            top_ids=None if top is None else top[0].int().cpu().numpy(),
            top_probs=None if top is None else top[1].float().cpu().numpy(),
        )


class _Streamer(BaseStreamer):
    """Tells what `generate` hands it. Every method raises `_Cancelled` once the answer is cancelled."""

    def __init__(self, turns: _Turns, witness: _Witness, control: Control, narration: Narration) -> None:
        self._turns = turns
        self._witness = witness
        self._control = control
        self._narration = narration
        self._prompt_given = False
        self._prompt_read = False

    def encoded(self, reused: int, canvas_length: int) -> None:
        """The encoder has run: over the prompt first, then over each canvas that another one follows."""
        if self._prompt_read:
            self._narration.encoded(canvas_length, self._turns.seconds)
            self._turns.lap()
            return
        self._prompt_read = True
        self._narration.recorder.add_seconds(self._turns.seconds)
        self._hand_over(self._narration.prefill(reused, done=True))

    def put_draft(self, value: Tensor) -> None:
        """A denoising step was taken, `value` int64 [1, C] being its argmax canvas."""
        view = self._witness.view(value[0])
        self._hand_over(self._narration.step(view, self._turns.seconds))

    def put(self, value: Tensor) -> None:
        """The prompt comes first, then each canvas that is finished."""
        if self._prompt_given:
            self._hand_over(self._narration.block())
        self._prompt_given = True

    def end(self) -> None:
        """The answer is complete."""

    def _hand_over(self, event: Event) -> None:
        self._turns.hand_over(event, self._control, self._narration.block_number)


def _generation_config(sampling: ResolvedSampling) -> Any:
    """`sampling` in the words of transformers; what it does not name is the checkpoint's."""
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
        DiffusionGemmaGenerationConfig,
        EntropyBoundSamplerConfig,
    )

    return DiffusionGemmaGenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        max_denoising_steps=sampling.max_denoising_steps,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=float(sampling.entropy_bound)),
        t_min=float(sampling.t_min),
        t_max=float(sampling.t_max),
        stability_threshold=sampling.stability_threshold,
        confidence_threshold=float(sampling.confidence_threshold),
    )


def _cache_argument(model: Any) -> str:
    """What `generate` calls its cache: the name changed between releases."""
    return "cache" if "cache" in inspect.signature(model.generate).parameters else "past_key_values"


def _random_state() -> list[Tensor]:
    """Torch's global random numbers: the host's, then each GPU's."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def _set_random_state(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state_all(state[1:])
