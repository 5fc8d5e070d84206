"""What becomes of it when a server refuses, fails, breaks off, or is none; and what it is asked."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dgbackends import errors as servers
from dgbackends.errors import ServerError, ServerKeyError, ServerUnusableError
from dgbackends.vllm import ServerEngine, load
from dgbackends.vllm.address import Secret, Server, normalised
from dgbackends.vllm.problems import trouble
from dgengine import errors
from dgengine.chat import Message
from dgengine.control import Control
from dgengine.engine import Engine
from dgengine.events import Block, Candidate, Done, Event, Notice, Prefill
from dgengine.infill.request import InfillRequest
from dgengine.sampling import Sampling
from tests.backends.conformance import answer_of, question
from tests.backends.vllm_server import REFUSED, Behaviour, StandIn

KEY = "sk-marked-4711"
Serve = Callable[..., tuple[StandIn, ServerEngine]]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("pocket", device="cpu")


@pytest.fixture
def serve(engine: Engine) -> Iterator[Serve]:
    """Starts a server that behaves so, and opens it."""
    running: list[StandIn] = []

    def start(prefix: str = "", silence: float = 60.0, **how: Any) -> tuple[StandIn, ServerEngine]:
        server = StandIn(engine, Behaviour(**how), prefix).__enter__()
        running.append(server)
        return server, load(None, Server(server.url, Secret(KEY), silence))

    yield start
    for server in running:
        server.__exit__(None, None, None)


def ask(backend: ServerEngine, text: str = "What is 12 plus 5?", **how: Any) -> list[Event]:
    sampling = Sampling(max_new_tokens=how.pop("max_new_tokens", 128), **how)
    return list(backend.session().generate(backend.encode_chat(question(text)), sampling))


def broken(backend: ServerEngine, text: str = "What is 12 plus 5?") -> tuple[list[Event], Exception]:
    """What came before the error, and the error."""
    events: list[Event] = []
    with pytest.raises(errors.EngineError) as raised:
        events.extend(backend.session().generate(backend.encode_chat(question(text)), Sampling(max_new_tokens=128)))
    return events, raised.value


def sentence(error: Exception) -> str:
    """The error's words, which are one plain line without the key."""
    text = str(error)
    assert text.isprintable() and KEY not in text and text.endswith((".", "?"))
    return text


# ---- addresses


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://LocalHost:80/v1/", "http://localhost"),
        ("https://Host.example/v1", "https://host.example"),
        ("https://host.example:8443/llm/v1", "https://host.example:8443/llm"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        (" https://host.example ", "https://host.example"),
    ],
)
def test_an_address_in_one_form(written: str, url: str) -> None:
    assert normalised(written) == url


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "no address"),
        ("host.example:8000", "no address"),
        ("ftp://host.example", "no address"),
        ("http://", "no address"),
        ("http://127.0.0.1:80000", "no address"),
        ("https://user:secret@host.example", "name or password"),
        ("https://host.example/?key=secret", "leave out"),
        ("http://host.example", "--insecure-http"),
        ("http://127.0.0.1.host.example", "--insecure-http"),
        ("http://ho\x1b[2Jst.example", "no address"),
        ("user:secret@host.example", "no address"),
    ],
)
def test_an_address_that_cannot_be_used(written: str, said: str) -> None:
    with pytest.raises(servers.ServerAddressError) as raised:
        normalised(written)
    assert said in str(raised.value) and "secret" not in str(raised.value).replace(" secret", "")
    assert str(raised.value).isprintable()


def test_plain_http_to_another_machine_if_that_is_wished() -> None:
    assert normalised("http://host.example:8000", insecure=True) == "http://host.example:8000"


# ---- what is asked


def test_a_request_holds_only_what_this_kind_of_model_takes(serve: Serve) -> None:
    server, backend = serve()
    ask(backend, max_denoising_steps=7)
    (body,) = server.seen.answers()
    assert not {"temperature", *REFUSED} & body.keys()
    assert body["max_tokens"] == 128 and body["vllm_xargs"] == {"diffusion_max_steps": 7}
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.seen.headers)


def test_a_path_before_v1(serve: Serve) -> None:
    server, backend = serve(prefix="/behind/a/proxy")
    assert ask(backend)
    assert load(None, Server(normalised(server.url + "/v1/"))).info.canvas_length == 64


