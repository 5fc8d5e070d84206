"""`make` sets its environment up once, and again only when pyproject.toml has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAMPS = (".installed", ".installed-dev")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make looks at, with an environment that was set up after the last change."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    for number, name in enumerate(("pyproject.toml", *(f".venv/{stamp}" for stamp in STAMPS))):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_700_000_000 + number, 1_700_000_000 + number))
    return tmp_path


def commands(checkout: Path, target: str) -> str:
    """What make would do. Variables of a make that runs these tests are left out."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "VENV"))}
    dry = ["make", "--dry-run", "--no-print-directory", target]
    return subprocess.run(dry, cwd=checkout, env=plain, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("target", "does"), [("run", "bin/dgchat"), ("test", "-m pytest")])
def test_nothing_is_installed_the_second_time(checkout: Path, target: str, does: str) -> None:
    said = commands(checkout, target)
    assert does in said and "install" not in said


@pytest.mark.parametrize(("target", "what"), [("run", "--editable ."), ("test", "--editable '.[dev]'")])
def test_changed_dependencies_are_installed(checkout: Path, target: str, what: str) -> None:
    (checkout / "pyproject.toml").touch()
    assert what in commands(checkout, target)


@pytest.mark.parametrize("target", ["run", "test"])
def test_a_fresh_checkout_gets_an_environment(checkout: Path, target: str) -> None:
    shutil.rmtree(checkout / ".venv")
    assert "-m venv .venv" in commands(checkout, target)
