"""What the database holds, as plain values.

Times are seconds since 1970. Texts are as they were written, not cleaned for a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat: a tree of messages, of which one path is the chat as it stands.

    Attributes:
        leaf: the last message of that path; None while there is none.
        messages: how many messages the tree holds, all branches counted.
    """

    id: int
    title: str
    model: str
    system: str | None
    created: float
    updated: float
    leaf: int | None
    messages: int


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image of a question; of its pixels there is a copy elsewhere (`images.copies`).

    Attributes:
        path: where its file was; bytes of it that are not UTF-8 are replaced.
        digest: SHA-256 of the file, in hexadecimal.
        width, height: in pixels.
    """

    path: str
    digest: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Message:
    """A question or an answer.

    Attributes:
        parent: the message before it; None for the first.
        thought: what the model thought before it answered.
        ids: the tokens of an answer as they were generated, so that a resumed chat never tokenises them anew.
        reason: why an answer ended ("eos", "length", "cancelled"); None for questions.
        stats: counts and times of an answer.
        siblings: ids of all messages that answer or follow the same one, this one among them, oldest first.
        traced: whether the steps of its denoising are kept.
        images: of a question, in order.
    """

    id: int
    conversation: int
    parent: int | None
    role: Role
    text: str
    created: float
    thought: str = ""
    ids: tuple[int, ...] = ()
    reason: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    siblings: tuple[int, ...] = ()
    traced: bool = False
    images: tuple[KeptImage, ...] = ()


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """What there is to keep of an answer; see `Message`.

    Attributes:
        trace: the steps of its denoising, as `trace.codec` packs them; None for none.
    """

    text: str
    ids: Sequence[int] = ()
    thought: str = ""
    reason: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    trace: bytes | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search found.

    Attributes:
        excerpt: its text around the words; each word found stands between `FOUND_BEGIN` and `FOUND_END` of `store`.
    """

    conversation: Conversation
    message: int
    role: Role
    excerpt: str
