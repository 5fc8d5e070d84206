"""The program as its user meets it: a real (tiny, random) model, pipes, a terminal, signals, and bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from dgchat.notes import default_model_note
from tests.engine.tiny import tiny_chat_checkpoint
from tests.tui.fakes import Pipe
from tests.tui.screen import Screen
from tests.tui.test_sanitize import is_safe

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from tests.tui.program import WAIT, Terminal

LONG = ["--max-tokens", "400", "--steps", "400"]
SHORT = ["--max-tokens", "8", "--steps", "6", "--seed", "1"]


@pytest.fixture(autouse=True)
def no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())


@pytest.fixture(scope="module")
def model() -> str:
    return str(tiny_chat_checkpoint())


@pytest.fixture
def dgchat(command: list[str], environment: dict[str, str]) -> Any:
    """Runs the program to its end: `dgchat(*args, stdin=b"")`."""

    def run(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*command, *args], input=stdin, env=environment, capture_output=True, timeout=WAIT)
        return subprocess.CompletedProcess(args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def one_sentence(err: str) -> bool:
    return err.startswith("dgchat: ") and err.count("\n") == 1 and is_safe(err) and "Traceback" not in err


def test_an_answer_on_a_pipe_is_text_alone(dgchat: Any, model: str) -> None:
    done = dgchat("--model", model, *SHORT, "--watch", "--quiet", "Hello", stdin=b"Some notes.\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert is_safe(done.stdout)


def test_json_is_reproducible(dgchat: Any, model: str) -> None:
    first, again = (dgchat("--model", model, *SHORT, "--json", "Hello") for _ in range(2))
    result = json.loads(first.stdout)
    assert result["text"] == json.loads(again.stdout)["text"]
    assert (result["model"], result["seed"]) == (model, 1)
    assert result["stats"]["tokens"] >= 1


@contextmanager
def on_pipes(
    command: list[str], environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
    """The program while it runs, its stdout and its stderr."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        yield process, process.stdout, process.stderr


def test_a_closed_pipe(command: list[str], environment: dict[str, str], model: str) -> None:
    with on_pipes([*command, "--model", model, *LONG, "--events", "Hello"], environment) as (process, out, err):
        assert json.loads(out.readline())["event"] == "prefill"
        out.close()
        assert process.wait(WAIT) == 141
        assert err.read() == b""


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_pipe_that_was_closed_before_the_answer(
    command: list[str], environment: dict[str, str], model: str, form: list[str]
) -> None:
    with on_pipes([*command, "--model", model, *SHORT, *form, "--quiet", "Hello"], environment) as (process, out, err):
        out.close()
        assert process.wait(WAIT) == 141
        assert err.read() == b""


def test_ctrl_c_where_nothing_is_watched(command: list[str], environment: dict[str, str], model: str) -> None:
    program = [*command, "--model", model, *LONG, "--events", "--quiet", "Hello"]
    with on_pipes(program, environment) as (process, out, err):
        while json.loads(out.readline())["event"] != "step":
            pass
        process.send_signal(signal.SIGINT)
        lines = out.read().decode().splitlines()
        assert process.wait(WAIT) == 130
        assert all(json.loads(line) for line in lines)  # none is cut off
        assert err.read().decode() == "dgchat: Stopped.\n"


def test_watching_leaves_the_text(command: list[str], environment: dict[str, str], model: str) -> None:
    args = ["--model", model, *SHORT, "--quiet", "Hello"]
    plain = subprocess.run([*command, *args], env=environment, capture_output=True, timeout=WAIT, check=True)
    terminal = Terminal([*command, *args, "--watch"], environment)
    assert terminal.close() == 0
    assert "\x1b[?25l" in terminal.output and "step 1 of 6" in terminal.output
    screen = Screen().feed(terminal.output.replace("\r\n", "\n"))
    assert "".join(screen.text().split()) == "".join(plain.stdout.decode().split())
    assert screen.cursor_shown and screen.wraps


def test_ctrl_c_restores_the_terminal(command: list[str], environment: dict[str, str], model: str) -> None:
    terminal = Terminal([*command, "--model", model, *LONG, "--watch", "Hello"], environment)
    terminal.until(lambda output: "step 3 of" in output)
    terminal.resize(50, 20)
    terminal.send("typed ahead\r")
    terminal.until(lambda output: "step 6 of" in output)
    assert not terminal.echoes()
    terminal.send("\x03")
    assert terminal.close() == 130
    assert "typed ahead" not in terminal.output
    assert terminal.echoed_at_end
    assert terminal.output.rstrip().endswith("dgchat: Stopped.")
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
    assert terminal.output.rindex("\x1b[?7h") > terminal.output.rindex("\x1b[?7l")
    assert "Traceback" not in terminal.output


