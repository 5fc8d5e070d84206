"""The command line: what words mean, and one sentence and a code for everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from dgchat import __version__, cli, settings
from dgchat.exits import Exit
from dgchat.inline.answer import Request
from dgchat.settings import Settings
from tests.tui.fakes import Pipe, Tty


@pytest.fixture(autouse=True)
def no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The requests that the command line makes; they are not answered."""
    requests: list[Any] = []

    def answer(request: Request) -> Exit:
        requests.append(request)
        return Exit.FINE

    def chat(settings: Settings, resume: int | None = None, _: object = ()) -> Exit:
        requests.append((settings, resume))
        return Exit.FINE

    monkeypatch.setattr("dgchat.inline.answer.answer", answer)
    monkeypatch.setattr("dgchat.app.chat.chat", chat)
    yield requests


def settings_file(text: str, folder: Path) -> Path:
    path = folder / "dgchat" / "settings.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("args", "prompt"),
    [
        (["Hello"], "Hello"),
        (["Hello", "you"], "Hello you"),
        (["--", "help"], "help"),
        (["--", "config", "the", "server"], "config the server"),
        (["say", "help"], "say help"),
        (["Hello", "--", "--json"], "Hello --json"),
        (["Hello", "--seed", "3", "you"], "Hello you"),
        (["help me"], "help me"),
    ],
)
def test_words_make_the_prompt(asked: list[Request], args: list[str], prompt: str) -> None:
    assert cli.run(args) == 0
    assert [request.prompt for request in asked] == [prompt]


def test_options_reach_the_request(asked: list[Request]) -> None:
    args = "--model m --system s --seed 3 --max-tokens 4 --steps 5 --json -q --device cpu --precision float32 --offline"
    assert cli.run([*args.split(), "--watch", "--thinking", "Hello"]) == 0
    (request,) = asked
    found = request.settings
    assert request.mode == "json"
    assert (found.model, found.system, found.seed, found.max_tokens, found.steps) == ("m", "s", 3, 4, 5)
    assert (found.quiet, found.device, found.precision, found.offline) == (True, "cpu", "float32", True)
    assert found.watch is True and found.thinking is True


def test_no_thinking_wins_over_the_environment(asked: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.run(["Hello"]) == 0
    monkeypatch.setenv("DGCHAT_THINKING", "1")
    assert cli.run(["Hello"]) == 0
    assert cli.run(["--no-thinking", "Hello"]) == 0
    assert [request.settings.thinking for request in asked] == [False, True, False]


def test_no_watch_wins_over_the_environment(asked: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGCHAT_WATCH", "1")
    cli.run(["Hello"])
    cli.run(["--no-watch", "Hello"])
    assert [request.settings.watch for request in asked] == [True, False]


def test_piped_text_is_context(asked: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(b"Some notes.\n"))
    cli.run(["What", "is", "this?"])
    assert asked[0].prompt == "Some notes.\n\nWhat is this?"


def test_alone_on_a_terminal_it_is_a_chat(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(tty=True))
    monkeypatch.setattr("sys.stdout", Pipe(tty=True))
    monkeypatch.setenv("TERM", "xterm-256color")
    assert cli.run(["--seed", "3"]) == 0
    assert cli.run(["history", "resume", "12"]) == 0
    assert [(chosen.seed, resume) for chosen, resume in asked] == [(3, None), (None, 12)]


def test_a_chat_needs_a_terminal(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["history", "resume", "12"]) == 2
    assert cli.run(["history", "resume", "twelve"]) == 2
    assert not asked and "takes the id of a chat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (["--nonsense"], "No such option '--nonsense'", 2),
        (["--seed", "-1", "x"], "Invalid value for '--seed'", 2),
        (["--seed", "many", "x"], "'many' is not a valid integer", 2),
        (["--max-tokens", "0", "x"], "Invalid value for '--max-tokens'", 2),
        (["--steps", "0", "x"], "Invalid value for '--steps'", 2),
        (["--precision", "int2", "x"], "Invalid value for '--precision'", 2),
        (["--model", "", "x"], "--model must be a text that is not empty", 2),
        (["--model"], "Option '--model' requires an argument", 2),
        (["--json", "--events", "x"], "exclude each other", 2),
        (["config", "x"], "takes no words", 2),
        (["completion", "tcsh"], "takes one of bash, zsh, fish", 2),
        (["completion"], "takes one of bash, zsh, fish", 2),
        (["help", "zxqwv"], "says nothing about 'zxqwv'", 2),
        ([], "The prompt is empty", 4),
        ([" "], "The prompt is empty", 4),
        (["\udcff"], "The prompt is not UTF-8", 4),
        (["--system", "\udcff", "x"], "The system prompt is not UTF-8", 4),
        (["--model", "\x1b[31m\nx", "--nonsense=\x1b[2J"], "No such option", 2),
    ],
)
def test_wrong_usage_is_one_sentence(
    asked: list[Request], capsys: pytest.CaptureFixture[str], args: list[str], said: str, code: int
) -> None:
    assert cli.run(args) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("dgchat: ") and err.count("\n") == 1 and said in err
    assert "\x1b" not in err
    assert asked == []


