"""`dgchat infill` with the built-in model: pipes, a terminal, tools that take its diff, and a stop halfway."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.screen import Screen

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from tests.tui.program import WAIT, Terminal

STORY = "Once there was a quiet fox.\r\nOne day it found a silver lantern in the grass.\r\nThe fox was glad."
ARGS = ["infill", "story.txt", "--match", "a silver lantern", "--seed", "3", "--quiet"]
Program = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.txt"
    path.write_bytes(STORY.encode())
    return path


@pytest.fixture
def dgchat(command: list[str], environment: dict[str, str], tmp_path: Path) -> Program:
    """Runs the program to its end: `dgchat(*args, stdin=b"")`."""

    def run(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *args], input=stdin, env=environment, capture_output=True, timeout=WAIT, cwd=tmp_path
        )

    return run


def between(text: bytes, old: str, new_around: str = STORY) -> bytes:
    """What stands in the place of `old`; all around it is as it was."""
    before, after = (part.encode() for part in new_around.split(old))
    assert text.startswith(before) and text.endswith(after)
    return text[len(before) : len(text) - len(after)]


def test_the_diff_makes_what_write_writes(dgchat: Program, story: Path) -> None:
    diff = dgchat(*ARGS)
    assert diff.returncode == 0 and diff.stderr == b"" and story.read_bytes() == STORY.encode()
    shutil.copy(story, story.with_name("old"))
    found = json.loads(dgchat(*ARGS, "--json", "--write").stdout)
    assert found["model"] == "pocket" and found["written"] is True
    written = story.read_bytes()
    assert between(written, "a silver lantern").decode() == found["candidates"][0]["replacements"][0]
    shutil.copy(story.with_name("old"), story)
    applied = subprocess.run(["git", "apply", "-"], input=diff.stdout, cwd=story.parent, capture_output=True)
    assert applied.returncode == 0, applied.stderr
    assert story.read_bytes() == written


def test_a_filter(dgchat: Program) -> None:
    text = "\ufeff" + STORY.replace("a silver lantern", "⟦a silver lantern⟧")
    done = dgchat("infill", "--seed", "3", stdin=text.encode())
    assert done.returncode == 0, done.stderr
    assert b"\xe2\x9f" not in done.stdout and between(done.stdout, "a silver lantern", "\ufeff" + STORY)
    done = dgchat("infill", stdin=STORY.encode())
    assert (done.returncode, done.stdout) == (4, b"") and b"There is no" in done.stderr


def test_watching_leaves_the_diff(
    command: list[str], environment: dict[str, str], story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(story.parent)
    story.write_bytes(STORY.replace("\r\n", "\n").encode())
    terminal = Terminal([*command, *ARGS, "--watch"], {**environment, "DGCHAT_PACE": "0"})
    assert terminal.close() == 0
    assert "candidate 1, step 1" in terminal.output
    screen = Screen().feed(terminal.output.replace("\r\n", "\n"))
    assert screen.text().startswith("--- a/story.txt\n+++ b/story.txt\n@@ -1,3 +1,3 @@\n Once there")
    assert "-One day it found a silver lantern in the grass.\n+One day it found" in screen.text()
    assert screen.cursor_shown and screen.wraps


def test_ctrl_c_writes_nothing(
    command: list[str], environment: dict[str, str], story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(story.parent)
    terminal = Terminal([*command, *ARGS, "--watch", "--write"], {**environment, "DGCHAT_PACE": "1"})
    terminal.until(lambda output: "step 1" in output)
    terminal.send("\x03")
    assert terminal.close() == 130
    assert terminal.output.rstrip().endswith("dgchat: Stopped.") and "Traceback" not in terminal.output
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
    assert story.read_bytes() == STORY.encode() and len(list(story.parent.glob("*.txt"))) == 1
