"""What a model thinks, on the command line: beside the answer, and never in it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgchat.inline import answer as module
from dgchat.inline.answer import Mode, Request, TextWriter, answer
from dgchat.inline.flow import Flow
from dgchat.inline.replay import play
from dgchat.inline.watch import WatchWriter
from dgchat.settings import load
from dgchat.trace.codec import TraceError, pack, unpack
from dgchat.trace.files import read_trace
from dgchat.trace.playback import Playback
from dgchat.trace.steps import About, StepTrace
from dgengine import Block, ChatTemplateError, Sampling
from tests.tui.fakes import CLOSING, OPENING, FakeEngine, FakeSession, Tty
from tests.tui.screen import Screen

THOUGHT = "Two and two. \x1b[31mLet me count.\nThat is it."
ANSWER = "Four.\nNot five."


def thinker(text: str = f"<thought>{THOUGHT}</thought>\n{ANSWER}", canvas: int = 4) -> FakeEngine:
    engine = FakeEngine(text, canvas=canvas)
    engine.thinks = True
    return engine


def ask(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, mode: Mode = "text", **flags: Any) -> str:
    monkeypatch.setattr(module, "open_engine", lambda *_: engine)
    out = io.StringIO()
    answer(Request("Hello", load({"pace": 0.0, "thinking": True, **flags}, {}), mode), out)
    return out.getvalue()


@pytest.mark.parametrize("canvas", [1, 2, 3, 4, 7, 64])
def test_the_answer_alone_goes_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], canvas: int
) -> None:
    engine = thinker(canvas=canvas)
    assert ask(monkeypatch, engine) == ANSWER + "\n"
    assert capsys.readouterr().err == "Two and two. Let me count.\nThat is it.\n"
    assert engine.thought == [True]


def test_quiet_says_nothing_beside_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(monkeypatch, thinker(), quiet=True) == ANSWER + "\n"
    assert capsys.readouterr().err == ""


def test_what_was_thought_unasked_is_not_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = thinker()
    assert ask(monkeypatch, engine, thinking=False) == ANSWER + "\n"
    assert capsys.readouterr().err == "" and engine.thought == [False]


def test_a_header_that_leaks_hides_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, thinker(f"<thought>{ANSWER}"), thinking=False) == ANSWER + "\n"
    assert ask(monkeypatch, thinker("Well,<thought>hm</thought> four.")) == "Well, four.\n"


@pytest.mark.parametrize("canvas", [2, 64])
def test_json_has_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], canvas: int) -> None:
    result = json.loads(ask(monkeypatch, thinker(canvas=canvas), "json"))
    assert (result["thinking"], result["text"]) == (THOUGHT, ANSWER)
    assert capsys.readouterr().err == ""
    assert json.loads(ask(monkeypatch, FakeEngine("Hi."), "json", thinking=False))["thinking"] == ""


def test_events_are_what_the_engine_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.loads(line) for line in ask(monkeypatch, thinker(), "events").splitlines()]
    assert lines[-1]["text"] == f"thought\n{THOUGHT}\n{ANSWER}"
    assert OPENING in lines[5]["draft"]


def test_a_model_that_cannot_think_says_so_and_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine("Four.")
    assert ask(monkeypatch, engine) == "Four.\n"
    assert capsys.readouterr().err == "dgchat: fake cannot think.\n" and engine.thought == [False]


def test_a_model_that_cannot_be_asked_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Untold(FakeEngine):
        @property
        def capabilities(self) -> Any:
            raise ChatTemplateError("The chat template refuses these messages.")

    ask(monkeypatch, Untold("Four."))
    assert capsys.readouterr().err == "dgchat: The chat template refuses these messages.\n"


def test_the_built_in_model_says_that_it_cannot() -> None:
    import dgengine

    reason = dgengine.Engine.load("pocket", device="cpu").capabilities.reason("thinking")
    assert reason is not None and reason.startswith("pocket ") and reason.endswith(".")


def test_thoughts_are_dim_on_a_terminal_and_a_line_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    engine, out, aside = thinker("<thought>One two three four.</thought>Four.", canvas=3), Tty(), Tty()
    writer = TextWriter(engine, out, thinking=True, aside=aside)
    for event in FakeSession(engine).generate([1]):
        writer.take(event)
    writer.close()
    assert aside.getvalue().replace("\x1b[2m", "").replace("\x1b[22m", "") == "One two\nthree four.\n"
    assert aside.getvalue().startswith("\x1b[2mOne") and "\x1b" not in out.getvalue()
    assert out.getvalue() == "Four.\n"


def test_a_reader_of_the_thoughts_who_goes_away_keeps_nobody_from_the_answer() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    flow = Flow(Closed(), aside=True)
    flow.show("Hm.")
    flow.close()
    with pytest.raises(BrokenPipeError):
        Flow(Closed()).show("Hm.")


# ---- watching


def watch(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, shows_thoughts: bool = True) -> tuple[str, list[str]]:
    """What is left on a terminal, and what stood there at each step."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("dgchat.inline.live.LiveArea.size", lambda _: (60, 16))
    monkeypatch.setattr("dgchat.inline.watch._MAX_FPS", 1e9)
    out, screen, frames, seen = Tty(), Screen(60, 16), [], 0
    settings = load({"watch": True, "pace": 0.0}, {})
    writer = WatchWriter(engine, Sampling(), settings, out, thinking=True, shows_thoughts=shows_thoughts)
    for event in FakeSession(engine).generate([1]):
        writer.take(event)
        screen.feed(out.getvalue()[seen:])
        seen = len(out.getvalue())
        frames.append(screen.text())
    writer.close()
    return screen.feed(out.getvalue()[seen:]).text(), frames


