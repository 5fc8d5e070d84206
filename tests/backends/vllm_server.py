"""A stand-in for a vLLM server: HTTP on this machine, the embedded engine with the built-in model behind it.

It enforces what vLLM documents for this kind of model: sampling parameters that it refuses are refused, an answer
comes in one piece for each canvas, a seed canvas has exactly the canvas' width and holds for the first canvas only,
pins need it, and pinned ids are held while the canvas is denoised but are not forced into what is emitted. What
differs: of a seed canvas only the pinned places are taken over.

`Behaviour` makes it fail in the ways in which servers fail.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from dgengine.control import Control
from dgengine.engine import Engine
from dgengine.events import Block, Done, Step
from dgengine.sampling import Sampling

REFUSED = ("seed", "min_p", "min_tokens", "logit_bias", "bad_words", "allowed_token_ids", "response_format",
           "structured_outputs", "guided_json")  # fmt: skip
XARGS = ("diffusion_seed_canvas", "diffusion_pinned", "diffusion_canvas_length", "diffusion_max_steps",
         "diffusion_read_only")  # fmt: skip


class Refusal(Exception):
    """A request that is refused, with a status and the server's words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Behaviour:
    """How the server fails, and what it lacks.

    Attributes:
        key: that it wants; None for none.
        models: that it serves.
        busy: how many answers it refuses with 429 first; `retry_after` is what it says then.
        status: it fails with at every answer; `page` is the body.
        cut_after: blocks after which it cuts the connection; None for never.
        silent: seconds that it says nothing before an answer.
        malformed: sends this as an event, after the first block.
        error: sends this as an error in the stream, after the first block.
        takes_canvas, tokenises, tells_ids: whether it knows vllm_xargs, /tokenize and return_token_ids.
        parses: takes thoughts out of the answer, as with --reasoning-parser.
        answer: says this in the place of the model.
    """

    key: str | None = None
    models: tuple[str, ...] = ("pocket",)
    busy: int = 0
    retry_after: str | None = "0.05"
    status: int = 0
    page: str = ""
    cut_after: int | None = None
    silent: float = 0.0
    malformed: str | None = None
    error: str | None = None
    takes_canvas: bool = True
    tokenises: bool = True
    tells_ids: bool = True
    parses: bool = False
    answer: str | None = None


@dataclass
class Seen:
    """What the server has seen.

    Attributes:
        requests: path and body of each POST.
        headers: of each request.
        aborted: answers that the client has not taken to their end.
    """

    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    aborted: int = 0

    def answers(self) -> list[dict[str, Any]]:
        """The bodies of the requests for streamed answers."""
        return [body for _, body in self.requests if body.get("stream")]


