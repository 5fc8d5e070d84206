"""Rewrites by an engine that only pretends: it knows its candidates, and finds them step by step, side by side."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from dgengine import Block, Candidate, Control, Done, Event, Hole, InfillRequest, Prefill, Sampling, Step
from dgengine.infill.request import splice

if TYPE_CHECKING:
    from tests.tui.fakes import FakeEngine

BEFORE = 3  # tokens of the text before the hole on a canvas


def fake_infill(
    engine: FakeEngine, request: InfillRequest, sampling: Sampling | None, control: Control
) -> Generator[Event, None, None]:
    """The events of a rewrite whose candidates are `engine.rewrites`."""
    from tests.tui.fakes import fake_stats

    engine.requests.append((request, sampling))
    yield Prefill(0, len(request.text), 0)
    yield Prefill(len(request.text), len(request.text), 0)
    texts = engine.rewrites[: request.candidates]
    canvases = [engine.vocabulary.encode(text) or [engine.filler[0]] for text in texts]
    length = BEFORE + max(map(len, canvases)) + 2
    for number, tokens in enumerate(canvases):
        yield Hole(number, number + 1, ((0, BEFORE, BEFORE + len(tokens)),))
    runs = [_steps(engine, tokens, number, length) for number, tokens in enumerate(canvases)]
    last: dict[int, Step] = {}
    for steps in zip_longest(*runs):
        engine.wait(control)
        if engine.error is not None and steps[0] is not None and steps[0].step == 2:
            raise engine.error
        for step in filter(None, steps):
            pins = control.orders(step.block).pins  # waits while it is held
            if control.cancelled:
                yield Done("cancelled", fake_stats(0, 0, engine.steps))
                return
            last[step.block] = held(step, pins)
            yield last[step.block]
    engine.wait(control)
    if control.cancelled:
        yield Done("cancelled", fake_stats(0, 0, engine.steps))
        return
    for block, step in last.items():
        yield Block(block, step.draft, step.step, True, candidate=step.candidate)
    for number, tokens in enumerate(canvases):
        found = last[number + 1].draft[BEFORE : BEFORE + len(tokens)].tolist()
        new = texts[number] if found == tokens else engine.decode(found)
        yield Candidate(
            number, number + 1, (new,), splice(request.text, request.spans, [new]), number != 1, -number / 10, 0.1,
            -0.4 - number / 10, len(tokens), engine.steps, 0.3, "pinned", True,
        )  # fmt: skip
    yield Done("eos", fake_stats(10, 1, engine.steps))


def _steps(engine: FakeEngine, tokens: Sequence[int], number: int, length: int) -> Generator[Step, None, None]:
    """The steps of one candidate: the hole as `fake_steps` has it, and pins around."""
    from tests.tui.fakes import fake_steps

    around = engine.filler[0]
    for step in fake_steps(tokens, len(tokens), number + 1, engine.steps, engine.filler, seed=number):
        free = slice(BEFORE, BEFORE + len(tokens))
        draft, entropy = np.full(length, around, np.int32), np.zeros(length, np.float32)
        accepted, pinned = np.zeros(length, bool), np.ones(length, bool)
        draft[free], entropy[free] = step.draft, step.entropy + 0.1 * number
        accepted[free], pinned[free] = step.accepted, False
        yield replace(
            step, draft=draft, canvas=draft, entropy=entropy, accepted=accepted, pinned=pinned, candidate=number
        )


def held(step: Step, pins: object) -> Step:
    """As `tests.tui.fakes.pinned`; what is pinned already stays so."""
    from tests.tui.fakes import pinned

    return pinned(step, pins)  # type: ignore[arg-type]
