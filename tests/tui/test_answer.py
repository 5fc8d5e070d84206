"""One answer as text, JSON and events, from an engine that knows it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.exits import Exit, Failure
from dgchat.inline import answer as module
from dgchat.inline.answer import Mode, Request, answer, dumps
from dgchat.notes import Notes
from dgchat.settings import load
from dgengine import errors
from tests.tui.fakes import FakeEngine, Tty
from tests.tui.test_sanitize import is_safe

NASTY = "red \x1b[31mfox\x1b[0m ends \x1b]0;owned\x07here.\n"


def ask(
    monkeypatch: pytest.MonkeyPatch,
    engine: FakeEngine | Exception,
    mode: Mode = "text",
    out: io.StringIO | None = None,
    **flags: Any,
) -> str:
    """What the answer looks like on `out`."""

    def open_engine(*_: object) -> FakeEngine:
        if isinstance(engine, Exception):
            raise engine
        return engine

    monkeypatch.setattr(module, "open_engine", open_engine)
    out = out or io.StringIO()
    settings = load({"pace": 0.0, **flags}, {})
    assert answer(Request("Hello", settings, mode), out) is Exit.FINE
    return out.getvalue()


def test_text_ends_in_one_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, FakeEngine("Good day.")) == "Good day.\n"
    assert ask(monkeypatch, FakeEngine("Good day.\n")) == "Good day.\n"
    assert ask(monkeypatch, FakeEngine("")) == ""


def test_several_blocks_make_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(f"Line {number} of a longer answer." for number in range(20))
    assert ask(monkeypatch, FakeEngine(text, canvas=16)) == text + "\n"


def test_escape_sequences_do_not_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, FakeEngine(NASTY, canvas=4)) == "red fox ends here.\n"


@given(st.text(max_size=60), st.integers(1, 12))
def test_whatever_the_model_writes_is_safe(text: str, canvas: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for out in (io.StringIO(), Tty()):
            assert is_safe(ask(patch, FakeEngine(text, canvas=canvas), out=out))
        for mode in ("json", "events"):
            written = ask(patch, FakeEngine(text, canvas=canvas), mode)
            assert is_safe(written) and written.isascii()


def test_words_wrap_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "The quick brown fox jumps over the lazy dog."
    assert ask(monkeypatch, FakeEngine(text), out=Tty()) == "The quick brown fox\njumps over the lazy\ndog.\n"
    assert ask(monkeypatch, FakeEngine(text)) == text + "\n"


def test_json_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    written = ask(monkeypatch, FakeEngine(NASTY, name="some\x7fmodel"), "json")
    result = json.loads(written)
    assert written.count("\n") == 1
    assert set(result) == {"text", "thinking", "model", "seed", "reason", "stats"}
    assert (result["text"], result["model"], result["seed"], result["reason"]) == (NASTY, "some\x7fmodel", 7, "eos")
    assert result["stats"]["steps_per_block"] == [6] and "seed" not in result["stats"]


def test_events_are_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine("A quiet fox found a lantern.", canvas=4, steps=3)
    engine.notices = ["The oldest turn was left out."]
    lines = [json.loads(line) for line in ask(monkeypatch, engine, "events").splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds == ["notice", "prefill", "prefill", *["step", "step", "step", "block"] * 2, "done"]
    step = lines[3]
    assert (step["block"], step["step"]) == (1, 1)
    assert all(len(step[name]) == 4 for name in ("draft", "canvas", "entropy", "accepted", "pinned"))
    assert isinstance(step["text"], str) and "top_ids" not in step
    assert [line["text"] for line in lines if line["event"] == "block"] == ["A quiet fox found", " a lantern."]
    assert lines[-1]["text"] == "A quiet fox found a lantern."
    assert lines[-1]["stats"]["tokens"] == 8


def test_the_chat_and_the_sampling_are_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine("Fine.")
    ask(monkeypatch, engine, system="Be brief.")
    assert engine.asked == [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]]
    sampling = module.sampling_of(load({"seed": 3, "max_tokens": 9, "steps": 4}, {}))
    assert (sampling.seed, sampling.max_new_tokens, sampling.max_denoising_steps) == (3, 9, 4)


def test_notes_go_to_stderr_unless_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine("Fine.")
    engine.notices = ["The oldest \x1b[2Jturn was left out."]
    ask(monkeypatch, engine)
    assert capsys.readouterr().err == "dgchat: The oldest turn was left out.\n"
    ask(monkeypatch, engine, quiet=True)
    assert capsys.readouterr().err == ""


def test_what_had_to_be_reduced_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, wanted = FakeEngine("Fine."), {}
    engine.info = replace(engine.info, notes=("The experts of 7 of 30 layers stay in host memory.",))

    def load_engine(name: str, **options: Any) -> FakeEngine:
        wanted.update(options)
        return engine

    monkeypatch.setattr("dgengine.Engine.load", load_engine)
    stderr = io.StringIO()
    module.open_engine(load({"model": "x", "context": 4096}, {}), Notes(stderr, quiet=False))
    assert stderr.getvalue() == "dgchat: The experts of 7 of 30 layers stay in host memory.\n"
    assert wanted["context"] == 4096


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ModelNotFoundError("No model."), Exit.MODEL),
        (errors.CheckpointError("Broken."), Exit.MODEL),
        (errors.ConfigError("Of another architecture."), Exit.MODEL),
        (errors.ChatTemplateError("No template."), Exit.MODEL),
        (errors.DeviceError("No device."), Exit.USAGE),
        (errors.SamplingError("Wrong."), Exit.USAGE),
        (errors.EmptyPromptError("Empty."), Exit.INPUT),
        (errors.PromptTooLongError("Too long."), Exit.INPUT),
        (errors.NumericsError("NaN."), Exit.ENGINE),
        (MemoryError(), Exit.ENGINE),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), Exit.ENGINE),
    ],
)
def test_every_error_has_its_code(monkeypatch: pytest.MonkeyPatch, error: Exception, code: Exit) -> None:
    with pytest.raises(Failure) as caught:
        ask(monkeypatch, error)
    assert caught.value.code is code
    assert str(caught.value).endswith(".")


def test_what_was_written_before_an_error_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(FakeEngine):
        def spell(self, ids: Any) -> list[bytes]:
            if self.vocabulary.encode(" five")[0] in ids:
                raise errors.NumericsError("The model's output holds NaN.")
            return super().spell(ids)

    out = io.StringIO()
    with pytest.raises(Failure, match="NaN"):
        ask(monkeypatch, Half("One two three four five six.", canvas=4), out=out)
    assert out.getvalue().startswith("One two three four")


def test_json_stays_in_printable_ascii() -> None:
    assert dumps({"a": "\x7f\x9b\u202e\n"}) == '{"a": "\\u007f\\u009b\\u202e\\n"}'