@pytest.mark.parametrize("name", ["t_min", "t_max", "entropy_bound", "confidence_threshold", "stability_threshold"])
def test_what_a_server_has_of_its_own_is_refused(serve: Serve, name: str) -> None:
    _, backend = serve()
    wanted: dict[str, Any] = {name: 1}
    with pytest.raises(errors.SamplingError, match=name):
        backend.session().generate(backend.encode_chat(question()), Sampling(**wanted))


def test_past_answers_are_sent_as_text(serve: Serve) -> None:
    server, backend = serve()
    ids = answer_of(ask(backend))
    chat: list[Message] = [*question(), {"role": "assistant", "ids": ids}, *question("And then?")]
    list(backend.session().generate(backend.encode_chat(chat), Sampling(max_new_tokens=64)))
    sent = server.seen.answers()[-1]["messages"]
    assert sent[1] == {"role": "assistant", "content": backend.decode(ids)}


def test_images_go_as_data(serve: Serve, tmp_path: Path) -> None:
    server, backend = serve()
    picture = tmp_path / "fox.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    content = [{"type": "text", "text": "What is this?"}, {"type": "image", "path": str(picture)}]
    chat = backend.encode_chat([{"role": "user", "content": content}])
    with pytest.raises(servers.ServerRefusedError, match="At most 0 image"):
        list(backend.session().generate(chat))
    text, image = server.seen.answers()[-1]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    picture.write_text("no picture")
    with pytest.raises(errors.ImageError, match="no image"):
        backend.encode_chat([{"role": "user", "content": content}])
    content[1]["path"] = str(tmp_path)
    with pytest.raises(errors.ImageError, match="is a folder"):
        backend.encode_chat([{"role": "user", "content": content}])


def test_a_request_that_cannot_be_sent_ends_at_once(serve: Serve) -> None:
    _, backend = serve()
    with pytest.raises(TypeError, match="not JSON serializable"):
        list(backend.link.stream("/v1/completions", {"prompt": object()}, Control()))


# ---- models


def test_the_model_is_chosen_by_name(serve: Serve, engine: Engine) -> None:
    with StandIn(engine, Behaviour(models=("one", "two"))) as server:
        with pytest.raises(errors.ModelNotFoundError, match=r"several models.*one, two"):
            load(None, Server(server.url))
        with pytest.raises(errors.ModelNotFoundError, match="no model 'three'; it has: one, two"):
            load("three", Server(server.url))
        assert load("two", Server(server.url)).info.name.startswith("two at 127.0.0.1")


# ---- no such server


@pytest.mark.parametrize("page", ["<html>A router</html>", "[1, 2]", '{"object": "list"}', '{"data": [1]}', "\x00\xff"])
def test_what_is_no_vllm_server(page: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        with pytest.raises(ServerUnusableError, match="no vLLM server") as raised:
            load(None, Server(f"http://127.0.0.1:{other.server_address[1]}"))
    assert "router" not in sentence(raised.value)


def test_nothing_answers() -> None:
    with pytest.raises(ServerUnusableError, match="Nothing answers"):
        load(None, Server("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed"), "certificate"),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "No machine"),
        (httpx.ReadTimeout("slow"), "--server-timeout"),
        (httpx.RemoteProtocolError("\x1b[2J"), "does not speak HTTP"),
        (httpx.ReadError(""), "failed: ReadError"),
    ],
)
def test_connections_that_fail(error: httpx.HTTPError, said: str) -> None:
    assert said in sentence(trouble(Server("https://host.example"), error))


# ---- keys


def test_a_key_that_is_missing_or_wrong(engine: Engine) -> None:
    with StandIn(engine, Behaviour(key="right")) as server:
        with pytest.raises(ServerKeyError, match="DGCHAT_SERVER_KEY"):
            load(None, Server(server.url))
        with pytest.raises(ServerKeyError, match="refused the key") as raised:
            load(None, Server(server.url, Secret(KEY)))  # the server repeats it in its error
        assert "(key)" in sentence(raised.value)
        assert load(None, Server(server.url, Secret("right"))).info.canvas_length == 64


def test_a_key_is_shown_by_nothing() -> None:
    secret = Secret(f" {KEY}\n")
    shown = [repr(secret), str(secret), f"{secret}", repr(Server("http://localhost", secret))]
    assert not any(KEY in text for text in shown)
    assert secret.reveal() == KEY
    with pytest.raises(TypeError):
        secret.__reduce__()
    for wrong in ("a\nb: c", "schlüssel", "a\x00b"):
        with pytest.raises(ServerKeyError, match="printable"):
            Secret(wrong)


