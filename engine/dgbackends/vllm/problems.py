"""What goes wrong with a server, in plain sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dgbackends.errors import ServerError, ServerKeyError, ServerRefusedError, ServerUnusableError
from dgengine.errors import EngineError, PromptTooLongError

if TYPE_CHECKING:
    import httpx

    from dgbackends.vllm.address import Server

_MOST_WORDS: Final = 300  # characters of a server's own words that are repeated
_TOO_LONG: Final = re.compile(r"maximum context length|max_model_len|longer than the maximum model length", re.I)
_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.")


def words_of(server: Server, body: bytes) -> str:
    """What a server says of an error: one line of plain text, without the key; "" where it says nothing readable."""
    text = body.decode("utf-8", "replace")
    try:
        text = _message(json.loads(text))
    except (ValueError, RecursionError):
        if text.lstrip().startswith("<"):  # a page of HTML
            return ""
    return plain(server, text)


def plain(server: Server, text: str) -> str:
    """A server's text on one line, without control characters and the key, and not too long."""
    kept = "".join(c if c.isprintable() else " " for c in _ESCAPES.sub("", text))
    line = " ".join((server.key.without(kept) if server.key else kept).split())
    return line if len(line) <= _MOST_WORDS else line[: _MOST_WORDS - 1] + "…"


def _message(value: Any) -> str:
    """The message in an error of OpenAI's API, of FastAPI, or of vLLM's older form."""
    found = value
    for _ in range(3):
        if not isinstance(found, dict):
            break
        found = next((found[key] for key in ("error", "message", "detail") if found.get(key)), "")
    return found if isinstance(found, str) else json.dumps(found)[: 2 * _MOST_WORDS]


def refusal(server: Server, status: int, headers: Mapping[str, str], body: bytes) -> EngineError:
    """The error that a response other than 200 stands for."""
    words = words_of(server, body)
    said = f': "{words}"' if words else ""
    match status:
        case 400 | 422 if _TOO_LONG.search(words):
            return PromptTooLongError(f"The chat is longer than the server's model takes{said}.")
        case 400 | 413 | 422:
            return ServerRefusedError(f"The server {server.url} refused the request{said}.", words)
        case 401 | 403 if server.key:
            return ServerKeyError(f"The server {server.url} refused the key (HTTP {status}): check it{said}.")
        case 401 | 403:
            return ServerKeyError(
                f"The server {server.url} wants a key: set DGCHAT_SERVER_KEY, or keep it with dgchat key set "
                f"{server.url}."
            )
        case 404 | 405:
            return ServerUnusableError(
                f"The server {server.url} has no such page (HTTP {status}): give the address of a vLLM server, without "
                f"/v1{said}."
            )
        case 429:
            return ServerError(f"The server {server.url} is too busy, also after waiting (HTTP 429){said}.")
        case _ if 300 <= status < 400:
            return ServerUnusableError(
                f"The server {server.url} sends on to another address (HTTP {status}), which is not followed: give "
                "that one."
            )
        case _ if status >= 500:
            return ServerError(f"The server {server.url} has failed (HTTP {status}){said}.")
    return ServerUnusableError(f"The server {server.url} answers with HTTP {status}, as no vLLM server does{said}.")


def trouble(
    server: Server, error: httpx.HTTPError | httpx.InvalidURL, begun: bool = False, seconds: float | None = None
) -> EngineError:
    """The error that a failed connection stands for.

    Args:
        server: whose.
        error: of the HTTP library.
        begun: whether an answer was coming.
        seconds: how long was waited; None for as long as the server may be silent.
    """
    import httpx

    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        waited = f"{seconds or server.silence:.0f} seconds"
        return ServerError(
            f"The server {server.url} has sent nothing for {waited}: it may be overloaded; --server-timeout waits "
            "longer."
        )
    if isinstance(error, httpx.TimeoutException | httpx.ConnectError):
        return ServerUnusableError(_unreachable(server, error))
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return ServerUnusableError(f"{server.url} is no address that can be asked.")
    if begun:
        return ServerError(f"The server {server.url} broke off in the middle of the answer: what has come is kept.")
    if isinstance(error, httpx.RemoteProtocolError):
        return ServerUnusableError(f"What answers at {server.url} does not speak HTTP, or broke off at once.")
    return ServerError(f"The connection to {server.url} failed: {plain(server, str(error)) or type(error).__name__}.")


def _unreachable(server: Server, error: Exception) -> str:
    reason = str(error)
    if "CERTIFICATE" in reason.upper():
        return (
            f"The certificate of {server.url} cannot be trusted, so nothing was sent "
            f"({plain(server, reason.rpartition('] ')[2])}); SSL_CERT_FILE can name an authority of your own."
        )
    if "SSL" in reason.upper() or "TLS" in reason.upper():
        return f"{server.url} does not answer with TLS: is it http://?"
    if "Name or service" in reason or "getaddrinfo" in reason or "nodename" in reason or "resolution" in reason:
        return f"No machine has the name in {server.url}: check the address."
    return f"Nothing answers at {server.url}: check the address, and that the server runs."


def nonsense(server: Server, what: str) -> ServerError:
    """The error where a server of the right kind sends what cannot be understood."""
    return ServerError(f"The server {server.url} sent {what}, which is no answer: is it vLLM 0.33 or newer?")
