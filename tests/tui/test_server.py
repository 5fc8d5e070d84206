"""A server as the engine: which one is asked, its key, and what the program shows of what it cannot do."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as FailKeyring
from textual.widgets import Static

from dgbackends.errors import ServerUnusableError
from dgbackends.vllm.address import Secret
from dgchat import cli, server_keys
from dgchat.app.panel import Panel
from dgchat.editor.app import EditorApp
from dgchat.editor.files import TextFile
from dgchat.editor.proposals import Proposals
from dgchat.exits import Failure
from dgchat.inline.answer import TextWriter
from dgchat.notes import Notes
from dgchat.opening import Plan, planned, server_of
from dgchat.settings import Settings, load
from dgengine import Capabilities
from dgengine.engine import Engine
from tests.backends.vllm_server import Behaviour, StandIn
from tests.tui.app.play import app_of, ready
from tests.tui.editor import editing
from tests.tui.fakes import FakeEngine, Pipe

KEY = "sk-marked-4711"


def settings(flags: dict[str, Any] | None = None, file: Path | None = None) -> Settings:
    return load(flags or {}, {}, file or Path("/nowhere/settings.toml"))


# ---- which engine


@pytest.mark.parametrize(
    ("flags", "environ", "plan"),
    [
        ({}, {}, Plan("embedded", "pocket")),
        ({"backend": "transformers", "model": "nvfp4"}, {}, Plan("transformers", "nvfp4")),
        ({"server": "http://localhost:1"}, {}, Plan("vllm", None, "http://localhost:1")),
        ({"server": "http://localhost:1", "model": "m"}, {}, Plan("vllm", "m", "http://localhost:1")),
        ({"server": "http://localhost:1", "backend": "vllm"}, {}, Plan("vllm", None, "http://localhost:1")),
        ({}, {"DGCHAT_SERVER": "http://localhost:1"}, Plan("vllm", None, "http://localhost:1")),
        ({"server": "http://localhost:1"}, {"DGCHAT_MODEL": "m"}, Plan("vllm", None, "http://localhost:1")),
        ({"backend": "embedded"}, {"DGCHAT_SERVER": "http://localhost:1"}, Plan("embedded", "pocket")),
        ({}, {"DGCHAT_BACKEND": "mlx"}, Plan("mlx", "pocket")),
    ],
)
def test_what_was_said_more_closely_wins(flags: dict[str, Any], environ: dict[str, str], plan: Plan) -> None:
    assert planned(load(flags, environ, Path("/nowhere/settings.toml"))) == plan


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"backend": "vllm"}, "--server URL"),
        ({"server": "http://localhost:1", "backend": "mlx"}, "leave one of --server and --backend out"),
        ({"server": "http://localhost:1", "device": "cpu"}, "--device means nothing to a server"),
        ({"server": "http://localhost:1", "context": 4096}, "--context means nothing to a server"),
    ],
)
def test_what_does_not_go_together(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(Failure, match=said):
        planned(settings(flags))


def test_a_file_may_name_a_server_and_another_engine(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[model]\nbackend = "embedded"\ndevice = "cpu"\n[server]\nurl = "http://localhost:1"\n')
    assert planned(settings(file=file)) == Plan("embedded", "pocket")
    assert planned(settings({"server": "http://localhost:2"}, file)) == Plan("vllm", None, "http://localhost:2")


def test_a_server_of_another_machine_is_on_the_network() -> None:
    with pytest.raises(Failure, match="offline"):
        server_of(settings({"offline": True}), "https://host.example")
    assert server_of(settings({"offline": True}), "http://localhost:1").url == "http://localhost:1"
    with pytest.raises(Failure, match="--insecure-http"):
        server_of(settings(), "http://host.example")
    assert server_of(settings({"insecure_http": True}), "http://host.example").url == "http://host.example"


def test_what_holds_of_a_server_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--server", f"https://{KEY}@host.example", "config"]) == 0
    rows = capsys.readouterr().out
    assert "server.url" in rows and "server.insecure_http" in rows and "model.backend" in rows and KEY not in rows


def test_wrong_combinations_are_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())
    assert cli.run(["--server", "http://localhost:1", "--backend", "mlx", "Hello"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.run(["--server", f"https://u:{KEY}@host.example", "Hello"]) == 2
    assert KEY not in capsys.readouterr().err


# ---- keys


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 5

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture
def ring() -> Iterator[Ring]:
    before, ring = keyring.get_keyring(), Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_keys_are_kept_listed_and_removed(ring: Ring, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(f"{KEY}\n".encode()))
    assert cli.run(["key", "set", "https://Host.example/v1"]) == 0
    assert ring.held["dgchat", "https://host.example"] == KEY
    assert cli.run(["key", "list"]) == 0
    said = capsys.readouterr()
    assert said.out == "https://host.example\n" and KEY not in said.err
    key = server_keys.key_for("https://host.example")
    assert isinstance(key, Secret) and key.reveal() == KEY
    assert server_keys.key_for("https://other.example") is None  # a key goes to its own server alone
    assert cli.run(["key", "rm", "https://host.example"]) == 0
    assert cli.run(["key", "rm", "https://host.example"]) == 4
    assert cli.run(["key", "list"]) == 0
    assert server_keys.key_for("https://host.example") is None
    assert "host.example" not in capsys.readouterr().out


def test_the_environment_comes_before_the_keyring(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    server_keys.keep("https://host.example", "other")
    monkeypatch.setenv("DGCHAT_SERVER_KEY", KEY)
    key = server_keys.key_for("https://host.example")
    assert key is not None and key.reveal() == KEY
    assert not load({}).warnings


@pytest.mark.parametrize(
    ("words", "typed", "said", "code"),
    [
        (["key"], "", "set URL, rm URL or list", 2),
        (["key", "set", "https://host.example", KEY], "", "not given as a word", 2),
        (["key", "set", "https://host.example"], "", "There is no key", 4),
        (["key", "set", "https://host.example"], "schlüssel\n", "printable", 4),
        (["key", "set", "https://host.example"], "a" * 9000, "longer than", 4),
        (["key", "set", "nonsense"], "a\n", "no address", 2),
    ],
)
def test_what_dgchat_key_refuses(
    ring: Ring, words: list[str], typed: str, said: str, code: int, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(typed.encode()))
    assert cli.run(words) == code
    error = capsys.readouterr().err
    assert said in error and KEY not in error
    assert not ring.held


def test_without_a_keyring_the_variable_is_named(capsys: Any, monkeypatch: Any) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(FailKeyring())  # type: ignore[no-untyped-call]
    try:
        monkeypatch.setattr("sys.stdin", Pipe(f"{KEY}\n".encode()))
        for words in (["set", "https://host.example"], ["rm", "https://host.example"], ["list"]):
            assert cli.run(["key", *words]) == 1
            assert "DGCHAT_SERVER_KEY" in capsys.readouterr().err
        assert server_keys.key_for("https://host.example") is None
    finally:
        keyring.set_keyring(before)


def test_no_key_is_asked_for_that_cannot_be_kept(capsys: Any, monkeypatch: Any) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("the key was asked for")

    monkeypatch.setattr("dgchat.key_command._read", asked)

    def broken() -> object:
        raise ModuleNotFoundError("no such back end")

    for opened in (broken, FailKeyring):
        monkeypatch.setattr(keyring, "get_keyring", opened)
        assert cli.run(["key", "set", "https://host.example"]) == 1
        assert "DGCHAT_SERVER_KEY" in capsys.readouterr().err


def test_an_address_that_may_hold_a_key_is_not_shown() -> None:
    assert planned(settings({"server": "http://127.0.0.1:8000"})).label == "http://127.0.0.1:8000"
    assert KEY not in planned(settings({"server": f"https://u:{KEY}@host.example"})).label


def test_a_keyring_that_fails_does_not_tell_the_key(ring: Ring, capsys: Any, monkeypatch: Any) -> None:
    def broken(service: str, username: str, password: str) -> None:
        raise RuntimeError(f"cannot keep {password}")

    monkeypatch.setattr(ring, "set_password", broken)
    monkeypatch.setattr("sys.stdin", Pipe(f"{KEY}\n".encode()))
    assert cli.run(["key", "set", "https://host.example"]) == 1
    assert KEY not in capsys.readouterr().err


def test_that_a_server_is_busy_is_said_while_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("sys.stdin", Pipe(b""))
    monkeypatch.setattr(Notes, "say", lambda _, text: said.append(f"note: {text}"))
    monkeypatch.setattr(TextWriter, "take", lambda _, event: said.append(type(event).__name__))
    with StandIn(Engine.load("pocket", device="cpu"), Behaviour(busy=1)) as server:
        assert cli.run(["--server", server.url, "What is 12 plus 5?"]) == 0
    assert said.index("note: The server is busy; it is asked again in 0 s.") < said.index("Block")


@pytest.mark.slow
def test_the_key_is_in_nothing_that_the_program_writes(
    command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    written = io.BytesIO()
    environment = {**environment, "DGCHAT_SERVER_KEY": KEY}
    with StandIn(Engine.load("pocket", device="cpu"), Behaviour(key=KEY)) as server:
        ask = ["--server", server.url, "What is 12 plus 5?"]
        runs: list[tuple[list[str], Behaviour, int]] = [
            (ask, Behaviour(key=KEY), 0),
            (["--json", *ask], Behaviour(key=KEY), 0),
            (["--events", *ask], Behaviour(key=KEY), 0),
            (["--server", server.url, "config"], Behaviour(key=KEY), 0),
            (ask, Behaviour(key="another"), 3),  # it repeats the key in its error
            (ask, Behaviour(key=KEY, status=500, page=f"broken: {KEY}"), 1),
            (ask, Behaviour(key=KEY, malformed=KEY), 1),
            (["--model", KEY, *ask], Behaviour(key=KEY), 3),
        ]
        for debug in ("", "1"):
            for words, behaviour, code in runs:
                server.behaviour = behaviour
                run = subprocess.run(
                    [*command, *words], env={**environment, "DGCHAT_DEBUG": debug}, capture_output=True,
                    stdin=subprocess.DEVNULL, check=False,
                )  # fmt: skip
                assert run.returncode == code, run.stderr
                written.write(b"" if KEY in words else run.stdout + run.stderr)
    files = [Path(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    assert KEY.encode() not in written.getvalue()
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


# ---- what it cannot do


class ServerLike(FakeEngine):
    """An engine without steps, as a server is."""

    @property
    def capabilities(self) -> Capabilities:
        why = {"drafts": "A server sends whole blocks.", "infill": "This server is too old to rewrite."}
        return Capabilities(drafts=False, acceptance=False, pins=False, limits=False, infill=False, why_not=why)


async def test_the_chat_offers_only_what_there_is() -> None:
    app = app_of(ServerLike("Hello."))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        shown = {binding.binding.action for binding in app.screen.active_bindings.values()}
        assert not {"watch", "mode", "canvas", "rewrite"} & shown and "stop" in shown
        panel = app.chat.query_one(Panel)
        assert "whole blocks" in str(panel.query_one("#figures", Static).render())
        assert not panel.query_one("#legend").display
        for command, said in (("/watch", "whole blocks"), ("/rewrite", "too old")):
            app.chat.composer.fill(command)
            await pilot.press("enter")
            await pilot.pause()
            assert said in str(app.chat.query_one("#status", Static).render())


async def test_the_editor_says_why_it_cannot_rewrite(tmp_path: Path) -> None:
    path = tmp_path / "story.md"
    path.write_text(editing.STORY)
    async with editing.editor_of(path, ServerLike()).run_test(size=(100, 30)) as pilot:
        await editing.ready(pilot)
        editing.select(pilot.app, *editing.FOUND)
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert "too old to rewrite" in editing.status(pilot.app)


async def test_the_editor_names_the_server_also_where_that_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "story.md"
    path.write_text(editing.STORY)

    def fails(*_: object, **__: object) -> Engine:
        raise ServerUnusableError("Nothing answers.")

    app = EditorApp(TextFile.open(path), load({"server": "http://127.0.0.1:9"}, {}), fails)
    async with app.run_test(size=(100, 30)) as pilot:
        await editing.until(pilot, lambda: app.editor.unloaded)
        await pilot.pause()
        assert str(app.editor.query_one("#title", Static).content).endswith("· http://127.0.0.1:9")
        assert "loading" not in editing.status(app)


@pytest.mark.slow
async def test_the_editor_rewrites_by_a_server(tmp_path: Path) -> None:
    path = tmp_path / "story.md"
    path.write_text(editing.STORY)
    with StandIn(Engine.load("pocket", device="cpu")) as server:
        app = EditorApp(TextFile.open(path), load({"server": server.url}, {}))
        async with app.run_test(size=(100, 30)) as pilot:
            await editing.ready(pilot)
            editing.select(app, *editing.FOUND)
            await pilot.press("ctrl+r", "enter")
            await editing.until(pilot, lambda: editing.screen(app).query(Proposals))
            await pilot.press("enter")
            await pilot.pause()
            text = editing.area(app).document.text
    first, last = editing.STORY.split("found a lantern near the river")
    assert text.startswith(first) and text.endswith(last)
