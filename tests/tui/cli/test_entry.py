"""One sentence and a code for whatever goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgchat import cli
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
