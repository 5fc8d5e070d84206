"""`dgchat edit FILE`: what is wrong is said in one sentence, before anything is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dgchat.cli import run
from dgchat.exits import Exit
from tests.tui.fakes import Pipe


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the test: between its parts pytest has streams of its own."""
    monkeypatch.setattr(sys, "stdin", Pipe(tty=True))
    monkeypatch.setattr(sys, "stdout", Pipe(tty=True))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "is a folder"),
        ("binary", "is a binary file"),
        ("latin", "is not UTF-8 text"),
        ("no/file", "There is no folder"),
    ],
)
def test_files_that_cannot_be_edited(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"\0\1\2")
    (tmp_path / "latin").write_bytes("Gr\xfc\xdfe".encode("latin-1"))
    pretend_terminal(monkeypatch)
    assert run(["edit", name]) == Exit.INPUT
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_it_takes_one_file(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_terminal(monkeypatch)
    assert run(["edit", *words]) == Exit.USAGE
    assert "takes one FILE" in capsys.readouterr().err


def test_it_needs_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["edit", str(tmp_path / "new.txt")]) == Exit.USAGE
    assert "needs a terminal" in capsys.readouterr().err and not list(tmp_path.glob("new*"))
