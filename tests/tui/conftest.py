"""What the tests of the terminal app share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The screen's looks do not depend on who runs the tests, and files lie in a folder of the test; yields the log."""
    for kind in ("state", "config", "data"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORFGBG", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "state" / "dgchat" / "dgchat.log"


@pytest.fixture
def command() -> list[str]:
    """The program in this checkout, whether it is installed or not."""
    return [sys.executable, "-m", "dgchat"]


@pytest.fixture
def environment(own_state: Path) -> dict[str, str]:
    """For a process of its own: one thread, and this checkout's packages."""
    paths = [str(ROOT), str(ROOT / "engine"), str(ROOT / "kernels")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