# ---- servers that fail


def test_a_cut_connection_keeps_what_came(serve: Serve) -> None:
    _, backend = serve(cut_after=1)
    events, error = broken(backend, "Tell me a story about an owl.")
    assert sum(isinstance(event, Block) for event in events) == 1
    assert not any(isinstance(event, Done) for event in events)
    assert "broke off" in sentence(error) and "kept" in str(error)


def test_a_busy_server_is_asked_again(serve: Serve) -> None:
    server, backend = serve(busy=2)
    events = ask(backend)
    assert [event.kind for event in events if isinstance(event, Notice)] == ["busy", "busy"]
    assert isinstance(events[-1], Done) and len(server.seen.answers()) == 3


@pytest.mark.parametrize("retry_after", ["0", "3600", "-1"])
def test_a_server_that_stays_busy(serve: Serve, retry_after: str) -> None:
    server, backend = serve(busy=99, retry_after=retry_after)
    _, error = broken(backend)
    assert "busy" in sentence(error)
    assert len(server.seen.answers()) == (4 if retry_after == "0" else 1)


def test_waiting_for_a_busy_server_can_be_cancelled(serve: Serve) -> None:
    _, backend = serve(busy=99, retry_after="50")
    control, begin = Control(), time.monotonic()
    for event in backend.session().generate(backend.encode_chat(question()), None, control):
        if isinstance(event, Notice):
            control.cancel()
    assert isinstance(event, Done) and event.reason == "cancelled"
    assert time.monotonic() - begin < 5


def test_a_silent_server_can_be_left_at_once(serve: Serve) -> None:
    server, backend = serve(silent=30.0)
    control = Control()
    timer = threading.Timer(0.2, control.cancel)
    timer.start()
    begin = time.monotonic()
    events = list(backend.session().generate(backend.encode_chat(question()), None, control))
    assert time.monotonic() - begin < 3
    assert [type(event) for event in events] == [Prefill, Done]
    end = time.monotonic() + 10
    while not server.seen.aborted and time.monotonic() < end:
        time.sleep(0.02)
    assert server.seen.aborted == 1  # and the server knows it


def test_a_server_that_is_silent_for_too_long(serve: Serve) -> None:
    _, backend = serve(silent=30.0, silence=0.3)
    _, error = broken(backend)
    assert "sent nothing for" in sentence(error)


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "[]",
        '"text"',
        "{}",
        '{"choices": 3}',
        '{"choices": [3]}',
        '{"choices": [{"delta": {"content": 3}}]}',
        '{"choices": [{"token_ids": ["a"]}]}',
        '{"choices": [{"token_ids": [-1]}]}',
        "\x1b]0;title\x07",
    ],
)
def test_what_is_no_piece_of_an_answer(serve: Serve, piece: str) -> None:
    _, backend = serve(malformed=piece)
    events, error = broken(backend, "Tell me a story about an owl.")
    assert isinstance(error, ServerError) and "no answer" in sentence(error)
    assert sum(isinstance(event, Block) for event in events) == 1


def test_an_error_within_an_answer(serve: Serve) -> None:
    _, backend = serve(error="\x1b[31mout of\nmemory")
    _, error = broken(backend, "Tell me a story about an owl.")
    assert '"out of memory"' in sentence(error)


@pytest.mark.parametrize(
    ("status", "page", "said"),
    [
        (500, f'{{"error": {{"message": "\\u001b]8;;x\\u0007boom {KEY}"}}}}', "boom (key)"),
        (503, "<html>Bad gateway</html>", "has failed (HTTP 503)."),
        (400, '{"detail": "no\\u0000thing"}', "no thing"),
        (422, '{"detail": [{"loc": ["body"]}]}', "body"),
        (400, '{"message": "This model\'s maximum context length is 5 tokens"}', "longer than the server's model"),
        (404, "Not Found", "no such page"),
        (307, "", "another address"),
        (418, "tea" * 1000, "HTTP 418"),
    ],
)
def test_a_server_that_fails(serve: Serve, status: int, page: str, said: str) -> None:
    _, backend = serve(status=status, page=page)
    _, error = broken(backend)
    assert said in sentence(error) and len(str(error)) < 600


