"""Measures the built-in model on held-out prompts: `python -m pocket.evaluate`.

Prints, by task: the share of answers that the task's checker accepts, denoising steps a canvas, tokens a forward pass;
and the share of closed holes that infill fills exactly. Everything runs through `dgengine`, as it does for a user.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dgengine import Control, Engine, Sampling
from dgengine.events import Block
from pocket import closed_holes
from pocket.conversations import draw_turn
from pocket.corpus import TASKS, Turn
from pocket.corpus.stories import retell
from pocket.infill import Hole, prompt_of
from pocket.tokenizer import EOS, TURN_END

LEAST = 12  # prompts of every task, however small its share
FOLLOW_UPS = 0.2
KEEP_BEFORE = 12  # tokens before a hole that stand on the canvas, pinned


@dataclass(frozen=True)
class Answer:
    """An answer of the model.

    Attributes:
        ids, text: with and without its special tokens.
        steps: denoising steps of each canvas.
        converged: whether every canvas settled before the step limit.
    """

    ids: list[int]
    text: str
    steps: tuple[int, ...]
    converged: bool


@dataclass(frozen=True)
class Judged:
    """One prompt of the evaluation and what became of it; `reason` is None where the answer is right."""

    task: str
    prompt: str
    text: str
    reason: str | None
    tokens: int
    steps: tuple[int, ...]
    converged: bool


def answer(engine: Engine, messages: list[dict[str, Any]], seed: int) -> Answer:
    """The model's answer with its own sampling defaults."""
    ids, steps, converged = [], [], True
    prompt = engine.encode_chat(messages)
    for event in engine.session().generate(prompt, Sampling(seed=seed)):
        if isinstance(event, Block):
            ids += event.tokens.tolist()
            steps.append(event.steps)
            converged = converged and event.converged
    return Answer(ids, engine.decode(ids), tuple(steps), converged)


def judge(turn: Turn, given: Answer) -> Judged:
    reason = TASKS[turn.task].check(turn, given.text.strip())
    return Judged(turn.task, turn.prompt, given.text, reason, len(given.ids), given.steps, given.converged)


def held_out_turns(rng: random.Random, count: int) -> list[Turn]:
    """At least `count` turns by the tasks' weights, at least `LEAST` of every task."""
    turns = [draw_turn(rng, held_out=True) for _ in range(count)]
    for task in TASKS.values():
        missing = LEAST - sum(turn.task == task.name for turn in turns) if task.weight else 0
        turns += [task.sample(rng, True) for _ in range(missing)]
    return turns


def conversation(engine: Engine, rng: random.Random, turn: Turn, seed: int) -> Iterator[Judged]:
    """The judged answer to a turn, and now and then to one that follows up on what was really said."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": turn.prompt}]
    given = answer(engine, messages, seed)
    judged = judge(turn, given)
    yield judged
    told = retell(turn, given.text) if turn.task == "story" else turn
    follow = TASKS[turn.task].follow_up
    if judged.reason or told is None or follow is None or rng.random() >= FOLLOW_UPS:
        return
    second = follow(rng, told, True)
    if second is not None:
        messages += [{"role": "assistant", "ids": given.ids}, {"role": "user", "content": second.prompt}]
        yield judge(second, answer(engine, messages, seed))


def fill(engine: Engine, hole: Hole, seed: int) -> tuple[str, int]:
    """The text that the model puts into a hole of known length, both sides pinned; and the steps it took."""
    before, inside, after = (engine.encode(part) for part in (hole.before, hole.inside, hole.after))
    keep = min(len(before), KEEP_BEFORE)
    pinned = before[len(before) - keep :]
    canvas = engine.info.canvas_length
    behind = [*after, TURN_END, *[EOS] * canvas][: canvas - keep - len(inside)]
    control = Control()
    for position, token in enumerate(pinned):
        control.pin(position, token)
    for position, token in enumerate(behind, keep + len(inside)):
        control.pin(position, token)
    prompt = engine.encode_chat([{"role": "user", "content": prompt_of(hole)}])
    ids = [*prompt, *before[: len(before) - keep]]
    for event in engine.session().generate(ids, Sampling(seed=seed, max_new_tokens=canvas), control):
        if isinstance(event, Block):
            got = event.tokens.tolist()[keep : keep + len(inside)]
            return engine.decode(got), event.steps
    raise RuntimeError("the session ended without a block")


def evaluate_answers(engine: Engine, count: int, seed: int) -> list[Judged]:
    rng = random.Random(seed)
    judged: list[Judged] = []
    for number, turn in enumerate(held_out_turns(rng, count)):
        judged += conversation(engine, rng, turn, seed + number)
    return judged


def evaluate_infill(engine: Engine, count: int, seed: int) -> dict[str, list[bool]]:
    """For each family of closed holes, which were filled exactly."""
    results: dict[str, list[bool]] = defaultdict(list)
    for number, closed in enumerate(closed_holes.draw(random.Random(seed), count)):
        text, _ = fill(engine, closed.hole, seed + number)
        results[closed.family].append(text == closed.hole.inside)
    return results


def share(values: list[bool]) -> float:
    return 100 * sum(values) / max(1, len(values))


def row(name: str, judged: list[Judged]) -> str:
    steps = [step for item in judged for step in item.steps]
    tokens = sum(item.tokens for item in judged)
    right = share([item.reason is None for item in judged])
    settled = share([item.converged for item in judged])
    return (
        f"{name:<16}{len(judged):>6}{right:>9.1f}{sum(steps) / max(1, len(steps)):>9.1f}"
        f"{tokens / max(1, sum(steps)):>10.1f}{settled:>10.1f}"
    )


def report(judged: list[Judged], infill: dict[str, list[bool]], show: int) -> None:
    print(f"{'task':<16}{'n':>6}{'right %':>9}{'steps':>9}{'tok/fwd':>10}{'settled %':>10}")
    for task in sorted({item.task for item in judged}):
        print(row(task, [item for item in judged if item.task == task]))
    print(row("all", judged))
    for family, exact in infill.items():
        print(f"infill {family:<9}{len(exact):>6}{share(exact):>9.1f}")
    every = [value for exact in infill.values() for value in exact]
    if every:
        print(f"{'infill, exact':<16}{len(every):>6}{share(every):>9.1f}")
    for item in [item for item in judged if item.reason][:show]:
        print(f"\n[{item.task}: {item.reason}] {item.prompt}\n  {item.text}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="pocket.evaluate")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--spans", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--show", type=int, default=0, help="print so many of the wrong answers")
    parser.add_argument("--json", type=Path, help="write every judged answer to this file")
    options = parser.parse_args()
    engine = Engine.load(options.model)
    judged = evaluate_answers(engine, options.prompts, options.seed)
    infill = evaluate_infill(engine, options.spans, options.seed)
    report(judged, infill, options.show)
    if options.json:
        results = {"answers": [asdict(item) for item in judged], "infill": infill}
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if not judged:
        sys.exit("nothing was evaluated")


if __name__ == "__main__":
    main()
