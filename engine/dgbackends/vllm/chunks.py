"""The pieces in which a server streams an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dgbackends.errors import ServerError
from dgbackends.vllm.address import Server
from dgbackends.vllm.problems import nonsense, plain


@dataclass(frozen=True)
class Chunk:
    """What one event of a stream says.

    Attributes:
        text: of the answer.
        thought: of what was thought before it, where the server tells that apart.
        ids: the tokens; none where the server sends none.
        finish: why the answer ends with it: "stop", "length" or another word; "" where it goes on.
        prompt, completion, cached: counts of tokens, where it tells them.
    """

    text: str = ""
    thought: str = ""
    ids: tuple[int, ...] = ()
    finish: str = ""
    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


def chunk_of(value: Mapping[str, Any], server: Server) -> Chunk:
    """Reads an event of /v1/chat/completions or /v1/completions.

    Raises:
        ServerError: it is an error of the server's, or no such event.
    """
    if value.get("error"):
        error = value["error"]
        said = error.get("message") if isinstance(error, dict) else error
        raise ServerError(f'The server {server.url} has failed: "{plain(server, str(said))}".')
    choices, usage = value.get("choices"), value.get("usage") or {}
    if not isinstance(choices, list) or not isinstance(usage, dict):
        raise nonsense(server, "a piece of an answer without choices")
    details = usage.get("prompt_tokens_details")
    counted = Chunk(
        prompt=_count(usage.get("prompt_tokens")),
        completion=_count(usage.get("completion_tokens")),
        cached=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
    )
    if not choices:
        return counted
    choice = choices[0]
    if not isinstance(choice, dict):
        raise nonsense(server, "a piece of an answer that is none")
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        raise nonsense(server, "a piece of an answer that is none")
    text = delta.get("content") or choice.get("text") or ""
    thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
    ids = choice.get("token_ids") or ()
    if not isinstance(text, str) or not isinstance(thought, str) or not _are_ids(ids):
        raise nonsense(server, "a piece of an answer that is neither text nor tokens")
    finish = choice.get("finish_reason")
    said = finish if isinstance(finish, str) else ""
    return replace(counted, text=text, thought=thought, ids=tuple(ids), finish=said)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _are_ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(i) is int and 0 <= i < 2**30 for i in value)
