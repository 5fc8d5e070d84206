"""What engines share that run in this process: their conversations, up to the denoising itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch

from dgbackends.narration import Narration
from dgengine import memory, prompts
from dgengine.capabilities import Capabilities
from dgengine.chat import EncodedChat
from dgengine.control import Control
from dgengine.engine import Progress, find_model, read_generation_config
from dgengine.errors import InfillError, InsufficientMemoryError, SamplingError
from dgengine.events import Done, Event, Notice
from dgengine.infill.request import InfillRequest
from dgengine.sampling import ResolvedSampling, Sampling, eos_ids
from dgengine.speech import Speech
from dgengine.stats import Recorder
from dgengine.turn import Turn

B = TypeVar("B", bound="LocalBackend")


class LocalBackend(Speech):
    """A model in this process, with its checkpoint's tokenizer, whose engine lets itself be watched but not steered.

    Attributes:
        engine: what the engine is called, in the reasons for what it cannot do.
        device: where `Stats` measures memory.
    """

    engine: str
    device: torch.device

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the engine can do with this model."""
        reasons = {
            "pins": f"The {self.engine} engine has no way to hold a token while an answer is written.",
            "limits": f"The {self.engine} engine decides by itself when a block ends.",
            "infill": f"Rewriting in place needs pinned tokens, which the {self.engine} engine does not have.",
            "images": f"Through {self.engine}, dgchat reads text only.",
            "thinking": f"The model {self.info.name} was not made to think before it answers.",
        }
        thinking = self.tokenizer.can_think
        return Capabilities(
            pins=False, limits=False, infill=False, images=False, thinking=thinking, why_not=MappingProxyType(reasons)
        )

    def _read(self, path: Path) -> None:
        """Takes what the checkpoint at `path` says about answers; what is wrong in it shows at once.

        Raises:
            CheckpointError: generation_config.json cannot be used.
        """
        self.path = path
        self.generation_config = read_generation_config(path)
        self.eos_ids = eos_ids(self.generation_config)
        Sampling().resolve(self.generation_config)


def opened(
    name: str | Path,
    context: int | None,
    offline: bool,
    progress: Progress | None,
    read: Callable[[Path], B],
) -> B:
    """What `read` makes of the directory of the model of this name; `progress` is told.

    Raises:
        ModelNotFoundError, CheckpointError: there is no such model.
        ValueError: a context that is not positive.
    """
    if context is not None and context < 1:
        raise ValueError(f"a context of {context} tokens holds nothing")
    report = progress or (lambda stage, done: None)
    path = find_model(name, offline, report)
    report("load", 0.0)
    backend = read(path)
    report("load", 1.0)
    return backend


class LocalSession(ABC):
    """One conversation.

    A cache of K and V is used again where the new conversation goes on from everything that it holds: none of these
    engines can shorten one whose sliding layers have moved on. Otherwise the whole prompt is encoded again;
    `Prefill.reused` tells which.
    """

    def __init__(self, backend: LocalBackend) -> None:
        """Makes an empty session."""
        self._backend = backend
        self._held: list[int] = []
        self._cache: Any = None  # the engine's own, of K and V; made with the first answer
        self._turn = Turn()

    @property
    def held(self) -> tuple[int, ...]:
        """The token ids whose K and V are kept."""
        return tuple(self._held)

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Answers a conversation; see `dgengine.Session.generate`.

        Of `control`, only `cancel`, `pause` and `resume` are heard.

        Raises:
            EmptyPromptError, TokenIdError, PromptTooLongError, SamplingError, SessionBusyError: at once.
            NumericsError, InsufficientMemoryError: while it runs. The session can be used again.
        """
        resolved = (sampling or Sampling()).resolve(self._backend.generation_config)
        info = self._backend.info
        room = resolved.blocks(info.canvas_length) * info.canvas_length
        prompt = prompts.checked(ids, info.vocab_size, info.context_length, room)
        control = control or Control()
        control.begin(info.canvas_length, info.vocab_size)
        self._check_wishes(resolved, control)
        dropped = ids.dropped if isinstance(ids, EncodedChat) else 0
        run = self._surviving(self._events(prompt, dropped, resolved, control))
        self._turn.take(run)
        return run

    def infill(
        self, request: InfillRequest, sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Is refused.

        Raises:
            InfillError: always, with the reason.
        """
        raise InfillError(self._backend.capabilities.reason("infill"))

    def reset(self) -> None:
        """Forgets everything that the cache holds."""
        self._held = []
        self._cache = None

    @abstractmethod
    def _answer(
        self, prompt: list[int], sampling: ResolvedSampling, control: Control, narration: Narration
    ) -> Generator[Event, None, bool]:
        """The events of an answer between `Notice` and `Done`; returns whether it was cancelled."""

    def _is_exhausted(self, error: BaseException) -> bool:
        """Whether an error says that memory has run out."""
        return memory.is_exhausted(error)

    def _measured(self, done: Done) -> Done:
        """`done` with what only this engine can measure."""
        return done

    def _check_wishes(self, sampling: ResolvedSampling, control: Control) -> None:
        """Refuses what this engine has no way to do.

        Raises:
            SamplingError: with the reason.
        """
        reason = self._backend.capabilities.reason
        if sampling.on_limit == "ask":
            raise SamplingError(f"on_limit='ask' cannot be had here. {reason('limits')}")
        if control.pins(1):
            raise SamplingError(f"Tokens cannot be pinned here. {reason('pins')}")

    def _reused(self, prompt: Sequence[int]) -> int:
        """How many ids of `prompt` are held; forgets everything where it does not go on from all of them."""
        held = len(self._held)
        if held < len(prompt) and self._held == list(prompt[:held]):
            return held
        self.reset()
        return 0

    def _events(
        self, prompt: list[int], dropped: int, sampling: ResolvedSampling, control: Control
    ) -> Generator[Event, None, None]:
        recorder = Recorder(self._backend.device, sampling.seed)
        narration = Narration(len(prompt), sampling, self._backend.eos_ids, recorder)
        if dropped:
            yield Notice(prompts.dropped_text(dropped), "dropped", dropped)
        cancelled = yield from self._answer(prompt, sampling, control, narration)
        yield self._measured(narration.done(cancelled))

    def _surviving(self, run: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """The events of `run`; after an error the session is emptied, to be used again."""
        try:
            yield from run
        except Exception as error:
            self.reset()
            if not self._is_exhausted(error):
                raise
            memory.give_back(error, self._backend.device)
            raise InsufficientMemoryError(
                f"Memory ran out while {self._backend.info.name} was answering: shorten the chat, close other "
                "programs, or use dgchat's own engine, which needs less."
            ) from error
