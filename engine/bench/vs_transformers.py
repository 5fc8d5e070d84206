"""The engine against transformers, in one run: same weights, prompts, seeds, threads and dtype, on the CPU.

    make bench BENCH_ARGS="--model pocket --repeat 5 --threads 2"

The table goes to stderr, the JSON to stdout. What is measured:

* Answers: every prompt is answered by each contestant in turn, in an order that rotates, so that a machine
  that warms up or slows down does so for all, and with new seeds at every repetition. Tokens are those of
  the answer, up to and with the end-of-sequence id; time is the whole call's. A denoising step is timed the
  same way for all, as the gap between two drafts of one block as the caller sees them: a streamer's
  `put_draft` there, a `Step` here.
* The second turn: a chat with a long history gets one more message, and the clock runs until the first draft
  of the answer. transformers is measured twice: fresh, and handed the `past_key_values` of its first turn,
  which hold all but the last canvas, with only the ids after those as input.
* Memory: each contestant loads and answers one prompt in a process of its own; the peak is that process's
  largest resident set.

"reference draws" is the engine with `Sampling(reference=True)`, which draws random numbers as transformers
does. In float32 its tokens must be those of transformers; the result says whether they were.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import memory
from bench.contestants import (
    OURS,
    OURS_REFERENCE,
    THEIRS,
    Contestant,
    Ours,
    Run,
    Task,
    Transformers,
    load_engine,
    model_path,
)

if TYPE_CHECKING:
    from dgengine import Engine

Repetitions = list[list[Run]]
"""The runs of one contestant: repetition, then prompt."""

PROMPTS = (
    "Tell me a story about a fox and a lantern.",
    "What is 17 + 25?",
    "Sort these words: pear, apple, fig, cherry.",
    "Write a Python function that reverses a string.",
    "Describe a hedgehog.",
    "What does dgchat do?",
)
FOLLOW_UP = "Another one, please."


def race(contestants: dict[str, Contestant], tasks: Sequence[Task], repeat: int) -> dict[str, Repetitions]:
    """Answers every task `repeat` times with every contestant: name -> repetition -> task -> run.

    Each repetition has seeds of its own, the same for all: how many steps an answer takes is luck of the draw, and
    contestants that draw in another order must not win or lose by a single one.
    """
    for contestant in contestants.values():
        contestant.answer(tasks[0])  # the first call of each pays for what later ones find ready
    runs: dict[str, Repetitions] = {name: [[] for _ in range(repeat)] for name in contestants}
    order = list(contestants)
    for repetition in range(repeat):
        for task in tasks:
            seeded = replace(task, seed=task.seed + repetition * len(tasks))
            for name in order:
                runs[name][repetition].append(contestants[name].answer(seeded))
            order = order[1:] + order[:1]
    return runs


def answers_summary(repetitions: Sequence[Sequence[Run]]) -> dict[str, Any]:
    """Median tokens/s and ms per step over the repetitions, the counts of the first one, and steps over all."""
    flat = [run for runs in repetitions for run in runs]
    return {
        "tokens_per_second": statistics.median(map(tokens_per_second, repetitions)),
        "ms_per_step": statistics.median(map(ms_per_step, repetitions)),
        "tokens": sum(len(run.tokens) for run in repetitions[0]),
        "steps": sum(run.steps for run in repetitions[0]),
        "steps_per_block": statistics.mean(len(block) for run in flat for block in run.drafts),
    }


def tokens_per_second(runs: Iterable[Run]) -> float:
    runs = list(runs)
    return sum(len(run.tokens) for run in runs) / sum(run.seconds for run in runs)


def ms_per_step(runs: Iterable[Run]) -> float:
    """Median gap between two drafts, in milliseconds; NaN where no block took two steps."""
    gaps = [gap for run in runs for gap in run.step_seconds]
    return 1000 * statistics.median(gaps) if gaps else float("nan")


def ratios(theirs: Sequence[Sequence[Run]], ours: Sequence[Sequence[Run]]) -> dict[str, dict[str, float]]:
    """How many times faster ours is, repetition by repetition."""
    pairs = list(zip(theirs, ours, strict=True))
    return {
        "tokens_per_second": spread([tokens_per_second(b) / tokens_per_second(a) for a, b in pairs]),
        "ms_per_step": spread([ms_per_step(a) / ms_per_step(b) for a, b in pairs]),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def second_turns(theirs: Transformers, ours: Ours, first: Task, follow: list[int], repeat: int) -> dict[str, Any]:
    """Milliseconds from a second message to the first draft of its answer, in each of four ways."""
    times: dict[str, list[float]] = {}
    for _ in range(repeat):
        tokens, session = ours.first_turn(first)
        note(times, "dgengine, same session", ours.first_draft(then(first, tokens, follow), session))
        tokens, past = theirs.first_turn(first)
        second = then(first, tokens, follow)
        note(times, "transformers, its past_key_values", theirs.first_draft(second, past))
        note(times, "dgengine, new session", ours.first_draft(second))
        note(times, "transformers, fresh generate", theirs.first_draft(second))
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    mine = medians["dgengine, same session"]
    return {
        "history_tokens": len(first.ids),
        "ms_to_first_step": medians,
        "times_sooner": {name: value / mine for name, value in medians.items()},
    }


def then(first: Task, answer: list[int], follow: list[int]) -> Task:
    """The next turn of the conversation: what was asked, what was answered, what is asked now."""
    return Task(first.ids + answer + follow, first.seed + 1, first.max_new_tokens)


def note(times: dict[str, list[float]], name: str, timed: tuple[float, list[int]]) -> None:
    times.setdefault(name, []).append(timed[0])


def same_drafts(theirs: Transformers, ours: Ours, first: Task, follow: list[int]) -> bool:
    """Whether the second turn's first draft is the same in all ways: each really sees the whole history."""
    tokens, session = ours.first_turn(first)
    past = theirs.first_turn(first)[1]
    second = then(first, tokens, follow)
    drafts = [
        theirs.first_draft(second)[1],
        theirs.first_draft(second, past)[1],
        ours.first_draft(second)[1],
        ours.first_draft(second, session)[1],
    ]
    return all(draft == drafts[0] for draft in drafts)


