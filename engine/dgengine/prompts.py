"""Prompts as token ids: whether they can be answered at all."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from dgengine.errors import EmptyPromptError, PromptTooLongError, TokenIdError


def checked(ids: Sequence[int], vocab_size: int, context: int, room: int) -> list[int]:
    """`ids` as plain whole numbers.

    Args:
        ids: the prompt.
        vocab_size: token ids go from 0 to one below.
        context: tokens that prompt and answer may come to.
        room: tokens that are left for the answer.

    Raises:
        EmptyPromptError, TokenIdError, PromptTooLongError: it cannot be answered.
    """
    prompt = [_as_id(i) for i in ids]
    if not prompt:
        raise EmptyPromptError("The prompt is empty: give at least one token.")
    for wrong in (i for i in (min(prompt), max(prompt)) if not 0 <= i < vocab_size):
        raise TokenIdError(f"Token id {wrong} is not in the vocabulary: ids go from 0 to {vocab_size - 1}.")
    if len(prompt) + room > context:
        raise PromptTooLongError(
            f"The prompt of {len(prompt):,} tokens and {room:,} for the answer exceed the context of "
            f"{context:,}: shorten the prompt, or ask for fewer tokens."
        )
    return prompt


def dropped_text(count: int) -> str:
    """What a `Notice` says where `count` of a chat's oldest messages were left out."""
    what = "oldest message was" if count == 1 else f"{count} oldest messages were"
    return f"The chat no longer fits the model's context: its {what} left out."


def _as_id(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise TokenIdError(f"A token id must be a whole number, not {value!r}.") from error
