"""One conversation with mlx-vlm, whose results become events."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dgbackends.local import LocalSession
from dgbackends.mlx import loading
from dgbackends.narration import Narration, View
from dgengine.control import Control
from dgengine.errors import NumericsError
from dgengine.events import Done, Event
from dgengine.sampler import temperature_at
from dgengine.sampling import ResolvedSampling

if TYPE_CHECKING:
    from dgbackends.mlx.backend import MlxBackend

_PREFILL = 2048  # prompt tokens per pass of the encoder: bounds its memory


class MlxSession(LocalSession):
    """One conversation. Make one with `MlxBackend.session`."""

    def __init__(self, backend: MlxBackend) -> None:
        """Makes an empty session."""
        super().__init__(backend)
        self._model = backend.model
        self._mx = loading.core()

    def _is_exhausted(self, error: BaseException) -> bool:
        return loading.is_exhausted(error)

    def _measured(self, done: Done) -> Done:
        """With MLX's own peak of memory in the place of torch's."""
        return dataclasses.replace(
            done, stats=dataclasses.replace(done.stats, peak_memory_bytes=int(self._mx.get_peak_memory()))
        )

    def _answer(
        self, prompt: list[int], sampling: ResolvedSampling, control: Control, narration: Narration
    ) -> Generator[Event, None, bool]:
        reused = self._reused(prompt)
        yield narration.prefill(reused, done=False)
        if control.orders(1).cancelled:
            return True
        if self._cache is None:
            self._cache = self._model.make_cache()
        watched = _Watched(self._model, self._cache, sampling)
        self._mx.reset_peak_memory()
        try:
            with closing(self._results(watched, prompt[reused:], sampling)) as results:
                for event in self._events_of(results, watched, reused, sampling, narration):
                    yield event
                    if control.orders(narration.block_number).cancelled:
                        return True
        finally:
            # a plain count of tokens: every layer holds, or has passed, as many
            read = int(self._cache[0].offset) if self._cache else 0
            self._held = [*prompt, *narration.committed][:read]
        return False

    def _results(
        self, watched: _Watched, new: Sequence[int], sampling: ResolvedSampling
    ) -> Generator[tuple[Any, float], None, None]:
        """mlx-vlm's results, each with the seconds that it took; drawn from this answer's random numbers only."""
        words = _Words(self._backend.eos_ids)
        canvas = self._backend.info.canvas_length
        stream = loading.streamer()(
            watched, words, words, self._mx.array([list(new)]), None, None,
            max_tokens=sampling.blocks(canvas) * canvas,  # whole canvases, as the reference
            skip_special_token_ids=[],
            temperature=1.0,  # on top of the ramp
            max_denoising_steps=sampling.max_denoising_steps,
            diffusion_full_canvas=True,
            diffusion_sampler="entropy-bound",
            diffusion_show_unmasking=True,
            prefill_step_size=_PREFILL,
        )  # fmt: skip
        draws = _Draws(self._mx, sampling.seed)
        with closing(stream):
            while True:
                start = time.perf_counter()
                with draws:
                    result = next(stream, None)
                if result is None:
                    return
                yield result, time.perf_counter() - start

    def _events_of(
        self,
        results: Iterator[tuple[Any, float]],
        watched: _Watched,
        reused: int,
        sampling: ResolvedSampling,
        narration: Narration,
    ) -> Iterator[Event]:
        """What results tell: a draft 0 follows the encoder's pass, then come the steps, then the canvas's end."""
        canvas = self._backend.info.canvas_length
        spent = 0.0
        for result, seconds in results:
            spent += seconds
            if result.diffusion_block_complete:
                narration.recorder.add_seconds(spent)
                yield narration.block()
            elif not result.is_draft:
                continue  # the tokens of the canvas, one by one, and the end
            elif result.diffusion_step > 0:
                start = time.perf_counter()
                view = watched.view(temperature_at(result.diffusion_step, sampling))
                yield narration.step(view, spent + time.perf_counter() - start)
            elif result.diffusion_canvas_index == 1:
                narration.recorder.add_seconds(spent)
                yield narration.prefill(reused, done=True)
            else:
                narration.encoded(canvas, spent)
            spent = 0.0


@dataclass(slots=True)
class _Draws:
    """MLX's global random numbers, as they stand after `seed`, while an answer is at work; they are one key, which a
    seed of both its halves sets."""

    mx: Any
    state: int

    def __enter__(self) -> None:
        others = self._current()
        self.mx.random.seed(self.state)
        self.state = others

    def __exit__(self, *_: object) -> None:
        self.__enter__()  # change places again

    def _current(self) -> int:
        high, low = (int(half) for half in self.mx.random.state[0].tolist())
        return high << 32 | low


class _Words:
    """Stands for mlx-vlm's tokenizer and processor: texts are made elsewhere, only what ends an answer matters."""

    last_segment = ""

    def __init__(self, eos: frozenset[int]) -> None:
        self._eos = eos
        self.detokenizer = self
        self.stopping_criteria = self

    def __call__(self, token: int) -> bool:
        """Whether `token` ends an answer."""
        return token in self._eos

    def add_eos_token_ids(self, _: object) -> None:
        """Does nothing: they are known."""

    def decode(self, *_: object, **__: object) -> str:
        """No text."""
        return ""

    def reset(self) -> None:
        """Does nothing."""

    def add_token(self, *_: object, **__: object) -> None:
        """Does nothing."""

    def finalize(self) -> None:
        """Does nothing."""