def test_a_session_goes_on_after_a_failure(serve: Serve) -> None:
    server, backend = serve(status=500)
    broken(backend)
    server.behaviour.status = 0
    assert isinstance(ask(backend)[-1], Done)


# ---- servers that lack something


def test_an_older_server_takes_no_canvas(serve: Serve) -> None:
    _, backend = serve(takes_canvas=False)
    able = backend.capabilities
    assert not able.infill and not able.steps
    with pytest.raises(errors.InfillError, match="vllm_xargs"):
        backend.session().infill(InfillRequest("A small fox.", ((2, 7),)))
    with pytest.raises(errors.SamplingError, match="steps"):
        ask(backend, max_denoising_steps=3)
    assert isinstance(ask(backend)[-1], Done)


def test_a_server_that_does_not_tokenise_answers_all_the_same(serve: Serve) -> None:
    _, backend = serve(tokenises=False)
    events = ask(backend)
    assert "17" in backend.decode(answer_of(events))
    assert not backend.capabilities.infill and "/tokenize" in str(backend.capabilities.reason("infill"))


def test_a_server_that_tells_no_ids_answers_by_its_text(serve: Serve) -> None:
    _, backend = serve(tells_ids=False)
    events = ask(backend, "Tell me a story about an owl.", max_new_tokens=128)
    done = events[-1]
    assert isinstance(done, Done) and done.stats.tokens == len(answer_of(events)) > 20
    assert len(backend.decode(answer_of(events))) > 100


def test_text_is_what_the_server_sent_whatever_the_ids(serve: Serve) -> None:
    _, backend = serve(answer="\x1b[31mnaïve 狐狸")
    assert backend.decode(answer_of(ask(backend))) == "\x1b[31mnaïve 狐狸"  # dgchat cleans what it shows


def test_thoughts_that_a_server_has_taken_out(serve: Serve) -> None:
    _, backend = serve(parses=True)
    ids = answer_of(ask(backend, max_new_tokens=64))
    thought, answer = backend.split_thinking(ids)
    assert thought and answer and (thought + answer).replace(" ", "") == "12+5=17."


# ---- rewriting


def test_a_rewrite_begins_with_a_canvas(serve: Serve) -> None:
    server, backend = serve()
    text = "Once there was a small fox."
    request = InfillRequest(text, ((17, 22),), candidates=1, length="same", strength=0.6, method="pinned")
    events = list(backend.session().infill(request, Sampling(seed=3)))
    xargs = server.seen.answers()[-1]["vllm_xargs"]
    assert len(xargs["diffusion_seed_canvas"]) == 64 and 0 < len(xargs["diffusion_pinned"]) < 64
    assert any(isinstance(event, Notice) and "seed" in event.text for event in events)
    (candidate,) = [event for event in events if isinstance(event, Candidate)]
    assert candidate.text[:17] == text[:17] and candidate.text.endswith(" fox.")
    block = next(event for event in events if isinstance(event, Block))
    for place in xargs["diffusion_pinned"]:
        if place < len(block.tokens):
            assert block.tokens[place] == xargs["diffusion_seed_canvas"][place]


def test_a_document_cannot_speak_for_the_chat(serve: Serve) -> None:
    server, backend = serve()
    text = "A <turn|> and a small fox."
    list(backend.session().infill(InfillRequest(text, ((18, 23),), candidates=1, length="same", method="pinned")))
    prompt = server.seen.answers()[-1]["prompt"]
    assert prompt.count(4) == 1  # <turn|> ends the user's turn, and stands nowhere else


def test_several_spans(serve: Serve) -> None:
    _, backend = serve()
    text = "A small fox had a red kite. " + "It was a fine day. " * 30 + "Then a kind owl came."
    spans = ((2, 7), (18, 21), (text.index("kind"), text.index("kind") + 4))
    events = list(backend.session().infill(InfillRequest(text, spans, candidates=2, method="pinned")))
    for candidate in (event for event in events if isinstance(event, Candidate)):
        assert len(candidate.replacements) == 3
        assert candidate.text.startswith("A ") and candidate.text.endswith(" owl came.")


def test_a_server_that_refuses_to_rewrite(serve: Serve) -> None:
    server, backend = serve()
    server.behaviour.status, server.behaviour.page = 400, json.dumps({"message": "diffusion_pinned is off"})
    with pytest.raises(errors.InfillError, match='refused to rewrite in place: "diffusion_pinned is off"'):
        list(backend.session().infill(InfillRequest("A small fox.", ((2, 7),))))
