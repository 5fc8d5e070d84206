"""A name that is held stays, and the story forms around it."""

from __future__ import annotations

from dgengine import Engine
from pocket.steering import place_of, runs


def test_the_story_forms_around_a_held_name() -> None:
    results = list(runs(Engine.load("pocket"), 6, 5))
    for item in results:
        assert item.kept and item.changed and f" {item.name}" in item.after
    # How often it is right over many runs, `python -m pocket.steering` tells.
    assert sum(item.reason is None for item in results) >= 3


def test_places() -> None:
    assert place_of([1, 2, 3, 2, 3], [2, 3]) == 1
    assert place_of([1, 2], [3]) is None and place_of([1], [1, 2]) is None