def test_a_chat_is_refused_on_a_terminal_that_can_do_nothing(
    asked: list[Request], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(tty=True))
    monkeypatch.setattr("sys.stdout", Tty())
    monkeypatch.setenv("TERM", "dumb")
    assert cli.run([]) == 2
    assert "TERM=dumb" in capsys.readouterr().err and asked == []


def test_no_prompt_on_a_terminal_with_json_is_refused(
    asked: list[Request], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(tty=True))
    assert cli.run(["--json"]) == 2
    assert "There is no prompt" in capsys.readouterr().err


def test_broken_settings_are_one_sentence(
    asked: list[Request], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings_file("[ui]\nwatch = \n", tmp_path / "config")
    assert cli.run(["Hello"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "not valid TOML" in err and "line 2" in err
    path.write_text("[ui]\nwach = true\n", "utf-8")
    assert cli.run(["Hello"]) == 0
    assert "did you mean ui.watch?" in capsys.readouterr().err
    assert cli.run(["-q", "Hello"]) == 0
    assert capsys.readouterr().err == ""


def test_broken_settings_do_not_keep_the_doctor_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file("model = [", tmp_path / "config")
    seen: list[bool] = []

    def doctor(words: object, as_json: bool, quiet: bool) -> Exit:
        seen.append(quiet)
        return Exit.FINE

    monkeypatch.setattr("dgchat.doctor.doctor", doctor)
    assert cli.run(["doctor", "-q"]) == 0 and seen == [True]
    assert "is not valid TOML" in capsys.readouterr().err


def test_config_shows_values_and_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings_file('[model]\nname = "mine"\n', tmp_path / "config")
    monkeypatch.setenv("DGCHAT_STEPS", "12")
    assert cli.run(["config", "--seed", "5"]) == 0
    rows = {row.split()[0]: row for row in capsys.readouterr().out.splitlines() if row}
    assert '"mine"' in rows["model.name"] and f"file: {path}" in rows["model.name"]
    assert "environment: DGCHAT_STEPS" in rows["sampling.steps"]
    assert "command line" in rows["sampling.seed"]
    assert "default" in rows["ui.watch"]
    assert str(path) in rows["settings"]


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"dgchat {__version__}\n"
    for flag in ("--help", "-h"):
        assert cli.run([flag]) == 0
        out = capsys.readouterr().out
        words = ("Examples:", "cat notes.txt | dgchat", "--watch", "--thinking", "Exit codes:", "dgchat config")
        for word in (*words, "completion", "dgchat bench"):
            assert word in out


def test_the_command_line_and_the_settings_allow_the_same() -> None:
    flags = {parameter.name for parameter in cli.command.params if isinstance(parameter, click.Option)}
    only_in_the_file = {"theme", "pace", "colors", "motion", "history"}
    assert {setting.field for setting in settings.SETTINGS} - only_in_the_file <= flags


def test_help_prints_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["help"]) == 0
    assert "COMMANDS" in capsys.readouterr().out
    assert cli.run(["help", "exit", "codes"]) == 0
    out = capsys.readouterr().out
    assert "141" in out and "\x1b" not in out
