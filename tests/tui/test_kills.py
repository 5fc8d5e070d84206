"""A program that is killed loses the answer that is being written, and nothing else."""

from __future__ import annotations

import random
import re
import sqlite3
import sys
import time
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from dgchat.history.opening import open_history
from dgchat.paths import history_file
from tests.tui.chatting import Chat, fake

_ECHOED = re.compile(r"Echo: (q[a-j]{4})")


def question(number: int) -> str:
    """A word of its own for each number, which the engine takes for one token: no half of it can be seen."""
    return "q" + f"{number:04}".translate(str.maketrans("0123456789", "abcdefghij"))


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "DGCHAT_PACE": "0"}


class Seen:
    """What one saw on the screen of all the programs so far, and may count on."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.answered: set[str] = set()
        self.number = 0

    def talk(self, chat: Chat, random: random.Random, seconds: float) -> None:
        """Asks one question after another for a while, and then kills the program."""
        end = time.monotonic() + seconds
        asked = ""
        while time.monotonic() < end:
            text = self._look(chat, asked)
            if asked in self.answered if asked else "ready" in text:
                self.number += 1
                asked = question(self.number)
                chat.send(f"{asked}\r")
            chat.read_for(random.uniform(0, 0.05))
        chat.kill()
        self._look(chat, asked)

    def _look(self, chat: Chat, asked: str) -> str:
        text = chat.display.text
        status = chat.display.rows[-4:-1]  # above the composer, which is two lines high
        self.sent.update(_ECHOED.findall(text))
        if asked and any("block 1" in row for row in status):
            self.sent.add(asked)
        if asked and any("converged in" in row for row in status) and f"Echo: {asked}" in text:
            self.answered.add(asked)
        return text


def check(seen: Seen) -> None:
    """The database is sound, and holds what was seen."""
    with sqlite3.connect(history_file()) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    opened = open_history(history_file())
    assert opened.remark is None
    with opened.store as store:
        kept = [message for chat in store.conversations() for message in store.tree(chat.id)]
        questions = {message.id: message.text for message in kept if message.role == "user"}
        answers = {questions[message.parent or 0]: message for message in kept if message.role == "assistant"}
        assert seen.sent <= set(questions.values())
        assert seen.answered <= answers.keys()
        assert all(f"Echo: {asked}" == answer.text for asked, answer in answers.items())
        for number in random.sample(sorted(seen.answered), min(5, len(seen.answered))):
            assert number in {hit.excerpt.strip("\x02\x03") for hit in store.search(number)}, "found by a search"
    assert not list(Path(history_file()).parent.glob("*damaged*"))


def kills(environment: dict[str, str], count: int, seed: int) -> Seen:
    moments = random.Random(seed)
    seen = Seen()
    for _ in range(count):
        chat = fake(environment, "--model", "x", "--watch", steps=4, delay=0.004)
        if moments.random() < 0.8:
            chat.ready()
        seen.talk(chat, moments, moments.uniform(0, 1.5))
        check(seen)
    return seen


def test_a_killed_program_loses_no_more_than_the_answer_that_is_being_written(environment: dict[str, str]) -> None:
    seen = kills(environment, 5, seed=1)
    assert seen.sent and seen.answered


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_kills(environment: dict[str, str], seed: int) -> None:
    kills(environment, 30, seed)


def test_one_is_killed_while_another_goes_on(environment: dict[str, str]) -> None:
    survivor = fake(environment, "--model", "x").ready()
    killed, moments = Seen(), random.Random(7)
    for number in range(3):
        chat = fake(environment, "--model", "x", steps=4, delay=0.004).ready()
        survivor.send(f"still here {number}\r")
        killed.talk(chat, moments, moments.uniform(0.1, 0.6))
        survivor.shows(lambda text, number=number: f"Echo: still here {number}" in text and "converged in" in text)  # type: ignore[misc]
    survivor.quit()
    with open_history(history_file()).store as store:
        texts = {message.text for chat in store.conversations() for message in store.tree(chat.id)}
    assert texts >= killed.sent | {f"Echo: still here {number}" for number in range(3)}
    with sqlite3.connect(history_file()) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
