"""`dgchat history export` of how an answer came about."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgchat.cli import run
from dgchat.history.records import NewAnswer
from dgchat.history.store import Store
from dgchat.paths import history_file
from dgchat.trace.codec import pack, unpack
from tests.tui.trace.made import told


@pytest.fixture(autouse=True)
def chats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """1: two answers with a trace, and one without; 2: none; 3: a damaged one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store(history_file()) as store:
        parent = store.add_question(None, None, "One?")
        for text in ("First.", "Second."):
            answer = store.add_answer(parent.id, NewAnswer(text, trace=pack(told(text))))
            parent = store.add_question(1, answer.id, "And?")
        store.add_answer(parent.id, NewAnswer("Third."))
        store.add_answer(store.add_question(None, None, "Two?").id, NewAnswer("Untraced."))
        store.add_answer(store.add_question(None, None, "Three?").id, NewAnswer("x", trace=b"PK nonsense"))
    monkeypatch.chdir(tmp_path)


def test_the_last_traced_answer_is_exported(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "export", "1", "npz", "a.npz"]) == 0
    assert unpack(Path("a.npz").read_bytes()).text() == "Second."
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("form", "begin"), [("cast", '{"version": 2'), ("svg", "<svg"), ("anim", "<svg"), ("html", "<!")]
)
def test_text_goes_to_the_output_or_to_a_file(capsys: pytest.CaptureFixture[str], form: str, begin: str) -> None:
    assert run(["history", "export", "1", form, "--width", "40"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(begin)
    assert run(["history", "export", "1", form, "out", "--width", "40"]) == 0
    assert Path("out").read_bytes().decode() == text
    assert run(["history", "export", "1", form, "out"]) == 2
    assert run(["history", "export", "1", form, "out", "--force"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["1", "npz"], 2, "npz is no text: name a file, such as chat-1.npz."),
        (["1", "gif"], 2, "gif is no text"),
        (["1", "pdf"], 2, "one of md, json, npz, cast, anim, svg, gif, html"),
        (["2", "svg"], 4, "No answer of chat 2 is traced."),
        (["3", "svg"], 4, "chat 3: The trace is damaged"),
        (["9", "svg"], 4, "There is no chat '9'"),
        (["1", "svg", "a", "b"], 2, "dgchat history takes"),
        (["1", "svg", "no/a.svg"], 2, "There is no folder no."),
        (["1", "svg", "--step", "99"], 2, "The trace has steps 1 to 6"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert run(["history", "export", *words]) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1
