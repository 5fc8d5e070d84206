"""What is offered for the word before the cursor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgchat.app.commands import COMMANDS, choices
from dgchat.app.completing import Candidate, complete

HELPS = {name: command.help for name, command in COMMANDS.items()}


def texts(before: str, folder: Path = Path()) -> list[str]:
    return [candidate.text for candidate in complete(before, HELPS, choices, folder)]


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("/th", ["/theme", "/thinking"]),
        ("/think", ["/thinking"]),
        ("/thinking ", ["on", "off"]),
        ("/think ", ["on", "off"]),
        ("/think of", ["off"]),
        ("/export ", ["md", "json"]),
        ("/rename x", []),
        ("/nosuch ", []),
        ("hello /th", []),
        ("line\n/th", []),
        ("/th\nmore", []),
        ("", []),
        ("a@b", []),
    ],
)
def test_commands(before: str, found: list[str]) -> None:
    assert texts(before) == found


def test_a_command_comes_with_what_it_does() -> None:
    (found,) = complete("/und", HELPS, choices, Path())
    assert found == Candidate("/undo", 0, HELPS["undo"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.txt", "two words.txt", ".hidden", "b\x1b[31mad.txt", "Ünï.md"):
        (tmp_path / name).touch()
    (tmp_path / "sub" / "deeper").mkdir(parents=True)
    (tmp_path / "sub" / "file.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("@", ["one.txt", "Ünï.md", "sub/"]),
        ("see @o", ["one.txt"]),
        ("see\n@sub/", ["sub/file.py", "sub/deeper/"]),
        ("@sub/f", ["sub/file.py"]),
        ("@.", [".hidden"]),
        ("@./o", ["./one.txt"]),
        ("@nowhere/", []),
        ("@one.txt ", []),
        ("@two", []),
        ("@\0", []),
        ("@" + "x" * 5000, []),
        ("@~nobody-of-this-name/", []),
    ],
)
def test_paths(folder: Path, before: str, found: list[str]) -> None:
    assert texts(before, folder) == found


def test_absolute_paths_and_the_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert texts(f"@{folder}/o", Path("/")) == [f"{folder}/one.txt"]
    monkeypatch.setenv("HOME", str(folder))
    assert texts("@~/o", Path("/")) == ["~/one.txt"]


def test_a_folder_with_very_many_files_is_answered_at_once(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"file{number:03}").touch()
    assert len(texts("@file", tmp_path)) == 50


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert texts("@closed/", tmp_path) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.text(st.sampled_from("/@~.thinko sub\n\0\x1b")), st.text().map("@".__add__)))
def test_any_text_is_answered_by_what_begins_as_it_ends(folder: Path, before: str) -> None:
    for candidate in complete(before, HELPS, choices, folder):
        assert 0 <= candidate.start <= len(before)
        assert candidate.text.startswith(before[candidate.start :])
        assert candidate.text.isprintable()
