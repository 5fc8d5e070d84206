# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The repair of the interpreter itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import triton

from tests.kernels.interpreter.repairs import repair


def test_repairing_again_changes_nothing() -> None:
    builder = triton.runtime.interpreter.InterpreterBuilder
    before = dict(vars(builder))
    repair()
    assert dict(vars(builder)) == before


@pytest.mark.parametrize(
    ("setting", "prelude", "message"),
    [
        ("0", "", "set TRITON_INTERPRET=1"),
        ("0", "import os, triton.language; os.environ['TRITON_INTERPRET'] = '1'", "imported before"),
    ],
)
def test_a_process_that_compiles_is_left_alone(setting: str, prelude: str, message: str) -> None:
    code = f"{prelude}\nfrom tests.kernels.interpreter.repairs import repair\nrepair()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRITON_INTERPRET": setting},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert message in run.stderr
