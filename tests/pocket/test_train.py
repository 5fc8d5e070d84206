"""The options of the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pocket.train import Trainer, parse


def test_tasks_are_emphasised_by_name() -> None:
    assert parse([]).emphasis == []
    assert parse(["--emphasis", "count=5,list=1.5"]).emphasis == [("count", 5.0), ("list", 1.5)]


@pytest.mark.parametrize("text", ["counting=5", "count", "count=many", ""])
def test_what_is_no_task_or_no_number_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parse(["--emphasis", text])


@pytest.mark.soak
def test_the_same_steps_give_the_same_weights(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        options = ["--steps", "2", "--no-compile", "--tokenizer-turns", "200", "--vocab", "1024", "--seed", "3"]
        Trainer(parse([*options, "--out", str(tmp_path / name)])).run()
        made.append(torch.load(tmp_path / name / "checkpoint.pt", weights_only=True))
    assert all(torch.equal(value, made[1]["weights"][name]) for name, value in made[0]["weights"].items())
    assert made[0]["about"]["steps"] == 2 and made[0]["about"]["corpus_sha256"] == made[1]["about"]["corpus_sha256"]
