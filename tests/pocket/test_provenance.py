from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket.provenance import corpus_sha256, rolled_up, unrolled
from tests.pocket.test_built_in import DIRECTORY

OWN = st.fixed_dictionaries({"seed": st.integers(0, 3), "emphasis": st.dictionaries(st.sampled_from("ab"), st.just(2))})


def _later(earlier: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    resumed = st.builds(lambda own, source: own | {"resumed_from": source}, OWN, earlier)
    parts = st.lists(st.builds(lambda source: {"weight": 0.5} | source, earlier), min_size=1, max_size=3)
    return resumed | st.builds(lambda own, parts: own | {"mean_of": parts}, OWN, parts)


@given(st.recursive(OWN, _later, max_leaves=8))
def test_an_account_is_told_again_as_it_was(about: dict[str, Any]) -> None:
    stages = unrolled(about)
    assert rolled_up(json.loads(json.dumps(stages))) == about
    assert all(stage not in stages[:number] for number, stage in enumerate(stages))


def test_a_stage_that_several_came_from_stands_once() -> None:
    first = {"seed": 1}
    second, third = {"seed": 2, "resumed_from": first}, {"seed": 3, "resumed_from": first}
    about = {"mean_of": [{"weight": 0.25, **second}, {"weight": 0.75, **third}]}
    assert unrolled(about) == [
        {"seed": 1},
        {"seed": 2, "resumed_from": 0},
        {"seed": 3, "resumed_from": 0},
        {"mean_of": [{"weight": 0.25, "stage": 1}, {"weight": 0.75, "stage": 2}]},
    ]


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_a_stage_from_none_before_it(number: int) -> None:
    with pytest.raises(ValueError, match="stage 0 of the weights' story"):
        rolled_up([{"resumed_from": number}])


def test_the_story_of_the_shipped_weights() -> None:
    story = json.loads((DIRECTORY / "pocket.json").read_text())
    last = rolled_up(story["stages"])
    assert last["guide_sha256"] == story["guide_sha256"] and unrolled(last) == story["stages"]


def test_the_corpus_is_told_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("two")
    (tmp_path / "a.py").write_text("one")
    first = corpus_sha256(tmp_path)
    assert corpus_sha256(tmp_path) == first != corpus_sha256()
    (tmp_path / "a.py").write_text("three")
    assert corpus_sha256(tmp_path) != first
