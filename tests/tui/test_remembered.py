"""What the app remembers from one start to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgchat import remembered
from dgchat.paths import remembered_file
from dgchat.remembered import Remembered
from dgchat.settings import COLORS
from dgchat.settings import load as load_settings

CHOICES = Remembered(True, "day", "age", False, True)


def test_what_is_saved_is_there_again() -> None:
    assert remembered.load() == Remembered()
    remembered.save(CHOICES)
    assert remembered.load() == CHOICES
    assert [path.name for path in remembered_file().parent.iterdir()] == ["remembered.json"]


def test_choices_take_the_place_of_defaults_alone(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[ui]\ncolors = 'entropy'\n")
    found = CHOICES.over(load_settings({"watch": False}, {}, file))
    assert (found.watch, found.colors, found.theme) == (False, "entropy", "day")
    assert found.sources["theme"] == "remembered" and found.sources["watch"] == "command line"
    assert Remembered().over(found) == found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", Remembered()),
        (b"\xff\xfe", Remembered()),
        (b"[1, 2]", Remembered()),
        (b"null", Remembered()),
        (b'{"watch": 1, "theme": 5, "panel": "no", "other": true}', Remembered()),
        (b'{"watch": true, "theme": "day", "colors": null}', Remembered(watch=True, theme="day")),
        (b'{"colors": "purple"}', Remembered()),
        (b'{"watch": NaN}', Remembered()),
        (b"[" * 100_000, Remembered()),
    ],
)
def test_what_makes_no_sense_is_not_remembered(tmp_path: Path, content: bytes, expected: Remembered) -> None:
    path = tmp_path / "remembered.json"
    path.write_bytes(content)
    assert remembered.load(path) == expected


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(COLORS),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["watch", "theme", "colors", "panel", "x"]), inner),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_any_json_gives_choices_that_can_be_used(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "remembered.json"
    path.write_text(json.dumps(value))
    found = remembered.load(path)
    assert found.colors in (None, *COLORS)
    assert {type(found.watch), type(found.panel), type(found.welcomed)} <= {bool, type(None)}


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        remembered.save(CHOICES, tmp_path / "file" / "remembered.json")
    assert remembered.load(tmp_path / "file" / "remembered.json") == Remembered()