@pytest.mark.parametrize("canvas", [1, 3, 5, 8, 64])
def test_a_watched_thought_stays_above_the_answer(monkeypatch: pytest.MonkeyPatch, canvas: int) -> None:
    left, _ = watch(monkeypatch, thinker(canvas=canvas))
    assert left == "Two and two. Let me count.\nThat is it.\nFour.\nNot five."


@pytest.mark.parametrize("canvas", [1, 3, 8, 64])
def test_a_watched_thought_is_gone_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch, canvas: int) -> None:
    left, _ = watch(monkeypatch, thinker(canvas=canvas), shows_thoughts=False)
    assert left == ANSWER


def test_a_canvas_that_holds_both_tells_where_the_answer_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    _, frames = watch(monkeypatch, thinker("<thought>One.</thought>Four.", canvas=12))
    assert any("⟨thinking⟩" in frame and "One.⟨answer⟩Four." in frame for frame in frames)


# ---- traces


def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> StepTrace:
    monkeypatch.setattr(module, "open_engine", lambda *_: engine)
    file = tmp_path / "t.npz"
    settings = load({"pace": 0.0, "thinking": True, "quiet": True}, {})
    answer(Request("Hello", settings, trace=file), io.StringIO())
    return read_trace(file)


def test_a_trace_knows_thoughts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = traced(tmp_path, monkeypatch, thinker("<thought>One two three.</thought>Four five.", canvas=5))
    assert (trace.about.marks, trace.about.thinking) == ((OPENING, CLOSING), True)
    out = io.StringIO()
    play(trace, load({"pace": 0.0}, {}), out)
    assert out.getvalue() == "Four five.\n"
    assert trace.text() == "⟨thinking⟩thought\nOne two three.⟨answer⟩Four five."
    playback = Playback(trace)
    assert (playback.before(), playback.thinks()) == ("Four five", False)
    playback.go(len(trace.blocks[0]))
    assert (playback.before(), playback.thinks()) == ("", True)
    assert "".join(span.text for row in playback.canvas().rows(80) for span in row).startswith("One two")
    playback.go(0)
    assert (playback.before(), playback.thinks()) == ("", False)


def test_a_trace_without_thoughts_is_written_as_it_always_was(tmp_path: Path) -> None:
    plain = unpack(pack(StepTrace(about=About("m", "p"))))
    assert (plain.about.marks, plain.about.thinking) == (None, False)
    assert b"marks" not in json.dumps(plain.about.model).encode()


@pytest.mark.parametrize("marks", [(1,), (1, 2, 3), ("a", "b"), (1.5, 2)])
def test_marks_that_make_no_sense_are_refused(marks: Any) -> None:
    broken = StepTrace(about=replace(About("m", "p"), marks=marks))
    with pytest.raises(TraceError, match="marks"):
        unpack(pack(broken))


def test_the_steps_of_a_block_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = thinker("<thought>One two three.</thought>Four five six seven eight.", canvas=3)
    trace = StepTrace(about=About(marks=engine.thought_marks, thinking=True))
    trace.speller = engine.spell
    spelled: list[int] = []

    def spell(ids: Sequence[int]) -> list[bytes]:
        spelled.append(len(ids))
        return engine.spell(ids)

    monkeypatch.setattr(trace, "speller", spell)
    playback: Playback | None = None
    blocks = 0
    for event in FakeSession(engine).generate([1]):
        trace.take(event)
        if isinstance(event, Block):
            blocks += 1
        elif len(trace):
            playback = playback or Playback(trace)
            playback.go(len(trace) - 1)
            playback.before()
    assert sum(spelled) == 3 * (blocks - 1)
