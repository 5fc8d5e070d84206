"""Errors of engines that are somewhere else. As those of dgengine, each is one or two plain sentences."""

from __future__ import annotations

from dgengine.errors import EngineError


class ServerError(EngineError):
    """A server that does not answer, breaks off, fails, or says what cannot be understood."""


class ServerAddressError(ServerError):
    """An address that cannot be used: no URL, a plain one to another machine, one with a key in it."""


class ServerUnusableError(ServerError):
    """What answers is no vLLM server, or nothing answers at all."""


class ServerKeyError(ServerError):
    """The server wants a key, or refuses the one it was given."""


class ServerRefusedError(ServerError):
    """The server does not take a request as it is.

    Attributes:
        words: the server's own, on one line.
    """

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words
