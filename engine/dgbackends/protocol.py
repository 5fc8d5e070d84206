"""What every engine gives, whatever is behind it. `dgengine.Engine` is the first of these."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from dgengine.capabilities import Capabilities
from dgengine.chat import Message
from dgengine.control import Control
from dgengine.engine import EngineInfo
from dgengine.events import Event
from dgengine.infill.request import InfillRequest
from dgengine.sampling import Sampling


class BackendSession(Protocol):
    """One conversation. One answer at a time: a new one ends one that was left half-way."""

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Answers a conversation that `Backend.encode_chat` has prepared; see `dgengine.Session.generate`.

        A value of `sampling` that the engine cannot honour is refused (SamplingError) where leaving it out would change
        what was asked for, and a `Notice` says so where it would not.
        """

    def infill(
        self, request: InfillRequest, sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        """Rewrites spans of a text in place; see `dgengine.Session.infill`.

        Raises:
            InfillError: this engine has no infill, with the reason.
        """


class Backend(Protocol):
    """A model, and what it speaks."""

    @property
    def info(self) -> EngineInfo:
        """What it is."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """The token ids that end an answer."""

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """The checkpoint's own values of `Sampling`, as far as they are known."""

    def encode_chat(
        self, messages: Sequence[Message], thinking: bool = False, max_new_tokens: int | None = None
    ) -> list[int]:
        """A chat, ready to be answered by `BackendSession.generate`; see `dgengine.Engine.encode_chat`.

        What it returns is the engine's own: a list of token ids that may carry more (messages for a server, images).
        """

    def encode(self, text: str) -> list[int]:
        """Raw text to token ids, without a chat template."""

    def decode(self, ids: Iterable[int]) -> str:
        """Token ids to text, without special tokens."""

    def split_thinking(self, ids: Iterable[int]) -> tuple[str, str]:
        """What the model thought, and what it answered."""

    @property
    def thought_marks(self) -> tuple[int, int] | None:
        """The token ids that open and close what the model thinks; None where there are none.

        `ThoughtParser` of dgengine tells thoughts from the answer by them.
        """

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text that each token id adds: one piece an id."""

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The UTF-8 bytes of each token id."""

    def session(self) -> BackendSession:
        """A new conversation."""