def test_sigterm_restores_the_terminal(command: list[str], environment: dict[str, str], model: str) -> None:
    terminal = Terminal([*command, "--model", model, *LONG, "--watch", "Hello"], environment)
    terminal.until(lambda output: "step 3 of" in output)
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.close() == 143
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_the_chat_opens_answers_and_quits_while_a_block_waits(
    command: list[str], environment: dict[str, str], model: str
) -> None:
    terminal = Terminal([*command, "--model", model, *SHORT], environment)
    terminal.until(lambda output: "ready" in output)
    terminal.send("Hello\r")
    terminal.until(lambda output: "did not settle in 6 steps" in output)  # a random model never settles
    terminal.send("\x11")  # Ctrl+Q
    assert terminal.close() == 0
    assert "Traceback" not in terminal.output
    assert terminal.output.rindex("\x1b[?1049l") > terminal.output.rindex("\x1b[?1049h")


@pytest.fixture
def broken(model: str, tmp_path: Path) -> Path:
    """A copy of the model, to be broken."""
    return Path(shutil.copytree(model, tmp_path / "broken"))


def test_a_model_that_is_not_there(dgchat: Any) -> None:
    done = dgchat("--model", "no-such-model", "--offline", "Hello")
    assert done.returncode == 3 and one_sentence(done.stderr) and "no-such-model" in done.stderr
    assert done.stdout == ""


BROKEN = {
    "no config": ("config.json", None, "config.json"),
    "no weights": ("model.safetensors", None, "safetensors"),
    "truncated weights": ("model.safetensors", lambda data: data[: len(data) // 2], "safetensors"),
    "corrupted weights": ("model.safetensors", lambda data: b"\xff" * 64 + data[64:], "safetensors"),
    "config that is no JSON": ("config.json", lambda _: b"{", "config.json"),
    "tokenizer that is no JSON": ("tokenizer.json", lambda _: b"{", "tokenizer.json"),
    "another architecture": (
        "config.json",
        lambda _: b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}',
        "llama",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_model_that_cannot_be_used(broken: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    from dgchat import cli

    name, change, said = BROKEN[what]
    file = broken / name
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    assert cli.run(["--model", str(broken), "Hello"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and one_sentence(err) and said.lower() in err.lower(), err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_model_that_may_not_be_read(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dgchat import cli

    (broken / "model.safetensors").chmod(0)
    assert cli.run(["--model", str(broken), "Hello"]) == 3
    assert one_sentence(capsys.readouterr().err)


def test_a_model_of_which_a_file_is_a_directory(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dgchat import cli

    (broken / "config.json").unlink()
    (broken / "config.json").mkdir()
    assert cli.run(["--model", str(broken), "Hello"]) == 3
    assert one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("args", "stdin", "code", "said"),
    [
        (["Hello"], b"\xff\xfe", 4, "not UTF-8"),
        ([], b"", 4, "empty"),
        (["--device", "cuda:99", "Hello"], b"", 2, "cuda:99"),
        (["--precision", "int8", "Hello"], b"", 2, "no precision 'int8'"),
        (["--device", "\x1b[2Jtoaster", "Hello"], b"", 2, "toaster"),
        (["word " * 3000], b"", 4, "context"),
        (["--max-tokens", "100000", "Hello"], b"", 4, "context"),
    ],
)
def test_input_that_cannot_be_used(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    args: list[str], stdin: bytes, code: int, said: str,
) -> None:  # fmt: skip
    from dgchat import cli

    monkeypatch.setattr("sys.stdin", Pipe(stdin))
    assert cli.run(["--model", model, *args]) == code
    out, err = capsys.readouterr()
    assert out == "" and one_sentence(err) and said in err, err


def test_stderr_shows_nothing_of_libraries(dgchat: Any, model: str, own_state: Path) -> None:
    done = dgchat("--model", model, *SHORT, "Hello")
    assert done.returncode == 0
    assert all(line.startswith("dgchat: ") for line in done.stderr.splitlines()), done.stderr


def test_the_default_model_answers_and_says_how_to_get_the_full_one(dgchat: Any) -> None:
    done = dgchat("--seed", "1", "What is dgchat?")
    assert done.returncode == 0 and "dgchat" in done.stdout
    assert done.stderr == f"dgchat: {default_model_note()}\n" and "--model nvfp4" in done.stderr
    assert dgchat("--quiet", "Hello").stderr == ""


def test_the_built_in_model_resolves_on_a_terminal(command: list[str], environment: dict[str, str]) -> None:
    args = ["--quiet", "--seed", "3", "Tell me a story about a fox and a lantern."]
    plain = subprocess.run([*command, *args], env=environment, capture_output=True, timeout=WAIT, check=True)
    terminal = Terminal([*command, "--watch", *args], environment, columns=60)
    assert terminal.close() == 0
    screen = Screen(60).feed(terminal.output.replace("\r\n", "\n"))
    assert screen.text().split() == plain.stdout.decode().split()
    assert terminal.output.count("block 1, step") >= 2