class _Watched:
    """A model of mlx-vlm whose logits are looked at as they pass, with a cache and settings of this answer.

    mlx-vlm tells a draft as text, with the tokens that are not accepted left out; the logits have all of it.
    """

    def __init__(self, model: Any, cache: Any, sampling: ResolvedSampling) -> None:
        self._model = model
        self._cache = cache
        self._sampling = sampling
        self._logits: Any = None
        self._mx = loading.core()
        self.config = SimpleNamespace(**{**_fields(model.config), "generation_config": _generation_config(sampling)})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def make_cache(self, max_size: int | None = None) -> Any:
        """The cache of the conversation."""
        return self._cache

    def diffusion_decoder_logits(self, *args: Any, **options: Any) -> Any:
        """The model's, which are kept for `view`."""
        self._logits = self._model.diffusion_decoder_logits(*args, **options)
        return self._logits

    def view(self, temperature: float) -> View:
        """The step whose logits, float32 [1, C, V] and before temperature, were seen last.

        Raises:
            NumericsError: NaN or infinity in them.
        """
        mx = self._mx
        logits = self._logits[0].astype(mx.float32) / temperature
        self._logits = None  # a quarter of a gigabyte at full size
        shifted = logits - mx.max(logits, axis=-1, keepdims=True)
        weights = mx.exp(shifted)
        total = mx.sum(weights, axis=-1)
        entropy = mx.log(total) - mx.sum(weights * shifted, axis=-1) / total
        order = mx.argsort(entropy, axis=-1)
        ordered = mx.take_along_axis(entropy, order, axis=-1)
        taken = mx.cumsum(ordered, axis=-1) - ordered <= self._sampling.entropy_bound
        top = self._top(weights / total[:, None])
        nats = np.array(entropy).astype(np.float32)
        if not np.isfinite(nats).all():
            raise NumericsError("The model gave NaN or infinity: the weights may be damaged, or overflow as stored.")
        accepted = np.zeros(nats.shape, dtype=np.bool_)
        accepted[np.array(order).astype(np.int64)[np.array(taken)]] = True
        return View(np.array(mx.argmax(logits, axis=-1)).astype(np.int32), nats, accepted, *top)

    def _top(self, probabilities: Any) -> tuple[NDArray[np.int32], NDArray[np.float32]] | tuple[None, None]:
        count = min(self._sampling.trace_top_k, probabilities.shape[-1])
        if not count:
            return None, None
        mx = self._mx
        ids = mx.argpartition(-probabilities, count - 1, axis=-1)[:, :count]
        chances = np.array(mx.take_along_axis(probabilities, ids, axis=-1)).astype(np.float32)
        order = np.argsort(-chances, axis=-1, kind="stable")
        named = np.array(ids).astype(np.int32)
        return np.take_along_axis(named, order, axis=-1), np.take_along_axis(chances, order, axis=-1)


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _generation_config(sampling: ResolvedSampling) -> dict[str, Any]:
    """`sampling` as mlx-vlm reads it from a checkpoint's generation_config.json."""
    return {
        "t_min": sampling.t_min,
        "t_max": sampling.t_max,
        "sampler_config": {"_cls_name": "EntropyBoundSamplerConfig", "entropy_bound": sampling.entropy_bound},
        "confidence_threshold": sampling.confidence_threshold,
        "stability_threshold": sampling.stability_threshold,
    }
