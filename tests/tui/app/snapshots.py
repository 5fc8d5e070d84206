"""The looks of a screen as text: what stands where, and in which style; kept in files, and compared.

`WRITE_SNAPSHOTS=1 pytest tests/tui/app/test_looks.py` writes them anew; the difference is for people to judge.
"""

from __future__ import annotations

import difflib
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style

from tests.tui.app.play import Player

FOLDER = Path(__file__).parent / "snapshots"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_AGREE = 5  # looks in a row that must agree: then nothing is being laid out any more


def dump(app: Any) -> str:
    """All that is on the screen: its lines, the styles of each as `letter` and number of characters, the letters."""
    letters: dict[str, str] = {}
    texts, styles = [], []
    for strip in app.screen._compositor.render_strips():
        chars = [(char, str(segment.style or Style())) for segment in strip for char in segment.text]
        texts.append("".join(char for char, _ in chars).rstrip())
        runs = [(name, len(list(group))) for name, group in groupby(name for _, name in chars)]
        for name, _ in runs:
            letters.setdefault(name, _LETTERS[len(letters)])
        styles.append(" ".join(f"{letters[name]}{count}" for name, count in runs))
    legend = [f"{letter} {name}" for name, letter in letters.items()]
    return "\n".join([*texts, "", *styles, "", *legend]) + "\n"


async def settled(pilot: Player) -> str:
    """What is on the screen when it does not change any more."""
    seen: list[str] = []
    for _ in range(300):
        await pilot.pause(0.02)
        seen = [*seen[1 - _AGREE :], dump(pilot.app)]
        if len(seen) == _AGREE and len(set(seen)) == 1:
            return seen[0]
    pytest.fail("the screen does not come to rest")


async def check(pilot: Player, name: str, folder: Path = FOLDER) -> None:
    """Compares the screen with the file of this name."""
    found, path = await settled(pilot), folder / f"{name}.txt"
    if os.environ.get("WRITE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, "utf-8")
        return
    expected = path.read_text("utf-8")
    if found != expected:
        lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), path.name, "now", lineterm="", n=0)
        pytest.fail("\n".join(lines))
