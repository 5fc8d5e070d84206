"""The chat as its user meets it: the real program on a terminal, from the first screen to the shell's prompt."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from dgchat.history.store import Store
from dgchat.paths import history_file
from tests.tui.chatting import ESCAPE, FAKE, QUIT, Chat, fake
from tests.tui.display import modes_left
from tests.tui.program import WAIT

STORY = "Tell me a story about a fox and a lantern."
NOISE = "░▒"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """With nothing between one step and the next, and no folder for files of the test but its own."""
    return {**environment, "DGCHAT_PACE": "0"}


def run(command: list[str], environment: dict[str, str], *args: str) -> str:
    done = subprocess.run([*command, *args], env=environment, capture_output=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def said() -> list[tuple[str, str]]:
    """All that is kept, oldest first."""
    with Store(history_file()) as store:
        return [(message.role, message.text) for chat in store.conversations()[::-1] for message in store.tree(chat.id)]


# ---- with the built-in model


def test_pocket_answers_out_of_noise_and_the_chat_is_found_again(
    command: list[str], environment: dict[str, str]
) -> None:
    environment["DGCHAT_PACE"] = "12"
    chat = Chat([*command, "--model", "pocket", "--watch", "--seed", "3"], environment, lines=50).ready()
    assert "Welcome" not in chat.output  # who names a model knows the program
    chat.send(STORY + "\r")
    chat.shows(lambda text: any(sign in text for sign in NOISE))
    screen = chat.shows("converged in")
    chat.quit()
    story = dict(said())["assistant"]
    assert not any(sign in screen for sign in NOISE)
    assert "".join(story.split()) in "".join(screen.split())

    assert STORY in run(command, environment, "history")
    found = run(command, environment, "history", "search", "lantern")
    assert STORY in found and found.split()[0] == "1"
    resumed = Chat([*command, "history", "resume", "1", "--model", "pocket"], environment, lines=50)
    resumed.shows(lambda text: STORY in text and story.split(".")[0] in text.replace("\n   ", " "))
    resumed.send("What is 2 plus 3?\r")
    resumed.shows(lambda text: "converged in" in text or "cut at" in text)
    resumed.quit()
    assert [role for role, _ in said()] == ["user", "assistant", "user", "assistant"]


def test_an_answer_of_pocket_is_stopped_and_the_next_one_comes(command: list[str], environment: dict[str, str]) -> None:
    environment["DGCHAT_PACE"] = "1"  # slow enough to be stopped before its end
    chat = Chat([*command, "--model", "pocket", "--watch"], environment).ready()
    chat.send(STORY + "\r")
    chat.shows("block 1, step 2")
    chat.send(ESCAPE)
    chat.shows("stopped by you")
    chat.send("Hello!\r")
    chat.shows("block 1, step 1")
    chat.quit()
    assert said()[0] == ("user", STORY) and ("user", "Hello!") in said()


# ---- with an engine that takes no time


def test_the_first_start_welcomes_and_no_other(environment: dict[str, str]) -> None:
    chat = fake(environment)
    chat.shows(lambda text: "Welcome to dgchat" in text and "Nothing is downloaded unasked" in text)
    chat.send("\r")
    chat.shows(lambda text: "Welcome" not in text and "Send" in text)
    chat.ask("hello")
    chat.quit()
    again = fake(environment)
    again.ready().ask("hello")
    again.quit()
    assert "Welcome" not in again.output


def test_noise_becomes_text_and_stays_out_where_nobody_watches(environment: dict[str, str]) -> None:
    question = "the quiet fox and the river"
    chat = fake(environment, "--model", "x", "--watch", steps=60, delay=0.02).ready()
    chat.send(question + "\r")
    chat.shows(lambda text: any(sign in text for sign in NOISE))
    screen = chat.shows(lambda text: f"Echo: {question}" in text and "converged in" in text)
    assert not any(sign in screen for sign in NOISE)
    chat.quit()
    still = fake(environment, "--model", "x", "--no-watch").ready()
    still.ask(question)
    still.quit()
    assert not any(sign in still.output for sign in NOISE)


def test_escape_stops_within_a_step_and_loses_nothing(environment: dict[str, str]) -> None:
    chat = fake(environment, "--model", "x", "--watch", stuck=1, delay=0.01).ready()
    chat.send("first\r")
    chat.shows("block 1, step 3")
    chat.send(ESCAPE)
    chat.shows("stopped by you")
    chat.ask("second")
    chat.quit()
    assert [text for role, text in said() if role == "user"] == ["first", "second"]


@pytest.mark.parametrize("length", [1, 80, 1000, 4000])
def test_what_is_typed_is_sent_whole_by_an_enter_at_once(environment: dict[str, str], length: int) -> None:
    question = ("words that come faster than anyone types " * 100)[:length].strip()
    chat = fake(environment, "--model", "x").ready()
    chat.send(question + "\r")
    chat.shows("converged in")
    chat.quit()
    assert said() == [("user", question), ("assistant", f"Echo: {question}")]


def test_keys_typed_before_the_first_frame_are_not_lost(environment: dict[str, str]) -> None:
    chat = fake(environment, "--model", "x")
    chat.until(lambda output: "\x1b[>" in output)  # keys are read one by one from here on
    chat.send("early bird\r")
    chat.shows(lambda text: "Echo: early bird" in text and "converged in" in text)
    chat.quit()
    assert said()[0] == ("user", "early bird")


def test_a_paste_of_several_lines_is_one_message(environment: dict[str, str]) -> None:
    chat = fake(environment, "--model", "x").ready()
    chat.send("\x1b[200~one\rtwo\n\tthree\x1b[201~\r")
    chat.shows("converged in")
    chat.quit()
    assert said()[0] == ("user", "one\ntwo\n\tthree")


def test_the_window_may_change_while_a_canvas_resolves(environment: dict[str, str]) -> None:
    chat = fake(environment, "--model", "x", "--watch", stuck=1, delay=0.005, canvas=256).ready()
    chat.send("a question\r")
    chat.shows("block 1, step")
    for number, (columns, lines) in enumerate([(120, 30), (40, 12), (12, 5), (1, 1), (200, 60), (80, 24)]):
        chat.resize(columns, lines)
        chat.send(str(number))
        if columns >= 40:
            typed = "012345"[: number + 1]
            chat.shows(lambda text, typed=typed: typed in text and "block 1, step" in text)  # type: ignore[misc]
        else:
            time.sleep(0.3)  # nothing to be seen in so small a window: only that it is survived
    screen = chat.shows(lambda text: "Quit" in text.splitlines()[-1])
    assert len(screen.splitlines()) == 24
    chat.send(ESCAPE)
    chat.shows("stopped by you")
    chat.quit()


def test_what_libraries_write_does_not_reach_the_screen(environment: dict[str, str], own_state: Path) -> None:
    chat = fake(environment, "--model", "x", noise="NOISY LIBRARY\n").ready()
    chat.ask("hello")
    chat.quit()
    assert "NOISY" not in chat.output
    assert own_state.read_text().count("NOISY LIBRARY") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(environment: dict[str, str], number: signal.Signals) -> None:
    chat = fake(environment, "--model", "x", "--watch", stuck=1, delay=0.01).ready()
    chat.send("hello\r")
    chat.shows("block 1, step 3")
    os.kill(chat.process.pid, number)
    assert chat.close() == 128 + number
    chat.left_in_order()
    assert said()[0] == ("user", "hello")


def test_a_terminal_that_goes_away_ends_it(environment: dict[str, str]) -> None:
    chat = fake(environment, "--model", "x").ready()
    chat.ask("hello")
    chat.hang_up()
    assert chat.process.wait(WAIT) != 0
    assert said() == [("user", "hello"), ("assistant", "Echo: hello")]


def test_errors_in_a_file_leave_the_chat_on_the_screen(environment: dict[str, str], tmp_path: Path) -> None:
    command = ["sh", "-c", '"$@" 2>"$0"', str(tmp_path / "errors"), *FAKE, "--model", "x"]
    chat = Chat(command, environment).ready()
    chat.ask("hello")
    chat.quit()
    assert (tmp_path / "errors").read_text() == ""


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "vt100"}])
def test_without_colour_glyphs_tell(environment: dict[str, str], environ: dict[str, str]) -> None:
    chat = fake({**environment, **environ}, "--model", "x", "--watch", stuck=1, delay=0.01).ready()
    chat.send("the quiet fox and the river\r")
    chat.shows(lambda text: "░" in text and "·" in text)
    chat.send(ESCAPE)
    chat.shows("stopped by you")
    chat.quit()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_inside_tmux(environment: dict[str, str], tmp_path: Path) -> None:
    environment = {**environment, "TERM": "xterm-256color", "TMUX_TMPDIR": str(tmp_path)}
    tmux = ["tmux", "-L", "dgchat", "-f", "/dev/null"]
    program = " ".join([*FAKE, "--model", "x", "--watch"])
    chat = Chat([*tmux, "new-session", "sh", "-c", f"{program}; echo code $?; cat"], environment)
    try:
        chat.ready().ask("hello")
        chat.send(QUIT)
        chat.shows("code 0")
        chat.send("echoed\r")
        chat.shows("echoed")
    finally:
        subprocess.run([*tmux, "kill-server"], env=environment, timeout=WAIT, check=False, capture_output=True)
        chat.close()
    assert modes_left(chat.output) == set()
    assert said() == [("user", "hello"), ("assistant", "Echo: hello")]


def test_two_at_once_keep_all_that_is_said(environment: dict[str, str]) -> None:
    chats = [fake(environment, "--model", "x") for _ in range(2)]
    for chat in chats:
        chat.ready()
    for number in range(4):
        for name, chat in zip("ab", chats, strict=True):
            chat.send(f"{name}{number}\r")
        for name, chat in zip("ab", chats, strict=True):
            chat.shows(lambda text, wanted=f"Echo: {name}{number}": wanted in text and "converged in" in text)  # type: ignore[misc]
    for chat in chats:
        chat.quit()
    with sqlite3.connect(history_file()) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for name in "ab":
        mine = [text for _, text in said() if text.removeprefix("Echo: ").startswith(name)]
        assert mine == [f"{echo}{name}{number}" for number in range(4) for echo in ("", "Echo: ")]
