"""How a story takes a name that a person holds: `PYTHONPATH=engine python -m pocket.steering --runs 100`.

Each run tells a held-out story once, holds another name of the same kind of being in the place of the hero's first
name, as one does on the frozen canvas, and has the block form anew around it. Prints how often the held name stands
where it was put, how often the rest changed with it, and how often the story that came of it passes its checker.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dgengine import Control, Engine, Sampling
from dgengine.events import Block
from pocket.corpus import TASKS, Turn
from pocket.corpus.stories import retell
from pocket.corpus.world import BEINGS


@dataclass(frozen=True)
class Steered:
    """One run.

    Attributes:
        before, after: the story before, and the one that formed around the held name.
        name: the held one.
        kept: whether it stands where it was held.
        changed: whether anything else did.
        reason: why the checker refuses the story; None where it is one.
    """

    before: str
    after: str
    name: str
    kept: bool
    changed: bool
    reason: str | None


def tell(engine: Engine, turn: Turn, seed: int, pins: dict[int, int] | None = None) -> list[int]:
    """The tokens of an answer; `pins` hold in its first block."""
    control, ids = Control(), []
    for position, token in (pins or {}).items():
        control.pin(position, token)
    prompt = engine.encode_chat([{"role": "user", "content": turn.prompt}])
    for event in engine.session().generate(prompt, Sampling(seed=seed), control):
        if isinstance(event, Block):
            ids += event.tokens.tolist()
    return ids


def place_of(ids: list[int], wanted: list[int]) -> int | None:
    """Where a sequence of tokens first stands in another."""
    starts = range(len(ids) - len(wanted) + 1)
    return next((start for start in starts if ids[start : start + len(wanted)] == wanted), None)


def other_name(engine: Engine, rng: random.Random, kind: str, name: str) -> tuple[str, list[int]] | None:
    """Another name for such a being, of as many tokens as this one; None where there is none."""
    length = len(engine.encode(f" {name}"))
    fitting = [other for other in BEINGS[kind].names if other != name and len(engine.encode(f" {other}")) == length]
    return None if not fitting else (chosen := rng.choice(fitting), engine.encode(f" {chosen}"))


def steer(engine: Engine, rng: random.Random, turn: Turn, seed: int) -> Steered | None:
    """One run; None where the first story is none, or its name has no other of the same length."""
    before = tell(engine, turn, seed)
    told = retell(turn, engine.decode(before).strip())
    if told is None or TASKS["story"].check(turn, engine.decode(before).strip()) is not None:
        return None
    hero, name = told.facts["story"]["hero"], told.facts["story"]["name"]
    place = place_of(before, engine.encode(f" {name}"))
    other = other_name(engine, rng, hero, name)
    if place is None or other is None or place + len(other[1]) > engine.info.canvas_length:
        return None
    after = tell(engine, turn, seed, dict(enumerate(other[1], place)))
    held = slice(place, place + len(other[1]))
    wanted = replace(turn, facts={**turn.facts, "asked_name": None})  # the person wants another name than the prompt
    text = engine.decode(after).strip()
    changed = _without(before, held) != _without(after, held)
    return Steered(
        engine.decode(before).strip(), text, other[0], after[held] == other[1], changed,
        TASKS["story"].check(wanted, text),
    )  # fmt: skip


def _without(ids: list[int], held: slice) -> list[int]:
    return ids[: held.start] + ids[held.stop :]


def runs(engine: Engine, count: int, seed: int) -> Iterator[Steered]:
    """So many runs, on held-out stories."""
    rng, done, number = random.Random(seed), 0, 0
    while done < count:
        turn = TASKS["story"].sample(rng, True)
        number += 1
        steered = steer(engine, rng, turn, seed + number)
        if steered is not None:
            done += 1
            yield steered


def main() -> None:
    parser = argparse.ArgumentParser(prog="pocket.steering")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--show", type=int, default=0, help="print so many of the stories that are none")
    options = parser.parse_args()
    results = list(runs(Engine.load(options.model), options.runs, options.seed))
    share = 100 / max(1, len(results))
    print(f"{len(results)} stories, the hero's name held as another one")
    print(f"  held where it was put  {share * sum(item.kept for item in results):6.1f} %")
    print(f"  the rest changed       {share * sum(item.changed for item in results):6.1f} %")
    print(f"  a story by its checker {share * sum(item.reason is None for item in results):6.1f} %")
    for item in [item for item in results if item.reason][: options.show]:
        print(f"\n[{item.reason}] {item.name}\n  {item.before}\n  {item.after}")


if __name__ == "__main__":
    main()
