"""`dgchat --image FILE`: as its user meets it, and with an engine that only pretends."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgchat.exits import Exit
from dgchat.inline.answer import Request, messages
from dgchat.inline.images import show_images
from dgchat.settings import load
from tests.engine.vision.seeing import seeing_checkpoint
from tests.tui.fakes import Tty
from tests.tui.images.files import image_file

if sys.platform == "win32":
    pytest.skip("the program's tests need pseudo-terminals", allow_module_level=True)

from tests.tui.program import WAIT

SHORT = ["--max-tokens", "8", "--steps", "3", "--seed", "1", "--quiet"]


@pytest.fixture
def dgchat(command: list[str], environment: dict[str, str]) -> Any:
    """Runs the program to its end."""

    def run(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*command, *args], input=stdin, env=environment, capture_output=True, timeout=WAIT)
        return subprocess.CompletedProcess(args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def refused(done: subprocess.CompletedProcess[str], sentence: str, code: Exit = Exit.INPUT) -> None:
    assert done.stderr == f"dgchat: {sentence}\n"
    assert (done.stdout, done.returncode) == ("", code)


def test_an_answer_about_images_depends_on_them(dgchat: Any, tmp_path: Path) -> None:
    fox, kite = image_file(tmp_path, "a fox.png"), image_file(tmp_path, "kite.webp", color="red")
    model = str(seeing_checkpoint())
    one = dgchat("--model", model, *SHORT, "--json", "--image", str(fox), "What is this?")
    both = dgchat("--model", model, *SHORT, "--json", "--image", str(fox), "--image", str(kite), "What is this?")
    again = dgchat("--model", model, *SHORT, "--json", "--image", str(fox), stdin=b"What is this?")
    assert one.returncode == both.returncode == again.returncode == 0, one.stderr + both.stderr
    answers = [json.loads(done.stdout) for done in (one, both, again)]
    assert answers[0]["text"] == answers[2]["text"] != answers[1]["text"]
    assert answers[1]["stats"]["prefill_encoded"] > answers[0]["stats"]["prefill_encoded"] + 50


def test_a_model_that_cannot_see(dgchat: Any, tmp_path: Path) -> None:
    refused(dgchat("--quiet", "--image", str(image_file(tmp_path)), "What is this?"), "pocket cannot see images.")


def test_files_that_are_no_images(dgchat: Any, tmp_path: Path) -> None:
    kinds = "give a PNG, JPEG or WebP image."
    refused(dgchat("--image", str(tmp_path), "?"), f"{tmp_path.name} is a folder: {kinds}")
    (tmp_path / "notes.png").write_text("A note.")
    refused(dgchat("--image", str(tmp_path / "notes.png"), "?"), f"notes.png is no image that can be read: {kinds}")
    whole = image_file(tmp_path).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    refused(
        dgchat("--image", str(tmp_path / "cut.png"), "?"), "cut.png cannot be read: the file is damaged or cut short."
    )
    refused(dgchat("--image", "no.png", "?"), "There is no image file no.png: check its name.")
    refused(dgchat("--image", "/dev/zero", "?"), f"zero is a device or a pipe: {kinds}")


def test_a_name_with_an_escape_sequence_does_not_reach_the_terminal(dgchat: Any, tmp_path: Path) -> None:
    done = dgchat("--image", str(tmp_path / "a\x1b]0;owned\x07.png"), "?")
    assert done.returncode == Exit.INPUT
    assert "\x1b" not in done.stderr and "\x07" not in done.stderr


def test_images_go_with_no_subcommand(dgchat: Any) -> None:
    refused(
        dgchat("config", "--image", "x.png"), "--image goes with a prompt or a chat. Try dgchat --help.", Exit.USAGE
    )


def test_the_message_holds_the_images_and_then_the_prompt() -> None:
    settings = load({"system": "Be brief."}, {})
    assert messages(Request("What?", settings, images=(Path("a.png"), Path("b.png")))) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image", "path": "a.png"},
                {"type": "image", "path": "b.png"},
                {"type": "text", "text": "What?"},
            ],
        },
    ]
    assert messages(Request("What?", load({}, {})))[-1] == {"role": "user", "content": "What?"}


@pytest.mark.parametrize(("term", "shows"), [("xterm-256color", True), ("dumb", False)])
def test_a_preview_where_there_are_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: str, shows: bool
) -> None:
    from dgchat.images.attaching import attach

    image = attach(image_file(tmp_path))
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Tty()
    show_images([image], out)
    assert ("▄" in out.getvalue()) is shows
    odd = Tty()
    show_images([replace(image, path=tmp_path / "[bold]x.png")], odd)
    assert ("\n[bold]x.png 48×32\n" in odd.getvalue()) is shows
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Tty()
    show_images([image], plain)
    assert plain.getvalue() == ""
