"""Runs as people see them, and as they paste them."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgchat.bench import machine
from dgchat.bench.figures import FIGURES
from dgchat.bench.table import comparison, listing, markdown, ratio, run_sheets, write
from tests.tui.bench.made import RUN, made
from tests.tui.fakes import FakeInfo, Tty
from tests.tui.test_sanitize import is_safe

NASTY = "evil \x1b[31mname\x1b]0;owned\x07\u202e"


def plain(*sheets: object, words: int = 1) -> str:
    out = io.StringIO()
    write(sheets, out, words)  # type: ignore[arg-type]
    return out.getvalue()


def test_a_run_in_a_pipe() -> None:
    text = plain(*run_sheets(made(number=3)))
    assert text.startswith("run 3, 2026-01-02 03:04 UTC, dgchat 0.1.0, 1 prompt, 3 times each, seed 20\n")
    assert "pocket, float32, embedded on cpu\n" in text and "torch 2.13.0, load average 0.5" in text
    for figure in FIGURES.values():
        assert figure.title in text
    assert "a step, median" in text and "1.00 ms" in text and "short     12.0    2.0" in text


def test_what_is_missing_is_a_dash_with_its_reason_below() -> None:
    figures = {**RUN.figures, "step_ms": None, "step_ms_p95": None, "memory": None}
    reasons = {"step_ms": "No steps.", "step_ms_p95": "No steps.", "memory": "Not told."}
    text = plain(*run_sheets(made(figures=figures, missing=reasons)))
    lines = text.splitlines()
    assert any(line.startswith("a step, median") and line.endswith("–") for line in lines)
    assert "– a step, median; a step, 95th percentile: No steps." in lines
    assert "– memory at its peak: Not told." in lines


def test_a_busy_machine_is_told() -> None:
    assert "others may have slowed it" in plain(*run_sheets(made(load=1.6)))
    assert "others may have slowed it" not in plain(*run_sheets(made(load=0.9)))


def test_two_runs_side_by_side() -> None:
    faster = made(number=2, model="nvfp4", figures={**RUN.figures, "step_ms": 0.5, "tokens_per_second": 2.0})
    gone = made(number=1, figures={**RUN.figures, "memory": None})
    text = plain(comparison(gone, faster))
    assert "a step, median" in text and "0.50  better" in text
    assert any(line.startswith("tokens a second") and line.endswith("0.50  worse") for line in text.splitlines())
    assert any(line.startswith("first") or line.endswith("1.00  same") for line in text.splitlines())
    assert "The runs differ in: model (pocket, nvfp4)." in text
    assert ratio(gone, faster, "memory") is None and ratio(gone, faster, "step_ms") == 0.5


def test_what_one_run_does_not_have_is_none() -> None:
    sheet = comparison(made(number=1), made(number=2, precision="", quick=True))
    assert any("precision (float32, none), quick (no, yes)" in line for line in sheet.below)


def test_many_runs_are_a_line_each() -> None:
    text = plain(listing([made(number=1), made(number=12, gpu="A card")]), words=4)
    assert text.splitlines()[1].startswith("1    2026-01-02 03:04  pocket float32  embedded on cpu")
    assert "embedded on A card" in text


def test_nothing_of_a_file_reaches_a_terminal_as_an_escape_sequence() -> None:
    run = made(model=NASTY, cpu=NASTY, missing={"load": NASTY}, figures={**RUN.figures, "load": None}, number=1)
    for sheets in (run_sheets(run), [comparison(run, run)], [listing([run])]):
        assert is_safe(plain(*sheets)) and is_safe(markdown(sheets))
        out = Tty()
        write(sheets, out)
        assert "owned" not in out.getvalue() and "\u202e" not in out.getvalue()


def test_a_terminal_gets_the_same_figures() -> None:
    out = Tty()
    write(run_sheets(RUN), out)
    assert "a step, median" in out.getvalue() and "1.00 ms" in out.getvalue()


def test_markdown_is_a_table_that_holds() -> None:
    text = markdown(run_sheets(RUN))
    assert "| FIGURE | VALUE |\n| --- | ---: |\n| a step, median | 1.00 ms |\n" in text
    assert "A \\| processor" in text and text.endswith("\n")


def test_nothing_that_is_pasted_tells_whose_machine_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "marvin.example.org")
    monkeypatch.setattr("getpass.getuser", lambda: "zaphod")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/zaphod"))
    leaks = (
        "zaphod at marvin, /home/zaphod/models/x, C:\\Users\\z, http://marvin.example.org:8000/v1, ~/x at 10.0.0.1:8000"
    )
    run = made(cpu=leaks, missing={"load": leaks}, figures={**RUN.figures, "load": None})
    text = markdown(run_sheets(run))
    for secret in ("zaphod", "Zaphod", "marvin", "/home", "Users", "http", "10.0.0.1", "models/x", "~"):
        assert secret not in text
    assert "second turn, to its first step" in text and "memory at its peak" in text


@pytest.mark.parametrize(
    ("name", "weight", "found"),
    [
        ("pocket", 1, "pocket"),
        ("google/diffusiongemma-26B", 1, "google/diffusiongemma-26B"),
        ("/home/zaphod/models/mine/", 1, "mine"),
        ("./mine", 1, "mine"),
        ("~/a/mine", 1, "mine"),
        ("C:\\models\\mine", 1, "mine"),
        ("/", 1, "a directory"),
        ("google/dg at marvin:8000", 0, "google/dg"),
        ("/srv/dg at marvin", 0, "dg"),
    ],
)
def test_a_model_is_called_by_its_name_alone(name: str, weight: int, found: str) -> None:
    info = FakeInfo(name=name, weight_bytes=weight, device="vLLM at marvin" if not weight else "cpu")
    assert machine.model_name(info) == found  # type: ignore[arg-type]
    assert "marvin" not in machine.device_name(info)  # type: ignore[arg-type]


def test_what_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.look(FakeInfo())  # type: ignore[arg-type]
    assert found.cpu and found.cores >= 1 and found.gpu is None and found.torch
    assert machine.look(FakeInfo(weight_bytes=0)).torch is None  # type: ignore[arg-type]
    gpus = SimpleNamespace(gpus=[SimpleNamespace(name="One"), SimpleNamespace(name="Two")])
    monkeypatch.setattr("dgchat.machine.nvidia.find", lambda: gpus)
    for device, gpu in (("cuda:0", "One"), ("cuda:1", "Two"), ("cuda", "One"), ("cuda:7", None)):
        assert machine.look(FakeInfo(device=device)).gpu == gpu  # type: ignore[arg-type]
