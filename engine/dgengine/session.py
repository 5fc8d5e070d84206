"""One conversation: its K/V cache, and the answers that are denoised after it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgengine import counter, memory, prompts
from dgengine.answer import Answer
from dgengine.chat import EncodedChat
from dgengine.control import Control
from dgengine.errors import (
    ChatTemplateError,
    ImageError,
    InsufficientMemoryError,
    SamplingError,
)
from dgengine.events import Event
from dgengine.interfaces import Cache, Model
from dgengine.sampler import BlockSampler, Draft
from dgengine.sampling import GenerationConfig, ResolvedSampling, Sampling, eos_ids
from dgengine.stepping import EagerStepper, Stepper
from dgengine.turn import Turn
from dgengine.vision import spans
from dgengine.vision.spans import ImageSpan
from dgkernels.outcome import Softmax

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer
    from dgengine.graphs.capture import StepGraphs
    from dgengine.infill.request import InfillRequest

ReadImage: TypeAlias = Callable[[Tensor, ImageSpan, Any], None]
"""Appends the K and V of an image, whose ids int64 [T] come first, to a cache, which comes last."""

_SHORTEST = 64  # tokens per encode below which halving saves no memory worth having


class Session:
    """One conversation's K/V cache.

    `generate` is given the whole conversation each time and encodes only what comes after the longest
    prefix that the cache already holds, so that appending a turn, editing one, or branching from one all
    cost no more than what is new.
    One answer at a time: a new `generate` ends one that was left half-way.
    """

    def __init__(
        self,
        model: Model,
        generation_config: GenerationConfig | None = None,
        tokenizer: Callable[[], ChatTokenizer] | None = None,
        context: int | None = None,
        read_image: ReadImage | None = None,
        graphs: StepGraphs | None = None,
    ) -> None:
        """Makes an empty session.

        Args:
            model: see `dgengine.checkpoint.load_model`.
            generation_config: the checkpoint's generation_config.json; None for the reference's defaults,
                and no end-of-sequence id.
            tokenizer: gives the checkpoint's tokenizer; only `infill` needs it.
            context: tokens that prompt and answer may come to; None for what the model was made for.
            read_image: encodes the images of prompts; None where there are none.
            graphs: of the model's denoising steps; None where these are taken one operation at a time.
        """
        self._tokenizer = tokenizer
        self._model = model
        self._generation_config = generation_config or {}
        self._eos = np.array(sorted(eos_ids(self._generation_config)), dtype=np.int64)
        self._context = context
        self._cache: Cache = model.new_cache()
        self._held: list[int] = []
        self._images: list[ImageSpan] = []  # of what is held
        self._read_image = read_image
        self._graphs = graphs
        self._longest_pass = 2**31
        self._doing = ("starting", 0)  # and with how many tokens
        self._turn = Turn()

    @property
    def held(self) -> tuple[int, ...]:
        """The token ids whose K and V the cache holds."""
        return tuple(self._held)

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may come to."""
        longest: int = self._model.config.max_position_embeddings
        return longest if self._context is None else min(longest, self._context)

    def reset(self) -> None:
        """Forgets everything that the cache holds."""
        self._cache = self._model.new_cache()
        self._held, self._images = [], []

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Answers a conversation.

        Args:
            ids: the whole conversation so far, as token ids: from `Engine.encode_chat`, or raw.
            sampling: None for the checkpoint's own values.
            control: to steer the answer from elsewhere; one for each call.

        Returns:
            A generator of events, in the order that `dgengine.events` gives. It works only while it is
            asked for the next event. Closing it early is fine.

        Raises:
            EmptyPromptError, TokenIdError, PromptTooLongError, SamplingError, SessionBusyError: at once.
            NumericsError, InsufficientMemoryError: while it runs. The cache is emptied then, and the session can be
                used again.
        """
        resolved = (sampling or Sampling()).resolve(self._generation_config)
        prompt = self._checked(ids, resolved)
        if resolved.on_limit == "ask" and control is None:
            raise SamplingError("on_limit='ask' waits for an answer from a Control: pass one to generate.")
        control = control or Control()
        control.begin(self._model.config.canvas_length, self._model.config.vocab_size)
        run = self._surviving(Answer(self, prompt, resolved, control).events())
        self._turn.take(run)
        return run

    def infill(
        self, request: InfillRequest, sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Rewrites spans of a text in place, with the text on both sides in the prompt and pinned on the canvas.

        Several candidates are denoised side by side after one prompt. Each canvas has a number of its own, the `block`
        of its steps: `Control.pin(position, token, block)` steers that one. What the cache held of a conversation is
        given up.

        Args:
            request: see `InfillRequest`.
            sampling: None for the checkpoint's own values. `max_new_tokens` and `on_limit` have no part in it.
            control: to steer or cancel it from elsewhere; one for each call.

        Returns:
            A generator of events, in the order that `dgengine.events` gives.

        Raises:
            InfillError, ChatTemplateError, SamplingError, TokenIdError, SessionBusyError: at once.
            NumericsError, InfillError, InsufficientMemoryError: while it runs. The session can be used again.
        """
        from dgengine.infill.run import Infill

        if self._tokenizer is None:
            raise ChatTemplateError("This session has no tokenizer, so text cannot be encoded: make it by an Engine.")
        resolved = (sampling or Sampling()).resolve(self._generation_config)
        control = control or Control()
        control.begin(self._model.config.canvas_length, self._model.config.vocab_size)
        run = self._surviving(Infill(self, self._tokenizer(), request, resolved, control).events())
        self._turn.take(run)
        if self._graphs is not None:
            self._graphs.release()
        return run

    def _surviving(self, run: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """The events of `run`; where memory runs out, the session is emptied, to be used again."""
        try:
            yield from run
        except Exception as error:
            if not memory.is_exhausted(error):
                raise
            sentence = _memory_sentence(*self._doing, self._model.device)
            self._empty(error)
            raise InsufficientMemoryError(sentence) from error

    def _empty(self, error: BaseException) -> None:
        """Forgets everything, and gives back the memory that was in use when `error` came."""
        self.reset()
        memory.give_back(error, self._model.device)

    def _checked(self, ids: Sequence[int], sampling: ResolvedSampling) -> EncodedChat:
        canvas = int(self._model.config.canvas_length)
        room = sampling.blocks(canvas) * canvas
        chat = ids if isinstance(ids, EncodedChat) else EncodedChat()
        if chat.images and self._read_image is None:
            raise ImageError("This session cannot read images: make it by an Engine.")
        checked = prompts.checked(ids, self._model.config.vocab_size, self.context, room)
        return EncodedChat(checked, chat.dropped, chat.images)

    def rewind(self, ids: Sequence[int], images: Sequence[ImageSpan] = ()) -> int:
        """Rolls the cache back to the prefix that it shares with `ids`, and with the images among them.

        Returns how many tokens it holds.
        """
        shared = spans.shared(self._images, images, _common_prefix(self._held, ids))
        if shared < len(self._held):
            shared = self._cache.rollback(shared)
            del self._held[shared:]
            self._images = [image for image in self._images if image.end <= shared]
        return shared

    def encode(self, ids: Sequence[int], images: Sequence[ImageSpan] = ()) -> None:
        """Appends `ids` to what the cache holds; a failure halfway empties it, as it would be torn.

        Where memory runs out, all of it is encoded once more, in passes of half the length, as are all that follow.

        Args:
            ids: what comes next; no image begins or ends outside of them.
            images: of the whole prompt.
        """
        held, seen = self._held, self._images
        self._doing = ("reading", len(held) + len(ids))
        try:
            self._append(ids, images)
        except Exception as error:
            if not memory.is_exhausted(error):
                raise
            self._longest_pass = max(_SHORTEST, min(self._longest_pass, len(ids)) // 2)
            self._empty(error)
            self._append([*held, *ids], [*seen, *(image for image in images if image not in seen)])

    def _append(self, ids: Sequence[int], images: Sequence[ImageSpan]) -> None:
        begin = len(self._held)
        end = begin + len(ids)
        try:
            for piece in spans.pieces(begin, end, self._longest_pass, images):
                tokens = torch.tensor(
                    ids[piece.start - begin : piece.end - begin], dtype=torch.int64, device=self._model.device
                )
                with torch.inference_mode():
                    self._encode_piece(tokens, piece.image)
        except BaseException:
            self.reset()
            raise
        self._held.extend(ids)
        self._images += [image for image in images if begin <= image.start < end]

    def _encode_piece(self, tokens: Tensor, image: ImageSpan | None) -> None:
        if image is None:
            self._model.encode(tokens, self._cache)
            return
        assert self._read_image is not None  # `_checked` has looked
        self._read_image(tokens, image, self._cache)

    def stepper(self, sampling: ResolvedSampling, block: int, generator: torch.Generator) -> Stepper:
        """Draws the first canvas of a block, and gives what denoises it after what the cache holds."""
        config = self._model.config
        self._doing = ("denoising", len(self._held) + config.canvas_length)
        key = counter.key_of(sampling.seed, block)
        sampler = BlockSampler(
            sampling, config.canvas_length, config.vocab_size, generator, self._model.dtype, key
        )  # fmt: skip
        eager = EagerStepper(sampler, self.denoise)
        return eager if self._graphs is None else self._graphs.stepper(eager, self._cache)

    def denoise(self, sampler: BlockSampler) -> Draft:
        """One denoising step after what the cache holds."""
        self._doing = ("denoising", len(self._held) + sampler.canvas.shape[0])
        head, previous = self._model.kernel_head, sampler.self_conditioning
        fits = head is not None and not sampler.wants_logits and sampler.temperature >= head.lowest_temperature
        with torch.inference_mode():
            if fits and not isinstance(previous, Tensor):
                outcome = self._model.denoise(
                    sampler.canvas, self._model.frame(self._cache), previous, sampler.temperature, sampler.uniforms()
                )
                return sampler.take(outcome)
            look = self._model.look
            # the temperature falls: what was a softmax may have to become logits, which serve as well
            given = _logits_of(previous) if look is None else previous
            return sampler.step(self._model.decode(sampler.canvas, self._cache, given), look)

    def denoise_side_by_side(self, samplers: Sequence[BlockSampler]) -> Tensor:
        """Logits float32 [B, C, V] of canvases that all follow what the cache holds, all at the same step."""
        self._doing = ("denoising", len(self._held) + samplers[0].canvas.shape[0])
        conditioning = [logits for s in samplers if (logits := _logits_of(s.self_conditioning)) is not None]
        with torch.inference_mode():
            canvases = torch.stack([sampler.canvas for sampler in samplers])
            return self._model.decode(canvases, self._cache, torch.stack(conditioning) if conditioning else None)

    def score(self, ids: Sequence[int]) -> Tensor:
        """Causal log-probabilities float32 [T], on the host, of ids that follow what the cache holds."""
        self._doing = ("scoring", len(self._held) + len(ids))
        return self._model.score(torch.tensor(ids, dtype=torch.int64, device=self._model.device), self._cache).cpu()

    def cut(self, draft: NDArray[np.int32]) -> tuple[NDArray[np.int32], bool]:
        """A canvas up to and with its first end-of-sequence id, and whether there is one."""
        ends = np.flatnonzero(np.isin(draft, self._eos))
        return (draft[: ends[0] + 1], True) if ends.size else (draft, False)

    @property
    def model(self) -> Model:
        """The model that the session runs on."""
        return self._model


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    length = min(len(first), len(second))
    different = np.flatnonzero(np.asarray(first[:length]) != np.asarray(second[:length]))
    return int(different[0]) if different.size else length


def _logits_of(conditioning: Tensor | Softmax | None) -> Tensor | None:
    """Self-conditioning as `decode` takes it."""
    return conditioning.weights.float().log() if isinstance(conditioning, Softmax) else conditioning


def _memory_sentence(doing: str, tokens: int, device: torch.device) -> str:
    """What ran out of memory with how many tokens of context, and what to do."""
    what = {"reading": "reading the text", "denoising": "a denoising step", "scoring": "weighing a rewrite"}
    where, others = ("the GPU's", "programs that use the GPU") if device.type == "cuda" else ("the", "programs")
    return (
        f"In {what.get(doing, doing)} with {tokens:,} tokens {where} memory ran out: shorten the chat or the text, "
        f"close other {others}, or load the model at a smaller precision, such as nvfp4+fp8."
    )
