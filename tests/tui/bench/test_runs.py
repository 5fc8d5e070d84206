"""Runs that are kept: whole or not at all, and read with care."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.bench.runs import BrokenRunError, _run, named, numbers, read, read_all, save
from dgchat.exits import Exit, Failure
from tests.tui.bench.made import RUN, made


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "bench"
    first, second = save(RUN, folder), save(made(load=None, gpu="A card", missing={"load": "Why."}), folder)
    assert (first.number, second.number, numbers(folder)) == (1, 2, [1, 2])
    assert (read(folder, 1), read(folder, 2)) == (first, second)
    assert sorted(item.name for item in folder.iterdir()) == ["1.json", "2.json"]


def test_a_number_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program keeps a run between our look at the folder and our writing."""
    save(RUN, tmp_path)
    monkeypatch.setattr("dgchat.bench.runs.numbers", lambda _: [])
    assert save(made(model="other"), tmp_path).number == 2
    assert read(tmp_path, 1).model == "pocket"

    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert save(made(model="third"), tmp_path).number == 3
    assert sorted(item.name for item in tmp_path.iterdir()) == ["1.json", "2.json", "3.json"]


def test_a_run_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> int:
        self.touch()
        raise OSError("No space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        save(RUN, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"version": 2}', '{"version": 1}', "[" * 100_000, " " * (1 << 21), "\xff"]
)
def test_a_broken_file_is_a_sentence_and_stays(tmp_path: Path, text: str) -> None:
    save(RUN, tmp_path)
    (tmp_path / "2.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "3.json").mkdir()
    (tmp_path / "notes.json").write_text("mine", "utf-8")
    told: list[str] = []
    assert [run.number for run in read_all(tmp_path, told.append)] == [1]
    assert len(told) == 2 and all(sentence.startswith("Run ") and sentence.endswith(".") for sentence in told)
    assert (tmp_path / "2.json").read_bytes() == text.encode("latin-1")
    assert save(RUN, tmp_path).number == 4
    with pytest.raises(Failure, match="Run 2 cannot be read") as caught:
        named(tmp_path, "2")
    assert caught.value.code is Exit.INPUT


@pytest.mark.parametrize("name", ["0", "7", "-1", "x", "", "1e3", "¹", "9" * 30])
def test_a_run_that_is_not_there(tmp_path: Path, name: str) -> None:
    save(RUN, tmp_path)
    with pytest.raises(Failure, match="no run"):
        named(tmp_path, name)


def test_the_last_run_has_a_name(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no run 'last'"):
        named(tmp_path, "last")
    save(RUN, tmp_path)
    assert named(tmp_path, "last").number == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 3), ("cores", -1), ("cores", True), ("cores", 1.5), ("quick", 1), ("load", "x"), ("load", -1.0),
        ("figures", []), ("figures", {"step_ms": "fast"}), ("figures", {"step_ms": float("nan")}), ("missing", None),
        ("missing", {"load": 1}), ("prompts", {}), ("prompts", [1]), ("prompts", [{"name": "x", "tokens": None}]),
        ("gpu", 1), ("seed", 2**70), ("max_tokens", "9"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BrokenRunError):
        _run({**json.loads(json.dumps(RUN.as_dict())), name: value}, 1)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(name=st.sampled_from(sorted(RUN.as_dict())), value=_json)
def test_whatever_stands_there_is_a_run_or_is_refused(name: str, value: Any) -> None:
    try:
        _run({**RUN.as_dict(), "prompts": [], name: value}, 1)
    except BrokenRunError as error:
        assert str(error)