def read_prompts(path: Path | None) -> list[str]:
    """One prompt a line, or the ones above."""
    if path is None:
        return list(PROMPTS)
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def long_chat(engine: Engine, prompts: Sequence[str], tokens: int) -> list[int]:
    """A chat of about so many tokens, or of as many as leave room for two short answers in the context."""
    canvas = engine.info.canvas_length
    messages: list[dict[str, str]] = []
    ids: list[int] = []
    while len(ids) < tokens:
        prompt = prompts[len(messages) // 2 % len(prompts)]
        question = {"role": "user", "content": prompt}
        longer = engine.encode_chat([*messages, question], max_new_tokens=4 * canvas)
        if longer.dropped:
            return ids
        ids = list(longer)
        messages += [question, {"role": "assistant", "content": f"You said: {prompt}"}]
    return ids


def follow_up(engine: Engine) -> list[int]:
    """One more user turn, as ids that go after an answer: without what every chat begins with."""
    one = list(engine.encode_chat([{"role": "user", "content": FOLLOW_UP}]))
    other = list(engine.encode_chat([{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]))
    return one[1:] if one[0] == other[0] else one


def table(result: dict[str, Any]) -> str:
    """The result for a person to read."""
    run = ", ".join(f"{name} {result[name]}" for name in ("model", "dtype", "threads", "prompts", "repeat"))
    lines = [run, ""]
    lines.append(f"{'answers':<36}{'tokens/s':>10}{'ms/step':>10}{'steps/block':>13}{'peak MiB':>10}")
    for name, figures in result["answers"].items():
        peak = result["memory"].get(name, {}).get("peak_mib")
        lines.append(
            f"{name:<36}{figures['tokens_per_second']:>10.1f}{figures['ms_per_step']:>10.2f}"
            f"{figures['steps_per_block']:>13.1f}{'' if peak is None else format(peak, '.0f'):>10}"
        )
    for name, by in result["times_faster"].items():
        speed, step = by["tokens_per_second"], by["ms_per_step"]
        lines.append(
            f"{name}: {speed['median']:.2f} times the tokens/s ({speed['min']:.2f} to {speed['max']:.2f}), "
            f"{step['median']:.2f} times as fast a step ({step['min']:.2f} to {step['max']:.2f})"
        )
    turn = result["second_turn"]
    lines += ["", f"first step of a second turn after {turn['history_tokens']} tokens:"]
    for name, milliseconds in turn["ms_to_first_step"].items():
        lines.append(f"{name:<36}{milliseconds:>10.1f} ms{turn['times_sooner'][name]:>9.2f} x")
    lines += ["", f"same tokens as transformers with reference draws: {result['same_tokens']}"]
    lines.append(f"same first draft in every second turn: {turn['same_first_draft']}")
    return "\n".join(lines)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Everything but memory, which comes first (see `memory.measure`)."""
    peaks = {
        name: memory.measure(name, options.model, options.dtype, options.threads, options.max_new_tokens)
        for name in (THEIRS, OURS)
    }

    import torch
    import transformers

    if options.threads:
        torch.set_num_threads(options.threads)
    engine = load_engine(options.model, options.dtype)
    theirs = Transformers(model_path(options.model), options.dtype)
    ours, exact = Ours(engine, reference=False), Ours(engine, reference=True)
    prompts = read_prompts(options.prompts)
    tasks = [
        Task(list(engine.encode_chat([{"role": "user", "content": prompt}])), seed, options.max_new_tokens)
        for seed, prompt in enumerate(prompts, start=options.seed)
    ]
    runs = race({THEIRS: theirs, OURS: ours, OURS_REFERENCE: exact}, tasks, options.repeat)
    first = Task(long_chat(engine, prompts, options.history), options.seed, engine.info.canvas_length)
    follow = follow_up(engine)
    turn = second_turns(theirs, ours, first, follow, options.repeat)
    turn["same_first_draft"] = same_drafts(theirs, exact, first, follow)
    return {
        "model": options.model,
        "parameters": engine.info.parameters,
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "prompts": len(prompts),
        "repeat": options.repeat,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "machine": platform.processor() or platform.machine(),
        "answers": {name: answers_summary(repetitions) for name, repetitions in runs.items()},
        "times_faster": {name: ratios(runs[THEIRS], runs[name]) for name in (OURS, OURS_REFERENCE)},
        "same_tokens": tokens_of(runs[THEIRS]) == tokens_of(runs[OURS_REFERENCE]),
        "second_turn": turn,
        "memory": peaks,
    }


def tokens_of(repetitions: Sequence[Sequence[Run]]) -> list[list[list[int]]]:
    return [[run.tokens for run in runs] for runs in repetitions]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The engine against transformers, in one run, on the CPU.")
    parser.add_argument("--model", default="pocket", help="pocket (default), a directory, or a hub id")
    parser.add_argument("--prompts", type=Path, help="one prompt a line (default: six short ones)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, interleaved (default: 3)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: torch's own choice)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first prompt (default: 1)")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--history", type=int, default=2000, help="tokens before the second turn (2000)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    result = compare(options)
    print(table(result), file=sys.stderr)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
