"""One conversation: its K/V cache, and the answers that are denoised after it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgengine import counter, memory, prompts
from dgengine.chat import EncodedChat
from dgengine.control import Control
from dgengine.errors import (
    ChatTemplateError,
    ImageError,
    InsufficientMemoryError,
    NumericsError,
    SamplingError,
)
from dgengine.events import Block, Done, Event, Notice, Prefill, Reason, Step
from dgengine.sampler import BlockSampler, Draft, with_pins
from dgengine.sampling import GenerationConfig, ResolvedSampling, Sampling, eos_ids
from dgengine.stats import Recorder
from dgengine.stepping import EagerStepper, Stepper
from dgengine.turn import Turn
from dgengine.vision import spans
from dgengine.vision.spans import ImageSpan
from dgkernels.outcome import Outcome, Softmax

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer
    from dgengine.frame import Frame
    from dgengine.graphs.capture import StepGraphs
    from dgengine.infill.request import InfillRequest
    from dgengine.kernels.vocabulary import KernelHead

ReadImage: TypeAlias = Callable[[Tensor, ImageSpan, Any], None]
"""Appends the K and V of an image, whose ids int64 [T] come first, to a cache, which comes last."""

_CHUNK = 512  # prompt tokens per encode: how often progress is reported and a cancel is heard
_SHORTEST = 64  # tokens per encode below which halving saves no memory worth having


class Cache(Protocol):
    """The K/V cache of one conversation, as `dgengine.cache` makes it."""

    @property
    def length(self) -> int:
        """Tokens held."""

    def rollback(self, length: int) -> int:
        """Forgets what lies past `length`; returns the length really kept, which may be lower."""


class Model(Protocol):
    """What a session needs of a model, as `dgengine.checkpoint.load_model` makes it."""

    @property
    def config(self) -> Any:
        """With canvas_length, vocab_size, max_position_embeddings."""

    @property
    def device(self) -> torch.device:
        """Where the weights live."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""

    @property
    def kernel_head(self) -> KernelHead | None:
        """What takes the place of the logits in `denoise`; None where there are only logits."""

    def new_cache(self) -> Any:
        """An empty cache."""

    def encode(self, ids: Tensor, cache: Any) -> None:
        """Appends the K and V of ids int64 [T]."""

    def decode(self, canvas: Tensor, cache: Any, self_conditioning: Tensor | None = None) -> Tensor:
        """Logits float32 [(B,) C, V] of a canvas int64 [(B,) C]; the cache is not changed."""

    def frame(self, cache: Any) -> Frame:
        """Where a canvas lies after what the cache holds, where there is a `kernel_head`."""

    def denoise(
        self, canvas: Tensor, frame: Frame, self_conditioning: Softmax | None, temperature: float, uniforms: Tensor
    ) -> Outcome:
        """What a step wants of the logits of a canvas int64 [C], where there is a `kernel_head`."""

    def score(self, ids: Tensor, cache: Any) -> Tensor:
        """Causal log-probabilities float32 [T] of ids int64 [T]; the cache is not changed."""


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
        run = self._surviving(_Answer(self, prompt, resolved, control).events())
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
            # the temperature falls: what was a softmax may have to become logits, which serve as well
            logits = self._model.decode(sampler.canvas, self._cache, _logits_of(previous))
            return sampler.step(logits)

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


