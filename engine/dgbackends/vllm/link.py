"""Talking HTTP to one server: short questions, and answers that are streamed while someone may cancel them.

Everything that a server sends is taken for untrusted: sizes are bounded, redirects are not followed, and certificates
are always checked.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Generator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import httpx

from dgbackends.errors import ServerError, ServerUnusableError
from dgbackends.vllm.address import Secret, Server
from dgbackends.vllm.problems import nonsense, refusal, trouble
from dgengine.control import Control

_CONNECT: Final = 10.0  # seconds to reach a server
_SHORT: Final = 30.0  # seconds for an answer that needs no denoising
_MOST_BYTES: Final = 64 * 2**20  # of an answer that is not streamed
_MOST_LINE: Final = 16 * 2**20  # of one event of a stream
_MOST_ERROR: Final = 64 * 2**10  # of the page of an error
_WAKE: Final = 0.05  # seconds between looks at whether it is cancelled
_TRIES: Final = 4  # of a server that is busy
_LONGEST_WAIT: Final = 60.0  # seconds between two of them
_BUSY: Final = (429, 503)


@dataclass(frozen=True)
class Wait:
    """The server is busy, and is asked again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Began:
    """The server has begun to answer."""


@dataclass(frozen=True)
class _Refused:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Failed:
    error: Exception


class _End:
    """The stream is over."""


class _KeyAuth(httpx.Auth):
    """Puts the key on a request at the last moment, so that no object that may be shown holds it."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the header."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


class Link:
    """One server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def _options(self, silence: float) -> dict[str, Any]:
        return {
            "base_url": self.server.url,
            "auth": _KeyAuth(self.server.key) if self.server.key else None,
            "timeout": httpx.Timeout(silence, connect=_CONNECT),
            "follow_redirects": False,
            "verify": httpx.create_ssl_context(),  # SSL_CERT_FILE holds for this machine, too
            "trust_env": not self.server.is_here,  # no proxy stands between this machine and itself
            "headers": {"Accept-Encoding": "identity", "User-Agent": "dgchat"},
        }

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object of the server.

        Raises:
            EngineError: it does not answer, refuses, or sends something else.
        """
        return self._asked("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that the server gives for `body`; raises as `get`."""
        return self._asked("POST", path, body)

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        patience = min(_SHORT, self.server.silence)
        try:
            with (
                httpx.Client(**self._options(patience)) as client,
                client.stream(method, path, json=body) as response,
            ):
                data = bytearray()
                for piece in response.iter_bytes():
                    data += piece
                    if len(data) > _MOST_BYTES:
                        raise nonsense(self.server, "more than any answer holds")
                status, headers = response.status_code, response.headers
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # without the chain: the request in it holds what was asked
            raise trouble(self.server, error, seconds=patience) from None
        if status != 200:
            raise refusal(self.server, status, headers, bytes(data))
        return self._object(bytes(data))

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ServerUnusableError(
                f"What answers at {self.server.url} is no vLLM server: it sent no JSON where that was due."
            )
        return value

    def stream(
        self, path: str, body: Mapping[str, Any], control: Control
    ) -> Generator[Wait | Began | dict[str, Any], None, None]:
        """The events of a streamed answer, as JSON objects, after `Began`; it ends early where `control` is cancelled.

        A server that says that it is busy is asked again, a few times; each time a `Wait` comes first.

        Raises:
            EngineError: the server does not answer, refuses, breaks off, or sends what is no event.
        """
        for turn in range(1, _TRIES + 1):
            reader = _Reader(self._options(self.server.silence), path, body)
            try:
                refused = yield from self._read(reader, control)
            finally:
                reader.close()
            if refused is None:
                return
            pause = _pause(refused, turn)
            if pause is None or turn == _TRIES:
                raise refusal(self.server, refused.status, refused.headers, refused.body)
            yield Wait(pause)
            if _cancelled_within(pause, control):
                return

    def _read(
        self, reader: _Reader, control: Control
    ) -> Generator[Wait | Began | dict[str, Any], None, _Refused | None]:
        begun = False
        while not control.cancelled:
            try:
                item = reader.items.get(timeout=_WAKE)
            except Empty:
                continue
            match item:
                case _Refused():
                    return item
                case _End():
                    return None
                case _Failed(error):
                    if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
                        raise trouble(self.server, error, begun) from None
                    raise error
                case Began():
                    begun = True
                    yield item
                case bytes():
                    yield self._event(item)
        return None

    def _event(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise nonsense(self.server, "a piece of an answer that is no JSON object")
        return value


class _Reader:
    """Reads a stream on a thread of its own: whoever takes the events can stop it while the server is silent."""

    def __init__(self, options: Mapping[str, Any], path: str, body: Mapping[str, Any]) -> None:
        self.items: SimpleQueue[_Refused | _Failed | _End | Began | bytes] = SimpleQueue()
        self._options, self._path, self._body = options, path, body
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="vllm-stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the connection, in whatever state it is."""
        self._closed = True
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop has ended
            return
        self._thread.join(timeout=1.0)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        async def main() -> None:
            self._task = asyncio.current_task()
            if not self._closed:
                await self._receive()

        try:
            self._loop.run_until_complete(main())
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited, which would never end
            self.items.put(_Failed(error))
        finally:
            self._loop.close()

    async def _receive(self) -> None:
        async with (
            httpx.AsyncClient(**self._options) as client,
            client.stream("POST", self._path, json=self._body) as response,
        ):
            if response.status_code != 200:
                page = await _first_bytes(response.aiter_bytes(), _MOST_ERROR)
                self.items.put(_Refused(response.status_code, response.headers, page))
                return
            self.items.put(Began())
            await self._take_lines(response.aiter_bytes())

    async def _take_lines(self, pieces: AsyncIterator[bytes]) -> None:
        """Hands on the data of each server-sent event, until the one that says that it was the last."""
        rest = b""
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
                if data == b"[DONE]":
                    self.items.put(_End())
                    return
                if data:
                    self.items.put(data)
            if len(rest) > _MOST_LINE:
                self.items.put(_Failed(ServerError("The server sent a piece of an answer without an end.")))
                return
        self.items.put(_Failed(httpx.RemoteProtocolError("the stream ended without its end")))


async def _first_bytes(pieces: AsyncIterator[bytes], most: int) -> bytes:
    data = b""
    async for piece in pieces:
        data += piece
        if len(data) >= most:
            break
    return data[:most]


def _pause(refused: _Refused, turn: int) -> float | None:
    """Seconds until the server may be asked again; None where that is of no use.

    Without a Retry-After of the server's own they double from one second on.
    """
    said = refused.headers.get("retry-after")
    if refused.status not in _BUSY or (refused.status != 429 and said is None):
        return None
    try:
        wanted = float(said) if said is not None else 2.0 ** (turn - 1)
    except ValueError:  # a date: clocks differ
        wanted = 2.0 ** (turn - 1)
    return wanted if 0 <= wanted <= _LONGEST_WAIT else None


def _cancelled_within(seconds: float, control: Control) -> bool:
    """Waits, unless it is cancelled meanwhile."""
    end = time.monotonic() + seconds
    while not control.cancelled and time.monotonic() < end:
        time.sleep(min(_WAKE, max(0.0, end - time.monotonic())))
    return control.cancelled
