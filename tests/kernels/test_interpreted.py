"""The tests of kernels in Triton's interpreter, in a process of their own: its setting holds for all of a process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "interpreted"


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_in_the_interpreter(pytestconfig: pytest.Config) -> None:
    profile = pytestconfig.getoption("--hypothesis-profile", default=None)
    options = ["-q", "-p", "no:cacheprovider", "-m", pytestconfig.getoption("markexpr")]
    if profile:
        options.append(f"--hypothesis-profile={profile}")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(FOLDER), *options],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