@dataclass(slots=True)
class _Answer:
    """One call of `generate`: the block loop of the reference, as a generator."""

    session: Session
    prompt: EncodedChat
    sampling: ResolvedSampling
    control: Control

    def events(self) -> Generator[Event, None, None]:
        model = self.session.model
        recorder = Recorder(model.device, self.sampling.seed)
        generator = torch.Generator(device=model.device).manual_seed(self.sampling.seed)
        if dropped := self.prompt.dropped:
            yield Notice(prompts.dropped_text(dropped), "dropped", dropped)
        yield from self._prefill(recorder)
        reason: Reason = "length"
        pending: list[int] = []  # the canvas before, encoded only when another block really follows
        for number in range(1, self.sampling.blocks(model.config.canvas_length) + 1):
            if self.control.cancelled:
                reason = "cancelled"
                break
            self._encode(pending, recorder)
            with recorder.timed():  # a graph may have to be made
                block = _BlockRun(self, number, generator, recorder)
            yield from block.events()
            if block.ended != "committed":
                reason = "eos" if block.ended == "eos" else "cancelled"
                break
            pending = block.canvas
        yield Done(reason, recorder.stats())

    def _prefill(self, recorder: Recorder) -> Iterator[Event]:
        """Brings the cache to the prompt; stops between chunks when cancelled."""
        images, end = self.prompt.images, len(self.prompt)
        with recorder.timed():
            recorder.reused = self.session.rewind(self.prompt, images)
        new = end - recorder.reused
        # The reference encodes a prompt in one piece; other pieces round differently in the last bits.
        chunk = new if self.sampling.reference else _CHUNK
        yield Prefill(0, new, recorder.reused)
        for begin, after in spans.batches(recorder.reused, end, chunk, images):
            if self.control.orders(1).cancelled:
                return
            self._encode(self.prompt[begin:after], recorder, images)
            yield Prefill(recorder.encoded, new, recorder.reused)

    def _encode(self, ids: list[int], recorder: Recorder, images: Sequence[ImageSpan] = ()) -> None:
        if not ids:
            return
        with recorder.timed():
            self.session.encode(ids, images)
        recorder.encoded += len(ids)


class _BlockRun:
    """The denoising of one block.

    Attributes:
        ended: "committed", "eos" or "cancelled", once the events have run out.
        canvas: the whole committed canvas, as the next block must see it.
    """

    def __init__(self, answer: _Answer, number: int, generator: torch.Generator, recorder: Recorder) -> None:
        self._answer = answer
        self._control = answer.control
        self._number = number
        self._recorder = recorder
        self._limit = answer.sampling.max_denoising_steps
        self._stepper = answer.session.stepper(answer.sampling, number, generator)
        self._draft = self._stepper.draft
        self.ended = ""
        self.canvas: list[int] = []

    def events(self) -> Iterator[Event]:
        """Steps until the canvas is committed, or the answer is cancelled."""
        try:
            yield from self._events()
        finally:
            self._stepper.close()

    def _events(self) -> Iterator[Event]:
        while not self._stepper.converged:
            orders = self._control.orders(self._number)
            if orders.cancelled:
                self.ended = "cancelled"
                return
            if orders.commit and self._stepper.steps:
                break
            if self._stepper.steps < self._limit:
                yield self._step(orders.pins)
                continue
            more = self._control.take_extension()
            if not more and self._answer.sampling.on_limit == "ask":
                yield self._finish(waiting=True)
                more = self._control.wait_for_decision()
                if not more and not self._pinned_since():
                    self._close()
                    return
            if not more:
                break
            self._limit = self._stepper.steps + more
        if self._control.cancelled:
            self.ended = "cancelled"
            return
        yield self._finish()
        self._close()

    def _close(self) -> None:
        """Ends the block with the draft that its last `Block` gave."""
        _, ends = self._answer.session.cut(self._draft)
        self.ended = "cancelled" if self._control.cancelled else "eos" if ends else "committed"
        self.canvas = self._draft.tolist()
        self._control.end_block(self._number)

    def _pinned_since(self) -> bool:
        """Whether pins that were set after the last `Block` change what is committed."""
        return not np.array_equal(self._draft, self._pinned_draft())

    def _pinned_draft(self) -> NDArray[np.int32]:
        """The draft with the pins of this moment."""
        return with_pins(self._stepper.draft, self._control.pins(self._number))

    def _step(self, pins: Mapping[int, int]) -> Step:
        try:
            draft, seconds = self._stepper.advance(pins, self._limit)
        except NumericsError as error:
            self._answer.session.reset()
            raise NumericsError(
                f"The model gave NaN or infinity at block {self._number}, step {self._stepper.steps}: "
                "the weights may be damaged, or overflow at this precision; try precision='float32'."
            ) from error
        self._recorder.add_step(self._number, seconds)
        return Step(self._number, self._stepper.steps, seconds=seconds, **draft._asdict())

    def _finish(self, waiting: bool = False) -> Block:
        self._draft = self._pinned_draft()
        tokens, _ = self._answer.session.cut(self._draft)
        self._recorder.tokens[self._number] = len(tokens)
        return Block(self._number, tokens, self._stepper.steps, self._stepper.converged, waiting=waiting)


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
