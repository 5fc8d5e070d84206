"""Thinking through a checkpoint's own tokenizer and template: all is real but what the canvases come to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dgchat import cli
from dgchat.app.chat import ChatApp
from dgchat.settings import load
from dgengine import Block, Control, Done, Engine, Event, Prefill, Sampling, Step
from tests.engine.tiny import tiny_chat_checkpoint
from tests.tui.app.play import ask, folded, ready, transcript
from tests.tui.fakes import Pipe, fake_stats

THOUGHT, ANSWER = "Is it 7?\nÜber 9: yes €.", "It is 7."
TEMPLATE = (
    "{% if enable_thinking %}{{ '<|turn>system\n<|think|>\n<turn|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|turn>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{{ m['content'].split('<channel|>')[-1] | trim }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<turn|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose template knows of thinking, and whose tokenizer has the tokens of a channel."""
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "thinker"
    shutil.copytree(tiny_chat_checkpoint(), folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|channel>", "<channel|>"]})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


class Scripted:
    """A conversation in which the answer stands fast; its canvases are the engine's own length."""

    def __init__(self, engine: Engine, ids: Sequence[int]) -> None:
        self._engine, self._answer = engine, list(ids)
        self.asked: list[list[int]] = []

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        self.asked.append(list(ids))
        length = self._engine.info.canvas_length
        blocks = [self._answer[start : start + length] for start in range(0, len(self._answer), length)]
        yield Prefill(0, len(ids))
        yield Prefill(len(ids), len(ids))
        for number, block in enumerate(blocks, 1):
            draft = np.array(block + [0] * (length - len(block)), np.int32)
            sure, free = np.ones(length, bool), np.zeros(length, bool)
            yield Step(number, 1, 0.8, 0.001, draft, draft, np.zeros(length, np.float32), sure, free)
            yield Block(number, np.array(block, np.int32), 1, True)
        yield Done("eos", fake_stats(len(self._answer), len(blocks), 1))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Scripted]:
    """The sessions that engines open from now on."""
    opened: list[Scripted] = []

    def session(engine: Engine) -> Any:
        chat = engine.tokenizer
        assert chat.thought_marks is not None
        opening, closing = chat.thought_marks
        ids = [opening, *chat.tokens(f"thought\n{THOUGHT}"), closing, *chat.tokens(ANSWER), min(engine.eos_ids)]
        opened.append(Scripted(engine, ids))
        return opened[-1]

    monkeypatch.setattr(Engine, "session", session)
    monkeypatch.setattr("sys.stdin", Pipe())
    return opened


def test_on_the_command_line(checkpoint: Path, sessions: list[Scripted], capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(checkpoint), "--device", "cpu", "--thinking"]
    assert cli.run([*model, "Is it 7?"]) == 0
    assert capsys.readouterr() == (f"{ANSWER}\n", f"{THOUGHT}\n")
    assert cli.run([*model, "--json", "Is it 7?"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["thinking"], result["text"]) == (THOUGHT, ANSWER)
    assert cli.run([*model, "--no-thinking", "Is it 7?"]) == 0
    assert capsys.readouterr() == (f"{ANSWER}\n", "")
    told = [len(session.asked[0]) for session in sessions]
    assert told[0] == told[1] > told[2]


async def test_in_the_chat(checkpoint: Path, sessions: list[Scripted]) -> None:
    settings = load({"pace": 0.0, "model": str(checkpoint), "device": "cpu", "thinking": True, "watch": True}, {})
    app = ChatApp(settings)
    async with app.run_test() as pilot:
        await ready(pilot)
        await ask(pilot, "Is it 7?")
        assert folded(app) == [("thought: 7 words", THOUGHT)] and transcript(app)[1].endswith(ANSWER)
        await ask(pilot, "Sure?")
    first, second = sessions[-1].asked
    chat = sessions[-1]._engine.tokenizer
    assert chat.thought_marks is not None and not set(chat.thought_marks) & set(second)
    assert second[: len(first)] == first and chat.decode(second).count("Über") == 0
    answer = chat.tokens(ANSWER)
    assert second[len(first) : len(first) + len(answer)] == answer
