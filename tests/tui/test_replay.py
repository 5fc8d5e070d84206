"""`dgchat replay` and `--trace`: from an answer to its trace, and from the trace to the terminal and to files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dgchat import cli
from dgchat.inline.replay import play
from dgchat.settings import Settings, load
from dgchat.trace.codec import pack, unpack
from dgchat.trace.frames import View, frames
from tests.tui.fakes import FakeEngine, Pipe, Tty
from tests.tui.screen import Screen
from tests.tui.trace.made import STORY, told


@pytest.fixture(autouse=True)
def no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "story.npz"
    path.write_bytes(pack(told()))
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """What answers on the command line."""
    engine = FakeEngine(STORY)
    monkeypatch.setattr("dgchat.inline.answer.open_engine", lambda *_: engine)
    return engine


# ---- keeping


@pytest.mark.parametrize("option", [[], ["--json"], ["--events"], ["--watch"]])
def test_an_answer_leaves_its_trace(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    path = tmp_path / "story.npz"
    assert cli.run([*option, "--trace", str(path), "A", "story."]) == 0
    out, err = capsys.readouterr()
    if option == ["--json"]:
        assert json.loads(out)["text"] == STORY
    elif option == ["--events"]:
        assert json.loads(out.splitlines()[-1])["text"] == STORY
    else:
        assert out == STORY + ("" if STORY.endswith("\n") else "\n")
    assert err == f"dgchat: the steps are in {path}; dgchat replay {path} shows them\n"
    trace = unpack(path.read_bytes())
    assert trace.text() == STORY and len(trace) == len(told())
    assert (trace.about.model, trace.about.prompt, trace.about.seed) == ("fake", "A story.", 7)
    assert trace.about.ends == engine.eos_ids


def test_a_trace_is_not_written_over_and_nothing_is_asked_then(
    engine: FakeEngine, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = saved.read_bytes()
    assert cli.run(["--trace", str(saved), "A story."]) == 2
    assert "is there already; --force overwrites it." in capsys.readouterr().err
    assert engine.asked == [] and saved.read_bytes() == before
    assert cli.run(["--trace", str(saved), "--force", "Another."]) == 0
    assert unpack(saved.read_bytes()).about.prompt == "Another."


def test_an_answer_that_breaks_off_leaves_the_steps_so_far(engine: FakeEngine, tmp_path: Path) -> None:
    engine.error, engine.failing = KeyboardInterrupt(), 2
    path = tmp_path / "broken.npz"
    assert cli.run(["--seed", "3", "--trace", str(path), "A story."]) == 130
    trace = unpack(path.read_bytes())
    assert [len(block) for block in trace.blocks] == [6, 1] and trace.about.seed == 3
    assert trace.text() and STORY.startswith(trace.text())


def test_a_trace_ends_where_it_would_be_too_long(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dgchat.inline.tracing.MOST_STEPS", 4)
    path = tmp_path / "cut.npz"
    assert cli.run(["--trace", str(path), "A story."]) == 0
    assert ", up to block 1: a trace cannot be longer; " in capsys.readouterr().err
    assert len(unpack(path.read_bytes())) == 4


def test_candidates_are_asked_of_the_sampler(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    asked: list[Any] = []
    generate = type(engine.session()).generate

    def spy(session: Any, ids: Any, sampling: Any, *rest: Any) -> Any:
        asked.append(sampling.trace_top_k)
        return generate(session, ids, sampling, *rest)

    monkeypatch.setattr("tests.tui.fakes.FakeSession.generate", spy)
    assert cli.run(["--top-k", "5", "Hi"]) == 0 and cli.run(["Hi"]) == 0
    assert asked == [5, 0]


# ---- playing


def test_into_a_pipe_goes_the_text_alone(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--inline"], ["--speed", "0"]):
        assert cli.run(["replay", str(saved), *options]) == 0
        assert capsys.readouterr().out == STORY + "\n"


def settings(**flags: float | str | bool) -> Settings:
    return load({"pace": 1000.0, **flags}, {})


def test_on_a_terminal_it_resolves_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("dgchat.inline.live.LiveArea.size", lambda _: (60, 16))
    out = Tty()
    play(told(), settings(), out)
    text = out.getvalue()
    assert "block 1, step 1 of 6" in text and "block 2, step 6 of 6" in text and "░" in text
    screen = Screen(60, 16).feed(text)
    assert screen.text().split() == STORY.split() and screen.cursor_shown


def test_without_a_pace_each_step_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    waits: list[float] = []
    trace = told()
    monkeypatch.setattr("dgchat.inline.replay.time.sleep", waits.append)
    trace.blocks[0].seconds = [0.25, 1e30, 0.0, 0.25, 0.25, 0.25]
    play(trace, settings(pace=0.0), Tty())
    assert waits[:3] == [0.25, 5.0, 0.02] and len(waits) == len(trace)
    waits.clear()
    play(trace, settings(pace=0.0), Pipe())
    assert waits == []


def test_one_step_as_text(saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.run(["replay", str(saved), "--step", "9", "--width", "40"]) == 0
    out = capsys.readouterr().out
    frame = list(frames(told(), View(40, marks=True)))[8]
    assert out.splitlines() == ["".join(span.text for span in row) for row in frame.screen]
    assert "\x1b" not in out and frame.block == 2
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Tty()
    monkeypatch.setattr("sys.stdout", terminal)
    assert cli.run(["replay", str(saved), "--step", "2"]) == 0
    assert "\x1b[" in terminal.getvalue() and "~" not in terminal.getvalue()


# ---- files


@pytest.mark.parametrize("ending", ["npz", "cast", "svg", "anim.svg", "html"])
def test_exports(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    assert cli.run(["replay", str(saved), "--export", str(path), "--width", "50"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err == f"dgchat: {path}: {path.stat().st_size:,} bytes\n"
    assert ("@keyframes" in path.read_text("latin-1")) == (ending == "anim.svg")
    assert cli.run(["-q", "replay", str(saved), "--export", str(path), "--force"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.run(["replay", str(saved), "--export", str(path)]) == 2


def test_the_format_can_be_named(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "watch.svg"
    assert cli.run(["replay", "--export", str(path), "--format", "anim", "--speed", "4", str(saved)]) == 0
    assert "@keyframes" in path.read_text("utf-8")
    assert cli.run(["replay", str(saved), "--export", str(path), "--step", "2", "--force"]) == 0
    assert "step 2 of 6" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["replay"], 2, "takes one FILE"),
        (["replay", "a", "b"], 2, "takes one FILE"),
        (["replay", "no-such-file"], 4, "cannot be read: No such file"),
        (["replay", "."], 4, "cannot be read: Is a directory"),
        (["replay", "a\x00b"], 4, "cannot be read"),
        (["replay", "damaged"], 4, "The trace is damaged"),
        (["replay", "story.npz", "--step", "99"], 2, "The trace has steps 1 to 12, not 99."),
        (["replay", "story.npz", "--step", "0"], 2, "Invalid value for '--step'"),
        (["replay", "story.npz", "--speed", "nan"], 2, "it is no number"),
        (["replay", "story.npz", "--speed", "-1"], 2, "Invalid value for '--speed'"),
        (["replay", "story.npz", "--export", "a.pdf"], 2, "there are npz, cast"),
        (["replay", "story.npz", "--export", "a.html", "--step", "1"], 2, "the format svg"),
        (["replay", "story.npz", "--export", "no/a.svg"], 2, "There is no folder no."),
        (["replay", "story.npz", "--export", "a.svg", "--inline"], 2, "exclude each other"),
        (["replay", "story.npz", "--format", "svg"], 2, "--format goes with --export"),
        (["replay", "story.npz", "--trace", "x"], 2, "--trace goes with a prompt"),
        (["--export", "a.svg", "Hello"], 2, "--export goes with dgchat replay"),
        (["--width", "50", "Hello"], 2, "--width goes with dgchat replay"),
        (["config", "--force"], 2, "--force goes with dgchat replay"),
        (["--top-k", "21", "Hello"], 2, "Invalid value for '--top-k'"),
        (["--trace", "no/such.npz", "Hello"], 2, "There is no folder no."),
        (["--trace", "story.npz", "Hello"], 2, "is there already"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    saved: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    args: list[str], code: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(saved.parent)
    Path("damaged").write_bytes(saved.read_bytes()[:-100])
    assert cli.run(args) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1 and err.startswith("dgchat: ")


def test_a_prompt_that_begins_like_the_subcommand(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--", "replay", "the", "battle"]) == 0
    assert engine.asked[0][-1]["content"] == "replay the battle"


def test_a_chat_takes_no_trace_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(tty=True))
    assert cli.run(["--trace", "x.npz"]) == 2
    assert "go with a prompt" in capsys.readouterr().err


def test_no_model_is_needed(saved: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom dgchat.cli import run\n"
        f"for form in ('npz', 'cast', 'svg', 'anim', 'html'):\n"
        f"    assert run(['replay', {str(saved)!r}, '--export', {str(saved)!r} + form, '--format', form]) == 0\n"
        f"assert run(['replay', {str(saved)!r}]) == run(['replay', {str(saved)!r}, '--step', '2']) == 0\n"
        "print(*[name for name in ('torch', 'transformers', 'textual', 'PIL', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dgchat repl", {"replay"}),
        ("dgchat replay st", {"st"}),
        ("dgchat replay story.npz --exp", {"--export"}),
        ("dgchat replay story.npz --format a", {"anim"}),
        ("dgchat history export 3 h", {"html"}),
        ("dgchat history export 3 html st", {"st"}),
    ],
)
def test_completion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, offered: set[str]
) -> None:
    monkeypatch.setenv("_DGCHAT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        cli.run([])
    assert {line.split(",")[1] for line in capsys.readouterr().out.splitlines()} == offered


def test_the_help_has_a_part_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    options, _, traces = capsys.readouterr().out.partition("Subcommands:")[0].partition("Traces:")
    assert "--export" not in options and "--seed" not in traces
    for option in ("--trace FILE", "--top-k N", "--inline", "--speed N", "--step N", "--export FILE", "--width N"):
        assert option in traces
