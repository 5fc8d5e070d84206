"""Events cross threads and processes, and importing them costs little."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dgengine.events import Block, Done, Event, Notice, Prefill, Step
from dgengine.stats import Stats

ENGINE = Path(__file__).parents[2] / "engine"
STATS = Stats(9, 2, (3, 4), 9 / 7, 1.5, 20, 4, 0.5, 18.0, 1 << 20, seed=7)


def a_step(canvas_length: int = 256) -> Step:
    ids = np.arange(canvas_length, dtype=np.int32)
    flags = np.zeros(canvas_length, dtype=np.bool_)
    return Step(1, 1, 0.8, 0.01, ids, ids + 1, ids.astype(np.float32), flags, flags)


EVENTS: list[Event] = [
    Notice("text", "dropped", 2),
    Prefill(1, 2, 3),
    a_step(),
    Block(1, np.arange(3, dtype=np.int32), 4, True),
    Done("eos", STATS),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_events_are_frozen_slotted_and_picklable(event: Event) -> None:
    first = dataclasses.fields(event)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, first, 0)
    assert not hasattr(event, "__dict__")
    copy = pickle.loads(pickle.dumps(event))
    for field in dataclasses.fields(event):
        np.testing.assert_array_equal(getattr(copy, field.name), getattr(event, field.name))


def test_a_step_of_the_full_canvas_is_small() -> None:
    assert len(pickle.dumps(a_step(256))) < 5000


def test_events_match_by_position() -> None:
    match Prefill(1, 2, 3):
        case Prefill(done, total):
            assert (done, total) == (1, 2)
    match EVENTS[3]:
        case Block(block, tokens, steps, converged):
            assert (block, len(tokens), steps, converged) == (1, 3, 4, True)


def test_stats_become_json() -> None:
    assert json.loads(json.dumps(STATS.as_dict()))["steps_per_block"] == [3, 4]


@pytest.mark.parametrize(
    "statement",
    [
        "import dgengine",
        "from dgengine import Step, Done, Sampling, Control, EngineError",
        "import dgengine.errors, dgengine.sampling",
    ],
)
def test_light_names_import_neither_torch_nor_transformers(statement: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(ENGINE)!r}); {statement}; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not any(f"'{name}'" in loaded for name in ("torch", "transformers", "textual", "rich", "huggingface_hub"))


def test_every_public_name_loads() -> None:
    import dgengine

    for name in dgengine.__all__:
        assert name == "Event" or getattr(dgengine, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dgengine.nonsense  # noqa: B018
