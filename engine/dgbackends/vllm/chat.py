"""A chat as a server takes it."""

from __future__ import annotations

import base64
import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dgengine.chat import Message
from dgengine.errors import ChatTemplateError, EmptyPromptError, ImageError, PromptTooLongError

_KINDS: Final = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


class ServerChat(list[int]):
    """The token ids of a chat, for their number, and what is sent in their place.

    Attributes:
        messages: for /v1/chat/completions.
        thinking: whether the model is to think first.
        dropped: how many of the oldest messages did not fit the context and were left out.
        whole: how many ids there are; with more, it is another chat.
    """

    def __init__(
        self, ids: Iterable[int], messages: Sequence[Mapping[str, Any]], thinking: bool = False, dropped: int = 0
    ) -> None:
        super().__init__(ids)
        self.messages = list(messages)
        self.thinking = thinking
        self.dropped = dropped
        self.whole = len(self)


def sent(messages: Sequence[Message], answer: Callable[[Iterable[int]], str]) -> list[dict[str, Any]]:
    """Messages as a server takes them. A past answer is its text: ids of our own mean nothing to a server.

    Args:
        messages: the chat.
        answer: the text of a past answer's ids, where no text is given.

    Raises:
        EmptyPromptError: there are none. ChatTemplateError: one without role or content. ImageError: no image there.
    """
    if not messages:
        raise EmptyPromptError("The chat is empty: give at least one message.")
    found = []
    for number, message in enumerate(messages, 1):
        content = message.get("content")
        if content is None and message.get("ids") is not None:
            content = answer(message["ids"])
        if "role" not in message or content is None:
            raise ChatTemplateError(f"Message {number} needs a role and a content.")
        parts = content if isinstance(content, str) else [_part(part) for part in content]
        found.append({"role": message["role"], "content": parts})
    return found


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image", "path": path}:
            return {"type": "image_url", "image_url": {"url": _data_uri(Path(path))}}
    raise ChatTemplateError("A part of a message must be a text, or an image with its path.")


def _data_uri(path: Path) -> str:
    from dgengine.vision import opening  # and with it Pillow

    data = opening.read_file(path)
    kind = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
    if kind is None:
        raise ImageError(f"{opening.shown(path.name)} is no image that can be read: give a PNG, JPEG or WebP image.")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def without_images(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same chat with its texts alone, to count its tokens."""
    found = []
    for message in messages:
        content = message["content"]
        text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
        found.append({**message, "content": text})
    return found


def fitted(
    messages: Sequence[Mapping[str, Any]], count: Callable[[Sequence[Mapping[str, Any]]], list[int]], room: int
) -> tuple[list[int], list[Mapping[str, Any]], int]:
    """The chat without the oldest turns that do not fit: its ids, its messages, and how many were left out.

    System messages at the head and the last user turn stay. As in `dgengine.chat`, the cut moves in steps of an eighth
    of the room, so that a server finds what comes after it in its cache for some turns.

    Args:
        messages: as a server takes them.
        count: the ids of a chat.
        room: the most that it may take.

    Raises:
        PromptTooLongError: too long even without all the older turns.
    """
    ids = count(messages)
    if len(ids) <= room:
        return ids, list(messages), 0
    head = next((i for i, m in enumerate(messages) if m["role"] not in ("system", "developer")), len(messages))
    starts = [i for i in range(head + 1, len(messages)) if messages[i]["role"] == "user"]

    def kept(start: int) -> list[Mapping[str, Any]]:
        return [*messages[:head], *messages[start:]]

    step = max(room // 8, 1)
    goal = len(ids) + -(-(len(ids) - room) // step) * -step
    first = bisect.bisect_left(starts, -goal, key=lambda start: -len(count(kept(start))))
    start = starts[min(first, len(starts) - 1)] if starts else head
    ids = count(kept(start))
    if len(ids) > room:
        raise PromptTooLongError(
            f"The message of {len(ids):,} tokens does not fit the {room:,} that the context has for it: shorten it, or "
            "ask for fewer tokens."
        )
    return ids, kept(start), start - head
