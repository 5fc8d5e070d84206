"""`Speech`: text to token ids and back, with a checkpoint's own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dgengine.errors import PromptTooLongError
from dgengine.sampling import GenerationConfig, Sampling

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer, EncodedChat, Message
    from dgengine.engine import EngineInfo
    from dgengine.thinking import ThoughtMarks


class Speech:
    """What every engine that has a checkpoint's files does with text.

    Attributes:
        path: the checkpoint's directory.
        info: what the model is.
        generation_config: what generation_config.json holds.
        eos_ids: the token ids that end an answer.
    """

    path: Path
    info: EngineInfo
    generation_config: GenerationConfig
    eos_ids: frozenset[int]

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        """The checkpoint's tokenizer, read when first needed.

        Raises:
            ChatTemplateError: it has none. CheckpointError: it cannot be read.
        """
        from dgengine.chat import ChatTokenizer

        return ChatTokenizer.load(self.path, self.eos_ids)

    def encode_chat(
        self, messages: Sequence[Message], thinking: bool = False, max_new_tokens: int | None = None
    ) -> EncodedChat:
        """A chat to token ids, through the checkpoint's own template, ready for the model's turn.

        A chat that outgrows the context loses its oldest turns: `dropped` of the result tells how many
        messages, and `Session.generate` says so in a `Notice`. A past answer that carries the `ids` it was
        generated as (`{"role": "assistant", "ids": [...]}`) keeps exactly these.

        Args:
            messages: the turns, oldest first: `role` and `content`, or `ids` for a past answer.
            thinking: whether the model is to think first, where its template knows of that.
            max_new_tokens: room to leave for the answer; None for the checkpoint's own.

        Raises:
            EmptyPromptError, ChatTemplateError, PromptTooLongError, SamplingError.
        """
        sampling = Sampling(max_new_tokens=max_new_tokens).resolve(self.generation_config)
        canvas = self.info.canvas_length
        answer = sampling.blocks(canvas) * canvas
        room = self.info.context_length - answer
        if room <= 0:
            raise PromptTooLongError(
                f"The context of {self.info.context_length:,} tokens has no room for a prompt and an answer of "
                f"{answer:,} tokens: lower the longest answer, or make the context longer."
            )
        return self.tokenizer.encode_chat(messages, thinking, room)

    def encode(self, text: str) -> list[int]:
        """Raw text to token ids, without a chat template."""
        return self.tokenizer.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Token ids to text, without special tokens."""
        return self.tokenizer.decode(ids)

    def split_thinking(self, ids: Iterable[int]) -> tuple[str, str]:
        """What the model thought, and what it answered; see `ChatTokenizer.split_thinking`."""
        return self.tokenizer.split_thinking(ids)

    @property
    def thought_marks(self) -> ThoughtMarks | None:
        """The token ids that a thought stands between; see `ChatTokenizer.thought_marks`."""
        return self.tokenizer.thought_marks

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text that each token id adds: one piece an id; see `ChatTokenizer.pieces`."""
        return self.tokenizer.pieces(ids)

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The UTF-8 bytes of each token id; see `ChatTokenizer.spell`."""
        return self.tokenizer.spell(ids)