class StandIn:
    """The server; a context manager. `url` is where it is."""

    def __init__(self, engine: Engine, behaviour: Behaviour | None = None, prefix: str = "") -> None:
        self.engine = engine
        self.behaviour = behaviour or Behaviour()
        self.prefix = prefix
        self.seen = Seen()
        self.lock = threading.Lock()  # one answer at a time: the model has one thread
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}{prefix}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def canvas(self) -> int:
        """Tokens of a canvas."""
        return self.engine.info.canvas_length


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._guarded(lambda: self._got(self._path()))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.stand_in.seen.requests.append((self._path(), body))
        self._guarded(lambda: self._posted(self._path(), body))

    def _path(self) -> str:
        return self.path.removeprefix(self.stand_in.prefix)

    def _guarded(self, work: Any) -> None:
        self.stand_in.seen.headers.append(dict(self.headers))
        key = self.stand_in.behaviour.key
        try:
            if key is not None and self.headers.get("Authorization") != f"Bearer {key}":
                raise Refusal(401, f"Unauthorized: {self.headers.get('Authorization')}")
            work()
        except Refusal as refusal:
            kind = {400: "BadRequestError", 404: "NotFoundError", 401: "AuthenticationError"}.get(refusal.status, "")
            self._json({"error": {"message": str(refusal), "type": kind, "code": refusal.status}}, refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            self.stand_in.seen.aborted += 1
            self.close_connection = True

    def _json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), "application/json", status, headers)

    def _send(self, data: bytes, kind: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    # ---- what is asked

    def _got(self, path: str) -> None:
        if path != "/v1/models":
            raise Refusal(404, "Not Found")
        context = self.stand_in.engine.info.context_length
        models = [{"id": name, "object": "model", "max_model_len": context} for name in self.stand_in.behaviour.models]
        self._json({"object": "list", "data": models})

    def _posted(self, path: str, body: dict[str, Any]) -> None:
        if path in ("/tokenize", "/detokenize") and not self.stand_in.behaviour.tokenises:
            raise Refusal(404, "Not Found")
        if body.get("model") not in (*self.stand_in.behaviour.models, None):
            raise Refusal(404, f"The model `{body['model']}` does not exist.")
        match path:
            case "/tokenize":
                self._tokenize(body)
            case "/detokenize":
                text = self._tokenizer.decode(body["tokens"])
                self._json({"prompt": text})
            case "/v1/chat/completions" | "/v1/completions":
                self._complete(path, body)
            case _:
                raise Refusal(404, "Not Found")

    @property
    def _tokenizer(self) -> Any:
        return self.stand_in.engine.tokenizer._tokenizer

    def _tokenize(self, body: dict[str, Any]) -> None:
        if "messages" in body:
            ids = self._chat_ids(body)
        else:
            ids = self._tokenizer.encode(body["prompt"], add_special_tokens=body.get("add_special_tokens", True))
        strings = self._tokenizer.convert_ids_to_tokens(ids) if body.get("return_token_strs") else None
        context = self.stand_in.engine.info.context_length
        self._json({"count": len(ids), "max_model_len": context, "tokens": ids, "token_strs": strings})

    def _chat_ids(self, body: dict[str, Any]) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            body["messages"], tokenize=False, add_generation_prompt=body.get("add_generation_prompt", True),
            **body.get("chat_template_kwargs", {}),
        )  # fmt: skip
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False)]

    # ---- answers

    def _complete(self, path: str, body: dict[str, Any]) -> None:
        behaviour = self.stand_in.behaviour
        if body.get("stream"):
            self._misbehave(behaviour)
        self._check(body)
        chat = path == "/v1/chat/completions"
        if chat and any(not isinstance(message["content"], str) for message in body["messages"]):
            raise Refusal(400, "At most 0 image(s) may be provided in one prompt.")
        ids = self._chat_ids(body) if chat else self._prompt_ids(body["prompt"])
        context = self.stand_in.engine.info.context_length
        if len(ids) + body["max_tokens"] > context:
            raise Refusal(400, f"This model's maximum context length is {context} tokens.")
        if not body.get("stream"):
            self._json({"choices": [{"index": 0, "text": "a", "finish_reason": "length"}]})
            return
        with self.stand_in.lock:
            self._stream(body, ids, chat)

    def _misbehave(self, behaviour: Behaviour) -> None:
        if behaviour.busy:
            behaviour.busy -= 1
            headers = {"Retry-After": behaviour.retry_after} if behaviour.retry_after is not None else {}
            self._json({"error": {"message": "Too many requests."}}, 429, headers)
            raise BrokenPipeError
        if behaviour.status:
            self._send(behaviour.page.encode(), "text/plain", behaviour.status)
            raise BrokenPipeError
        end = time.monotonic() + behaviour.silent
        while time.monotonic() < end:
            time.sleep(0.02)
            self._check_client()

    def _prompt_ids(self, prompt: str | list[int]) -> list[int]:
        return [int(i) for i in self._tokenizer.encode(prompt)] if isinstance(prompt, str) else prompt

    def _check(self, body: dict[str, Any]) -> None:
        if body.get("temperature", 1) != 1:
            raise Refusal(400, "DiffusionGemma does not support temperature.")
        for name in REFUSED:
            if name in body:
                raise Refusal(400, f"Diffusion models do not support {name}.")
        if type(body.get("max_tokens")) is not int or body["max_tokens"] < 1:
            raise Refusal(400, "max_tokens must be given, and be at least 1.")
        xargs = body.get("vllm_xargs") or {}
        if not self.stand_in.behaviour.takes_canvas:
            return
        self._check_xargs(xargs)

    def _check_xargs(self, xargs: dict[str, Any]) -> None:
        width, vocabulary = self.stand_in.canvas, self.stand_in.engine.info.vocab_size
        for name, value in xargs.items():
            values = value if isinstance(value, list) else [value]
            if name not in XARGS or any(type(v) not in (int, str, float) for v in values):
                raise Refusal(400, f"{name}: Input should be a valid number or string")
        seed, pins = xargs.get("diffusion_seed_canvas"), xargs.get("diffusion_pinned")
        if seed is not None and not all(0 <= i < vocabulary for i in seed):
            raise Refusal(400, f"diffusion_seed_canvas ids must be in [0, {vocabulary}).")
        if seed is not None and len(seed) != width:
            raise Refusal(400, f"diffusion_seed_canvas must hold exactly {width} ids, got {len(seed)}.")
        if pins is not None and seed is None:
            raise Refusal(400, "diffusion_pinned needs a diffusion_seed_canvas to hold.")
        if pins is not None and not all(0 <= place < width for place in pins):
            raise Refusal(400, "diffusion_pinned positions must lie inside the canvas.")
        steps = xargs.get("diffusion_max_steps")
        if steps is not None and (type(steps) is not int or steps < 1):
            raise Refusal(400, "diffusion_max_steps must be a positive integer.")

    def _stream(self, body: dict[str, Any], prompt: list[int], chat: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        behaviour, sent = self.stand_in.behaviour, 0
        if chat:
            self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for number, (ids, finish) in enumerate(self._canvases(body, prompt), 1):
            if behaviour.cut_after is not None and number > behaviour.cut_after:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            sent += len(ids)
            self._event(self._chunk(ids, finish, chat, len(prompt), sent, body))
            if behaviour.malformed is not None:
                self.wfile.write(f"data: {behaviour.malformed}\n\n".encode())
            if behaviour.error is not None:
                self._event({"error": {"message": behaviour.error, "code": 500}})
        self._event({"choices": [], "usage": {"prompt_tokens": len(prompt), "completion_tokens": sent}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(
        self, ids: list[int], finish: str | None, chat: bool, prompt: int, sent: int, body: dict[str, Any]
    ) -> dict[str, Any]:
        behaviour = self.stand_in.behaviour
        text = self.stand_in.engine.decode(ids) if behaviour.answer is None else behaviour.answer
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if behaviour.tells_ids and body.get("return_token_ids") and behaviour.answer is None:
            choice["token_ids"] = ids
        thought = ""
        if behaviour.parses:
            thought, text = text[: len(text) // 2], text[len(text) // 2 :]
        choice |= {"delta": {"content": text, "reasoning": thought}} if chat else {"text": text}
        value: dict[str, Any] = {"choices": [choice]}
        if body.get("stream_options", {}).get("continuous_usage_stats"):
            value["usage"] = {"prompt_tokens": prompt, "completion_tokens": sent}
        return value

    def _event(self, value: Any) -> None:
        self._check_client()
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def _check_client(self) -> None:
        """Whether the client is still there: only a new request, or the end, can be read from it."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise BrokenPipeError

    def _canvases(self, body: dict[str, Any], prompt: list[int]) -> Iterator[tuple[list[int], str | None]]:
        """The tokens of each canvas, as they are emitted, and why the answer ends with the last."""
        engine, left = self.stand_in.engine, int(body["max_tokens"])
        xargs = body.get("vllm_xargs") or {} if self.stand_in.behaviour.takes_canvas else {}
        pins = {place: xargs["diffusion_seed_canvas"][place] for place in xargs.get("diffusion_pinned", ())}
        control = Control()
        for place, token in pins.items():
            control.pin(place, token, 1)
        sampling = Sampling(
            max_new_tokens=left, max_denoising_steps=xargs.get("diffusion_max_steps"), trace_top_k=1 if pins else 0
        )
        last: Step | None = None
        run = engine.session().generate(prompt, sampling, control)
        try:
            for event in run:
                self._check_client()
                if isinstance(event, Step):
                    last = event
                elif isinstance(event, Block):
                    assert last is not None
                    ids = self._emitted(event, last, pins if event.block == 1 else {})
                    ids, left = ids[:left], left - len(ids)
                    ended = bool(ids) and ids[-1] in engine.eos_ids
                    finish = "stop" if ended else "length" if left <= 0 else None
                    yield ids, finish
                    if finish:
                        return
                elif isinstance(event, Done):
                    return
        finally:
            run.close()

    def _emitted(self, block: Block, step: Step, pins: Mapping[int, int]) -> list[int]:
        """The draft, at pinned places what the model itself would put there; up to the end of the answer."""
        if not pins or step.top_ids is None:
            return [int(i) for i in block.tokens.tolist()]
        draft: list[int] = step.draft.tolist()
        for place in pins:
            draft[place] = int(step.top_ids[place, 0])
        ends = [place for place, token in enumerate(draft) if token in self.stand_in.engine.eos_ids]
        return draft[: ends[0] + 1] if ends else draft


def main() -> None:
    """Serves until it is ended: `python -m tests.backends.vllm_server`, with fields of `Behaviour` as JSON."""
    import sys

    behaviour = Behaviour(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"))
    with StandIn(Engine.load("pocket", device="cpu"), behaviour) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
