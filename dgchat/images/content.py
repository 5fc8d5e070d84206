"""A message's content as engines take it: a text, or parts where it holds images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def content_of(text: str, images: Sequence[Path] = ()) -> str | list[dict[str, Any]]:
    """A text with images, which stand before it."""
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "image", "path": str(path)} for path in images]
    return [*parts, {"type": "text", "text": text}]


def text_of(content: object) -> str:
    """The text of a message's content, without its images."""
    if not isinstance(content, list):
        return str(content)
    return "\n\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
