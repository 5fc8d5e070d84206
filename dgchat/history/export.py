"""A chat as Markdown, for people, and as JSON, for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dgchat.history.records import Conversation, Hit, KeptImage, Message
from dgchat.history.store import FOUND_BEGIN, FOUND_END, Store
from dgchat.sanitize import clean, clean_line

FORMATS = ("md", "json")


def export(store: Store, conversation: int, form: str) -> str:
    """A chat in one of `FORMATS`: the branch that it stands at as Markdown, all of its branches as JSON.

    Raises:
        LookupError: no such conversation.
    """
    chat = store.conversation(conversation)
    if form == "json":
        return to_json(chat, store.tree(conversation))
    return to_markdown(chat, store.path(chat.leaf))


def to_markdown(chat: Conversation, messages: Sequence[Message]) -> str:
    """The messages under a heading each. Text is cleaned of control characters, and otherwise stands as written."""
    parts = [f"# {clean_line(chat.title)}", f"{timestamp(chat.created)}, {clean_line(chat.model)}"]
    if chat.system:
        parts += ["## System", clean(chat.system)]
    for message in messages:
        parts += ["## You" if message.role == "user" else "## dgchat"]
        if message.thought.strip():
            parts.append(_folded(clean(message.thought).strip()))
        parts += [_linked(image) for image in message.images]
        parts.append(clean(message.text).strip())
        if message.reason == "cancelled":
            parts.append("*(stopped)*")
    return "\n\n".join(parts) + "\n"


def _linked(image: KeptImage) -> str:
    """A Markdown image; its path is untrusted, and may hold anything."""
    name = re.sub(r"([\\\[\]`*_<>!&])", r"\\\1", clean_line(Path(image.path).name)) or "image"
    return f"![{name}](<{quote(image.path, safe='/:~ ')}>)"


def _folded(thought: str) -> str:
    """What the model thought as a quotation that is folded away where Markdown is shown as a page."""
    quoted = "\n".join(f"> {line}".rstrip() for line in thought.replace("</details", "&lt;/details").split("\n"))
    return f"<details><summary>Thinking</summary>\n\n{quoted}\n\n</details>"


def to_json(chat: Conversation, messages: Sequence[Message]) -> str:
    """The chat and its tree of messages as one object."""
    return json.dumps({**conversation_dict(chat), "tree": [message_dict(item) for item in messages]}, indent=2)


def conversation_dict(chat: Conversation) -> dict[str, Any]:
    """A chat as JSON knows it; times in ISO 8601."""
    return {**asdict(chat), "created": _iso(chat.created), "updated": _iso(chat.updated)}


def message_dict(message: Message) -> dict[str, Any]:
    """A message as JSON knows it."""
    return {**asdict(message), "created": _iso(message.created), "stats": dict(message.stats)}


def hit_dict(hit: Hit) -> dict[str, Any]:
    """A search's find as JSON knows it."""
    excerpt = hit.excerpt.replace(FOUND_BEGIN, "").replace(FOUND_END, "")
    chat = conversation_dict(hit.conversation)
    return {"conversation": chat, "message": hit.message, "role": hit.role, "excerpt": excerpt}


def timestamp(seconds: float) -> str:
    """A time of day in the local time zone, as people write it."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
