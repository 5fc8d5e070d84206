"""Conversations out of the corpus' turns, as text and as token ids with the blocks that are canvases."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pocket.corpus import TASKS, Turn
from pocket.tokenizer import BOS, EOS, TURN_END, ChatTokenizer

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are pocket, a small model.",
    "Answer briefly.",
    "Be kind and clear.",
    "You are a friendly assistant. Keep it short.",
    "You live in a terminal.",
)
SYSTEM_SHARE = 0.08
FOLLOW_UP_SHARE = 0.55


@dataclass(frozen=True)
class Canvas:
    """What a canvas should hold: it begins at `start` of its conversation; noise may fall where `free` is set.

    `settled`: whether the prompt leaves no choice (`Task.open` is unset).
    """

    start: int
    target: list[int]
    free: list[bool] | None = None
    settled: bool = False


@dataclass(frozen=True)
class Sample:
    """A conversation as token ids, and the canvases that can be trained on it."""

    ids: list[int]
    canvases: list[Canvas]


def draw_turn(rng: random.Random, *, held_out: bool = False) -> Turn:
    """A turn of a task drawn by weight."""
    tasks = [task for task in TASKS.values() if task.weight > 0]
    task = rng.choices(tasks, [task.weight for task in tasks])[0]
    return task.sample(rng, held_out)


def draw_turns(rng: random.Random, count: int, *, held_out: bool = False) -> list[Turn]:
    """`count` turns of one conversation; some refer to the turn before."""
    turns: list[Turn] = []
    while len(turns) < count:
        follow = None
        if turns and rng.random() < FOLLOW_UP_SHARE:
            task = TASKS[turns[-1].task]
            follow = task.follow_up(rng, turns[-1], held_out) if task.follow_up else None
        turns.append(follow or draw_turn(rng, held_out=held_out))
    return turns


def answer_canvases(start: int, answer: list[int], length: int, settled: bool = False) -> list[Canvas]:
    """The blocks of an answer that begins at `start`; what follows the end of the turn is the end-of-text token."""
    blocks = [answer[at : at + length] for at in range(0, len(answer), length)]
    return [
        Canvas(start + number * length, block + [EOS] * (length - len(block)), settled=settled)
        for number, block in enumerate(blocks)
    ]


def encode_turns(tokenizer: ChatTokenizer, turns: list[Turn], canvas: int, system: str | None = None) -> Sample:
    """Token ids of a conversation in the chat template, and every canvas of its answers."""
    ids = [BOS]
    if system:
        ids += tokenizer.turn("system", system)
    canvases: list[Canvas] = []
    for turn in turns:
        ids += tokenizer.turn("user", turn.prompt) + tokenizer.opening()
        answer = [*tokenizer.encode(turn.answer), TURN_END]
        canvases += answer_canvases(len(ids), answer, canvas, settled=not TASKS[turn.task].open)
        ids += answer + tokenizer.newline
    return Sample(ids, canvases)


def draw_conversation(rng: random.Random, tokenizer: ChatTokenizer, turns: int, canvas: int) -> Sample:
    """A conversation of `turns` turns."""
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < SYSTEM_SHARE else None
    return encode_turns(tokenizer, draw_turns(rng, turns), canvas, system)
