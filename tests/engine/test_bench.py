"""The benchmark measures what it says: it runs from end to end, and both sides do the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.contestants import Run, upto_eos
from bench.vs_transformers import ms_per_step, tokens_per_second
from tests.engine.tiny import tiny_chat_checkpoint

ROOT = Path(__file__).parents[2]


def test_the_first_draft_of_a_block_has_no_gap() -> None:
    run = Run(tokens=[1] * 10, seconds=2.0, drafts=[[1.0, 1.25, 1.5], [3.0], [5.0, 5.5]])
    assert run.step_seconds == [0.25, 0.25, 0.5]
    assert run.steps == 6
    assert ms_per_step([run]) == 250.0
    assert tokens_per_second([run, Run(tokens=[1] * 6, seconds=2.0)]) == 4.0


def test_an_answer_ends_with_its_first_eos() -> None:
    assert upto_eos([5, 6, 1, 7, 1], {1, 4}) == [5, 6, 1]
    assert upto_eos([5, 6], {1, 4}) == [5, 6]


@pytest.mark.slow
def test_from_end_to_end() -> None:
    script = ROOT / "engine" / "bench" / "vs_transformers.py"
    options = ["--repeat", "1", "--threads", "1", "--max-new-tokens", "8", "--history", "100"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "engine"), str(ROOT / "kernels")])}
    result = subprocess.run(
        [sys.executable, str(script), "--model", str(tiny_chat_checkpoint()), *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["same_tokens"]
    assert set(figures["times_faster"]) == {"dgengine", "dgengine, reference draws"}
    for ratios in figures["times_faster"].values():
        assert ratios["tokens_per_second"]["median"] > 0 and ratios["ms_per_step"]["median"] > 0
    assert figures["second_turn"]["same_first_draft"]
    assert len(figures["second_turn"]["ms_to_first_step"]) == 4
    assert all(value > 0 for value in figures["second_turn"]["ms_to_first_step"].values())
    assert figures["second_turn"]["history_tokens"] >= 100
    assert set(figures["answers"]) == {"transformers", "dgengine", "dgengine, reference draws"}
    assert all(answer["tokens"] > 0 and answer["steps"] > 0 for answer in figures["answers"].values())
    assert all(peak["peak_mib"] > peak["torch_alone_mib"] > 0 for peak in figures["memory"].values())
    assert "tokens/s" in result.stderr
