"""Answers of a server: one block for each piece that it sends."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgbackends.errors import ServerError
from dgbackends.vllm.chat import ServerChat
from dgbackends.vllm.chunks import Chunk, chunk_of
from dgbackends.vllm.link import Began, Wait
from dgbackends.vllm.tally import Tally
from dgbackends.vllm.tokens import Thinking
from dgengine import prompts
from dgengine.capabilities import Capabilities
from dgengine.control import Control
from dgengine.errors import EmptyPromptError, InfillError, SamplingError
from dgengine.events import Block, Done, Event, Notice, Prefill, Reason
from dgengine.infill.request import InfillRequest
from dgengine.sampling import Sampling
from dgengine.turn import Turn

if TYPE_CHECKING:
    from dgbackends.vllm.engine import ServerEngine

_OWN_OF_SERVER = (
    "t_min", "t_max", "entropy_bound", "confidence_threshold", "stability_threshold", "reference",
)  # fmt: skip


class ServerSession:
    """One conversation. The server is given all of it each time; its own cache knows what it has read before."""

    def __init__(self, engine: ServerEngine) -> None:
        self._engine = engine
        self._turn = Turn()

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Answers a conversation; see `dgbackends.protocol`.

        There is no `Step`: `Block.steps` is 0, and `Block.converged` always True, as a server tells neither. A cancel
        ends the request within a moment, also while the server is silent.

        Raises:
            EmptyPromptError, SamplingError, SessionBusyError, PromptTooLongError: at once.
            ServerError: while it runs; the blocks before it stand.
        """
        sampling, control = sampling or Sampling(), control or Control()
        check(sampling, self._engine.capabilities)
        info = self._engine.info
        control.begin(info.canvas_length, max(info.vocab_size, self._engine.tokens.largest + 1))
        if control.pins(1):
            raise SamplingError(self._engine.capabilities.reason("pins"))
        run = _Answer(self._engine, ids, sampling, control).events()
        self._turn.take(run)
        return run

    def infill(
        self, request: InfillRequest, sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Rewrites spans of a text in place, if the server takes a canvas to begin with; see `dgbackends.protocol`.

        Raises:
            InfillError, SamplingError, SessionBusyError: at once. InfillError, ServerError: while it runs.
        """
        reason = self._engine.capabilities.reason("infill")
        if reason is not None:
            raise InfillError(reason)
        from dgbackends.vllm.infill import ServerInfill

        sampling = sampling or Sampling()
        check(sampling, self._engine.capabilities, seeds=True)
        run = ServerInfill(self._engine, request, sampling, control or Control()).events()
        self._turn.take(run)
        return run


def check(sampling: Sampling, capabilities: Capabilities, seeds: bool = False) -> None:
    """Refuses what a server has no way to do, and what would be another answer without it.

    Args:
        sampling: what is wished.
        capabilities: what there is.
        seeds: whether a seed has a part in it.

    Raises:
        SamplingError: with the reason.
    """
    if sampling.seed is not None and not seeds:
        raise SamplingError(capabilities.reason("seeds"))
    if sampling.trace_top_k:
        raise SamplingError(capabilities.reason("drafts"))
    if sampling.max_denoising_steps is not None and not capabilities.steps:
        raise SamplingError(capabilities.reason("steps"))
    for name in _OWN_OF_SERVER:
        if getattr(sampling, name) not in (None, False):
            raise SamplingError(f"A vLLM server has its own {name}: leave it out.")


class _Answer:
    """One answer."""

    def __init__(self, engine: ServerEngine, ids: Sequence[int], sampling: Sampling, control: Control) -> None:
        self._engine, self._ids, self._control = engine, ids, control
        self._longest = sampling.resolve().max_new_tokens
        self._steps = sampling.max_denoising_steps
        self._path, self._body = self._request()
        self._tally = Tally(len(ids))
        self._state = Thinking()
        self._block = 0
        self._counted = 0  # tokens of the answer, as the server counts them
        self._rest: list[int] = []  # the tokens of the piece that has come last

    def _request(self) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request; only what this kind of model takes, see docs/backends.md.

        Raises:
            EmptyPromptError, TokenIdError, PromptTooLongError, SamplingError.
        """
        ids, info = self._ids, self._engine.info
        body: dict[str, Any] = {
            "model": self._engine.model,
            "max_tokens": self._longest,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            "return_token_ids": True,
        }
        if self._steps is not None:
            body["vllm_xargs"] = {"diffusion_max_steps": self._steps}
        if not isinstance(ids, ServerChat):
            body["prompt"] = prompts.checked(ids, self._engine.vocab_size, info.context_length, self._longest)
            return "/v1/completions", body
        if len(ids) != ids.whole:
            raise SamplingError(self._engine.capabilities.reason("pins"))
        if not ids.messages:
            raise EmptyPromptError("The chat is empty: give at least one message.")
        body["messages"] = ids.messages
        body["chat_template_kwargs"] = {"enable_thinking": ids.thinking}
        return "/v1/chat/completions", body

    def events(self) -> Generator[Event, None, None]:
        """The events of `ServerSession.generate`."""
        dropped = self._ids.dropped if isinstance(self._ids, ServerChat) else 0
        if dropped:
            yield Notice(prompts.dropped_text(dropped), "dropped", dropped)
        total, begun, finish = len(self._ids), False, ""
        for event in self._tally.timed(self._stream()):
            match event:
                case Wait(seconds):
                    yield waiting(seconds)
                case Began():
                    begun = True
                    yield Prefill(0, total)
                    yield Prefill(total, total)
                case Chunk():
                    finish = event.finish or finish
                    yield from self._blocks(event)
        if not begun:
            yield Prefill(0, total)
        yield Done(self._reason(finish), self._tally.stats())

    def _stream(self) -> Generator[Wait | Began | Chunk, None, None]:
        """What the server sends; each piece's tokens are learned while it is waited for."""
        link = self._engine.link
        for item in link.stream(self._path, self._body, self._control):
            yield self._read(item) if isinstance(item, Mapping) else item

    def _read(self, item: Mapping[str, Any]) -> Chunk:
        chunk = chunk_of(item, self._engine.link.server)
        self._tally.prompt = self._tally.prompt if chunk.prompt is None else chunk.prompt
        self._tally.reused = self._tally.reused if chunk.cached is None else chunk.cached
        if chunk.text or chunk.thought or chunk.ids:
            counted = (chunk.completion or 0) - self._counted
            count = len(chunk.ids) or min(counted, self._engine.info.canvas_length)
            self._rest = self._engine.tokens.block(chunk.ids, chunk.text, chunk.thought, self._state, count)
        self._counted = self._counted if chunk.completion is None else chunk.completion
        return chunk

    def _blocks(self, chunk: Chunk) -> Iterator[Block]:
        """A block for each piece; for one that holds several canvases, as a busy server may send, several."""
        tokens, self._rest = self._rest, []
        most = self._engine.info.canvas_length
        for start in range(0, len(tokens), most):
            self._block += 1
            piece = np.array(tokens[start : start + most], dtype=np.int32)
            self._tally.tokens[self._block] = len(piece)
            yield Block(self._block, piece, steps=0, converged=True)
            self._control.end_block(self._block)

    def _reason(self, finish: str) -> Reason:
        if self._control.cancelled:
            return "cancelled"
        if not finish:
            raise ServerError(
                f"The server {self._engine.link.server.url} ended the answer without saying why: it may be cut."
            )
        return "length" if finish == "length" else "eos"


def waiting(seconds: float) -> Notice:
    """What there is to say while a server is busy."""
    return Notice(f"The server is busy; it is asked again in {seconds:.0f} s.", "busy", 1)
