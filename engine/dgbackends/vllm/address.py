"""Where a server is, and the key to it. Imports nothing heavy."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from dgbackends.errors import ServerAddressError, ServerKeyError

SILENCE: Final = 300.0  # seconds: a block of a busy server may take minutes, and a wait can be cancelled
_PORTS: Final = {"http": 80, "https": 443}


class Secret:
    """A text that no traceback, log or `repr` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Takes a key.

        Raises:
            ServerKeyError: it cannot stand in a header of HTTP.
        """
        text = text.strip()
        if not text.isascii() or not text.isprintable():
            raise ServerKeyError(
                "The key of the server holds characters that no request can carry: it must be printable ASCII."
            )
        self._text = text

    def __repr__(self) -> str:
        return "Secret('...')"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        raise TypeError("a secret is not to be written down")

    def reveal(self) -> str:
        """The text itself, for the request that needs it."""
        return self._text

    def without(self, text: str) -> str:
        """`text` with the secret cut out of it: a server may repeat what it was sent."""
        return text.replace(self._text, "(key)") if self._text else text


@dataclass(frozen=True)
class Server:
    """A server to be asked.

    Attributes:
        url: as `normalised` gives it.
        key: for its `Authorization`; None for none.
        silence: seconds after which a server that sends nothing has failed.
    """

    url: str
    key: Secret | None = field(default=None, repr=False)
    silence: float = SILENCE

    @property
    def host(self) -> str:
        """Host and port, for a title."""
        return urlsplit(self.url).netloc

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        return _is_loopback(urlsplit(self.url).hostname or "")


def normalised(text: str, insecure: bool = False) -> str:
    """A server's URL in one form: scheme, host, port where it is not the usual one, path without "/v1".

    Args:
        text: what the user wrote.
        insecure: whether plain HTTP to another machine is wished.

    Raises:
        ServerAddressError: it is no URL of a server, holds a name or key, or is plain HTTP to another machine.
    """
    shown = "".join(c for c in text if c.isprintable())
    if any(c in text for c in "@?#"):  # there may be a key in it
        shown = "What was given"
    parts, port = _split(text.strip(), shown)
    if parts.username is not None or parts.password is not None:
        raise ServerAddressError(
            "The address of the server holds a name or password, which would be seen by others: leave it out, and keep "
            "the key with dgchat key set URL or in DGCHAT_SERVER_KEY."
        )
    if parts.query or parts.fragment:
        raise ServerAddressError(
            "The address of the server ends with its path: leave out the ? or # and what follows it."
        )
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme == "http" and not insecure and not _is_loopback(host):
        raise ServerAddressError(
            f"{shown} is not encrypted, and not on this machine: use https://, or --insecure-http where everyone on "
            "the way may read your text and the key."
        )
    name = f"[{host}]" if ":" in host else host
    place = name if port in (None, _PORTS[parts.scheme]) else f"{name}:{port}"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{place}{path}"


def _split(text: str, shown: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ServerAddressError(f"{shown} is no address of a server ({error}).") from error
    odd = any(c.isspace() or not c.isprintable() for c in text)
    if parts.scheme not in _PORTS or not parts.hostname or odd:
        raise ServerAddressError(
            f"{shown or 'An empty text'} is no address of a server: give one such as http://127.0.0.1:8000 or "
            "https://host.example."
        )
    return parts, port


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


KeyFinder = Callable[[str], "Secret | None"]
"""The key for a normalised URL, None for none."""
