"""`dgchat bench` as people type it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from dgchat import cli
from dgchat.bench.runs import numbers, read, save
from dgchat.exits import Exit
from dgchat.paths import bench_folder
from dgengine import errors
from tests.tui.bench.made import RUN, made
from tests.tui.fakes import FakeEngine, Pipe
from tests.tui.program import Terminal


@pytest.fixture(autouse=True)
def no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    found = FakeEngine("One two three.", canvas=4, steps=3)
    monkeypatch.setattr("dgchat.inline.answer.open_engine", lambda *_: found)
    return found


def test_a_run_is_shown_and_kept(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "--quick"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("run 1, ") and "a step, median" in out and "dgchat: kept as run 1\n" in err
    kept = read(bench_folder(), 1)
    assert (kept.model, kept.quick, kept.repeat, kept.seed) == ("fake", True, 1, 20)
    assert [prompt.name for prompt in kept.prompts] == ["short", "long"]


def test_options_hold(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("bench --repeat 2 --seed 9 --max-tokens 8 --steps 5 --json -q".split()) == 0
    out, err = capsys.readouterr()
    table = json.loads(out)
    assert (table["repeat"], table["seed"], table["max_tokens"], table["steps"]) == (2, 9, 8, 5)
    assert table["figures"]["step_ms"] == 1.0 and table["number"] == 1 and err == ""
    assert len(table["prompts"]) == 4


def test_a_run_that_cannot_be_kept_is_shown(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    bench_folder().parent.mkdir(parents=True)
    bench_folder().write_text("in the way", "utf-8")
    assert cli.run(["bench", "--quick"]) == 0
    out, err = capsys.readouterr()
    assert "a step, median" in out and "dgchat: The run cannot be kept: " in err
    assert bench_folder().read_text("utf-8") == "in the way"


def test_runs_are_listed_compared_shown_and_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "--list"]) == 0
    assert "There are no runs yet" in capsys.readouterr().err
    for number in range(1, 4):
        save(made(figures={**RUN.figures, "step_ms": float(number)}), bench_folder())
    (bench_folder() / "4.json").write_text("{", "utf-8")

    def printed(*words: str) -> str:
        assert cli.run(["bench", *words]) == 0
        return capsys.readouterr().out

    assert [line.split()[0] for line in printed("--list").splitlines()] == ["RUN", "1", "2", "3"]
    assert [run["number"] for run in json.loads(printed("--list", "--json"))] == [1, 2, 3]
    assert "RUN 2" in printed("--compare") and "RUN 3" in printed("--compare")
    assert "RUN 1" in printed("--compare", "1") and "RUN 3" in printed("--compare", "1")
    assert ["FIGURE", "RUN", "3", "RUN", "1", "RATIO"] in [
        line.split() for line in printed("--compare", "3", "1").splitlines()
    ]
    assert json.loads(printed("--compare", "1", "2", "--json"))["ratios"]["step_ms"] == 2.0
    assert printed("2").startswith("run 2, ") and json.loads(printed("2", "--json"))["number"] == 2
    assert "| a step, median | 2.00 ms |" in printed("--paste", "2")
    assert "| FIGURE | RUN 2 | RUN 3 | RATIO |" in printed("--compare", "--paste")


def test_a_broken_file_is_one_sentence_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    save(RUN, bench_folder())
    (bench_folder() / "2.json").write_text("{", "utf-8")
    assert cli.run(["bench", "--list"]) == 0
    assert capsys.readouterr().err == "dgchat: Run 2 cannot be read and is left out: it is no JSON.\n"
    assert cli.run(["bench", "--compare"]) == Exit.INPUT
    assert "no two runs" in capsys.readouterr().err
    assert numbers(bench_folder()) == [1, 2]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ("bench --list 1", "takes no runs"),
        ("bench --list --compare", "takes no runs"),
        ("bench --list --paste", "takes no runs"),
        ("bench --paste --json", "exclude each other"),
        ("bench 1 2", "takes one run"),
        ("bench --compare 1 2 3", "takes one run"),
        ("bench 1 --quick", "are for measuring"),
        ("bench --compare --repeat 2", "are for measuring"),
        ("bench --repeat 0", "0 is not in the range"),
        ("--quick Hello", "--quick goes with dgchat bench"),
        ("--paste doctor", "--paste goes with dgchat bench"),
        ("bench --trace x", "--trace goes with"),
    ],
)
def test_wrong_usage_is_one_sentence(args: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(args.split()) == Exit.USAGE
    err = capsys.readouterr().err
    assert part in err and err.count("\n") == 1


@pytest.mark.parametrize("name", ["7", "nosuch", "\x1b[31m"])
def test_a_run_that_is_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["bench", name], ["bench", "--compare", name]):
        assert cli.run(args) == Exit.INPUT
        err = capsys.readouterr().err
        assert "There is no run" in err and err.count("\n") == 1


def test_an_engine_that_fails_leaves_no_run(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.error = errors.NumericsError("The model's output holds NaN.")
    assert cli.run(["bench", "--quick"]) == Exit.ENGINE
    assert capsys.readouterr().err.endswith("dgchat: The model's output holds NaN.\n")
    assert numbers(bench_folder()) == []


def test_ctrl_c_ends_it_and_leaves_nothing_half_written(environment: dict[str, str], tmp_path: Path) -> None:
    environment["FAKE_ENGINE"] = json.dumps({"steps": 200, "delay": 0.02})
    program = Terminal([sys.executable, "-m", "tests.tui.fake_program", "bench"], environment)
    program.until(lambda text: "measuring short" in text)
    program.process.send_signal(signal.SIGINT)
    assert program.close() == Exit.INTERRUPTED
    assert "Stopped." in program.output and "Traceback" not in program.output
    assert not list((tmp_path / "data").rglob("*.json")) and not list((tmp_path / "data").rglob("*.part"))


def test_completion_knows_the_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save(RUN, bench_folder())
    monkeypatch.setenv("_DGCHAT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "dgchat bench ")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        cli.run([])
    assert capsys.readouterr().out.splitlines() == ["plain,1"]
