"""One sentence and a code for whatever goes wrong."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from dgchat import cli
from dgchat.cli import entry
from dgchat.exits import Exit, Failure
from tests.tui.fakes import Pipe


@pytest.fixture(autouse=True)
def no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())


def test_failures_and_interrupts_have_their_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code, said in (
        (Failure("No model.", Exit.MODEL), 3, "dgchat: No model.\n"),
        (KeyboardInterrupt(), 130, "dgchat: Stopped.\n"),
        (BrokenPipeError(), 141, ""),
        (OSError(28, "No space left on device"), 1, "dgchat: The output cannot be written: No space left on device.\n"),
    ):

        def fail(_: object, error: BaseException = error) -> Exit:
            raise error

        monkeypatch.setattr("dgchat.inline.answer.answer", fail)
        assert cli.run(["Hello"]) == code
        assert capsys.readouterr().err == said


def test_the_unexpected_is_logged_and_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_state: Path
) -> None:
    def fail(_: object) -> Exit:
        raise ZeroDivisionError("division by \x1b[31mzero")

    monkeypatch.setattr("dgchat.inline.answer.answer", fail)
    assert cli.run(["Hello"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "ZeroDivisionError: division by zero" in err and str(own_state) in err
    assert "Traceback" in own_state.read_text("utf-8")
    monkeypatch.setenv("DGCHAT_DEBUG", "1")
    assert cli.run(["Hello"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_home_that_cannot_be_written_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    monkeypatch.setattr("dgchat.inline.answer.answer", lambda _: json.loads("{"))
    assert cli.run(["Hello"]) == 1
    assert "DGCHAT_DEBUG=1 shows the traceback" in capsys.readouterr().err


@pytest.mark.parametrize("busy", [False, True])
def test_a_signal_ends_it_at_once_where_the_engine_is_busy(monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """An interpreter that shuts down while torch computes is aborted."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, daemon=True)
    if busy:
        thread.start()
    monkeypatch.setattr("threading.enumerate", lambda: [thread])
    ends: list[tuple[str, object]] = []

    def ended(code: int) -> NoReturn:
        ends.append(("at once", code))
        raise SystemExit(code)

    monkeypatch.setattr("os._exit", ended)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(entry, "run", lambda _: entry._terminate())
    with pytest.raises(SystemExit) as left:
        entry.main()
    over.set()
    assert left.value.code == 143
    assert ends == ([("at once", 143)] if busy else [])


def test_where_nothing_can_be_written_to_is_a_failure(command: list[str], environment: dict[str, str]) -> None:
    shell = f"exec {shlex.join([*command, '--version'])} >&-"
    done = subprocess.run(["sh", "-c", shell], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "dgchat: The output cannot be written: standard output is closed.\n"
