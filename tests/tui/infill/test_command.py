"""`dgchat infill` as people type it, with rewrites that are known beforehand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.cli import run
from dgchat.documents import Document
from dgengine.errors import CheckpointError, InfillError, NumericsError
from tests.tui.fakes import Pipe
from tests.tui.infill.canned import Canned
from tests.tui.test_documents import TEXTS

STORY = "A fox ran.\nIt found a lantern.\nThe end.\n"
CHANGED = " A fox ran.\n-It found a lantern.\n+It found a silver bell.\n The end.\n"
Printed = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Canned:
    return use(monkeypatch, Canned("a silver bell", "nothing", "one old kite", alien=[1]))


def use(monkeypatch: pytest.MonkeyPatch, engine: Canned) -> Canned:
    monkeypatch.setattr("dgchat.infill.command.open_engine", lambda *_: engine)
    return engine


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", Pipe(tty=True))
    path = tmp_path / "story.txt"
    path.write_bytes(STORY.encode())
    return path


@pytest.fixture
def printed(capfdbinary: pytest.CaptureFixture[bytes]) -> Printed:
    """Runs the command; gives what it wrote to stdout and to stderr."""

    def command(*args: str, code: int = 0) -> tuple[str, str]:
        assert run(["infill", *args]) == code
        out, err = capfdbinary.readouterr()
        return out.decode(), err.decode()

    return command


def pipe(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(text if isinstance(text, bytes) else text.encode()))


def one_sentence(err: str) -> bool:
    return err.startswith("dgchat: ") and err.count("\n") == 1 and err.endswith(".\n") and "Traceback" not in err


# ---- a file


def test_it_prints_the_diff_of_the_best(story: Path, printed: Printed, engine: Canned) -> None:
    out, err = printed("story.txt", "--match", "a lantern")
    assert out == "--- a/story.txt\n+++ b/story.txt\n@@ -1,3 +1,3 @@\n" + CHANGED
    assert err == "dgchat: 2 other candidates: --all shows them too\n"
    assert story.read_bytes() == STORY.encode()
    request, _ = engine.requests[0]
    assert (request.text, request.spans, request.strength, request.length) == (STORY, ((20, 29),), 1.0, "search")


def test_options_reach_the_request(story: Path, printed: Printed, engine: Canned) -> None:
    args = "--lines 2 --instruction bigger --strength polish --candidates 2 --length 9 --seed 5 --steps 7".split()
    printed("story.txt", *args)
    request, sampling = engine.requests[0]
    assert (request.instruction, request.strength, request.candidates, request.length) == ("bigger", 0.3, 2, 9)
    assert sampling is not None and (sampling.seed, sampling.max_denoising_steps) == (5, 7)
    printed("story.txt", "--lines", "1-2", "--strength", "0.45", "--length", "same")
    request = engine.requests[1][0]
    assert (request.spans, request.strength, request.length) == (((0, 30),), 0.45, "same")


def test_all_of_them(story: Path, printed: Printed) -> None:
    out, err = printed("story.txt", "--match", "a lantern", "--all")
    headings = [line for line in out.splitlines() if line.startswith("# ")]
    assert headings == [
        "# candidate 1 of 3: joins well, score 0.00",
        "# candidate 2 of 3: does not join well, score -0.10",
        "# candidate 3 of 3: joins well, score -0.20",
    ]
    assert out.count("--- a/story.txt") == 3 and "+It found one old kite." in out and err == ""


def test_quiet_says_nothing(story: Path, printed: Printed) -> None:
    out, err = printed("story.txt", "--match", "a lantern", "--quiet")
    assert CHANGED in out and err == ""


def test_write(story: Path, printed: Printed) -> None:
    story.chmod(0o640)
    out, err = printed("story.txt", "--match", "a lantern", "--write")
    assert out.endswith(CHANGED) and err == "dgchat: wrote story.txt; 1 span rewritten\n"
    assert story.read_text() == STORY.replace("a lantern", "a silver bell")
    assert story.stat().st_mode & 0o777 == 0o640
    out, err = printed("story.txt", "--match", "a silver bell", "--write", "--quiet")
    assert out == err == ""


def test_several_spans(story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Canned(("An owl", "Begin")))
    printed("story.txt", "--match", "The end", "--bytes", "0:5", "--write")
    assert story.read_text() == "An owl ran.\nIt found a lantern.\nBegin.\n"


def test_what_does_not_join_is_not_written(story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Canned("zzz", alien=[0]))
    out, err = printed("story.txt", "--lines", "2")
    assert "+zzz\n" in out and one_sentence(err.replace("find one\n", "find one.\n"))
    assert "no candidate joins well with the text around it" in err
    out, err = printed("story.txt", "--lines", "2", "--write", code=1)
    assert "+zzz\n" in out and one_sentence(err) and "--force" in err
    assert story.read_text() == STORY
    out, err = printed("story.txt", "--lines", "2", "--json", "--write", code=1)
    assert json.loads(out)["written"] is False and story.read_text() == STORY
    printed("story.txt", "--lines", "2", "--write", "--force")
    assert story.read_text() == STORY.replace("It found a lantern.", "zzz")


def test_the_text_as_it_was(story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Canned("a lantern"))
    assert printed("story.txt", "--match", "a lantern") == ("", "dgchat: the best candidate is the text as it was\n")


def test_json(story: Path, printed: Printed) -> None:
    out, err = printed("story.txt", "--match", "a lantern", "--json")
    result = json.loads(out)
    assert err == "" and out.count("\n") == 1
    assert (result["file"], result["model"], result["seed"]) == ("story.txt", "fake", 7)
    assert result["spans"] == [
        {"start": 20, "end": 29, "bytes": [20, 29], "from": [2, 10], "to": [2, 19], "text": "a lantern"}
    ]
    assert [candidate["joins"] for candidate in result["candidates"]] == [True, False, True]
    best = result["candidates"][result["best"]]
    assert best["replacements"] == ["a silver bell"] and best["text"] == STORY.replace("a lantern", "a silver bell")
    assert best["seam"] is None  # it was no number
    assert result["written"] is False and result["stats"]["tokens"] == 10


def test_crlf_and_a_byte_order_mark_stay(story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\xef\xbb\xbf" + STORY.replace("\n", "\r\n").encode()
    story.write_bytes(data)
    use(monkeypatch, Canned("one\ntwo"))
    out, _ = printed("story.txt", "--lines", "1", "--write")
    assert story.read_bytes() == data.replace(b"A fox ran.", b"one\r\ntwo")
    assert "-\ufeffA fox ran.\r\n+\ufeffone\r\n+two\r\n" in out


@given(text=TEXTS, new=TEXTS, ends=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_no_byte_outside_the_span_is_written(
    tmp_path_factory: pytest.TempPathFactory, text: str, new: str, ends: tuple[int, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(b"<" + text.encode() + b">")
    document = Document.read(path)
    start, end = sorted(min(place, len(document.text)) for place in ends)
    data = path.read_bytes()
    first, last = (len(document.text[:place].encode()) for place in (start, end))
    if b"\r\n" in (data[first - 1 : first + 1], data[last - 1 : last + 1]):
        return  # within a line ending: refused
    with pytest.MonkeyPatch.context() as patched:
        use(patched, Canned(new))
        patched.setattr("sys.stdout", Pipe())
        patched.setattr("sys.stdin", Pipe(tty=True))
        assert run(["infill", str(path), "--bytes", f"{first}:{last}", "--write", "--quiet"]) == 0
    written = path.read_bytes()
    assert written.startswith(data[:first]) and written.endswith(data[last:])
    assert len(written) >= len(data) - (last - first)


# ---- what is wrong


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        ("story.txt --match zebra", "'zebra' does not stand in story.txt", 4),
        ("story.txt --match n", "stands 5 times in story.txt (1:9,", 4),
        ("story.txt --lines 9", "story.txt has 3 lines: line 9 is not within it", 4),
        ("story.txt --bytes 3:99", "story.txt has 40 bytes", 4),
        ("story.txt --lines 1 --match fox", "lie upon each other at 1:3", 4),
        ("none.txt --lines 1", "There is no file none.txt", 4),
        (". --lines 1", ". is a folder", 4),
        ("binary --lines 1", "binary is a binary file", 4),
        ("latin --lines 1", "latin is not UTF-8 text: byte 0xe9 at offset 3", 4),
        ("read-only --lines 1 --write", "read-only is read-only", 4),
        ("", "takes a FILE, or text on standard input", 2),
        ("a b --lines 1", "takes a FILE, or text on standard input", 2),
        ("story.txt", "Say what is to be rewritten", 2),
        ("story.txt --match=", "--match takes a text that is not empty", 2),
        ("story.txt --lines 2-1", "'2-1' ends before it begins", 2),
        ("story.txt --lines 0", "they count from 1", 2),
        ("story.txt --lines two", "'two' is not a line", 2),
        ("story.txt --bytes 9", "'9' is not a range of bytes", 2),
        ("story.txt --lines 1 --strength 2", "'2' is none of polish, rephrase, rewrite", 2),
        ("story.txt --lines 1 --strength nan", "'nan' is none of", 2),
        ("story.txt --lines 1 --length 0", "'0' is none of search, same", 2),
        ("story.txt --lines 1 --candidates 17", "Invalid value for '--candidates'", 2),
        ("story.txt --lines 1 --json --all", "leave out --all", 2),
        ("story.txt --lines 1 --force", "--force goes with --write", 2),
        ("story.txt --lines 1 --events", "--events goes with a prompt", 2),
        ("story.txt --lines 1 --marks [ ]", "go with text on standard input", 2),
        ("story.txt --in story.txt", "go with text on standard input", 2),
        ("- --write", "--write goes with a FILE", 2),
        ("- --all", "--all goes with a FILE", 2),
        ("- --marks [ ] --lines 1", "leave out --lines", 2),
        ("- --in story.txt --lines 1", "leave out --lines", 2),
        ("story.txt --lines 1 --trace x.npz", "--trace goes with a prompt", 2),
    ],
)
def test_one_sentence(story: Path, printed: Printed, engine: Canned, args: str, said: str, code: int) -> None:
    Path("binary").write_bytes(b"a\0b")
    Path("latin").write_bytes(b"caf\xe9")
    Path("read-only").write_bytes(b"a")
    Path("read-only").chmod(0o444)
    out, err = printed(*args.split(), code=code)
    assert out == "" and said in err and one_sentence(err)
    assert engine.requests == [] and story.read_text() == STORY


def test_infill_options_go_with_infill_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["--lines", "3", "Hello"], ["config", "--write"], ["--in", "x", "Hello"], ["--match", "", "Hello"]):
        assert run(args) == 2
        assert "goes with dgchat infill." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckpointError("The model is broken."), 3),
        (InfillError("The span is too long."), 4),
        (NumericsError("It holds NaN."), 1),
        (MemoryError("DefaultCPUAllocator"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_goes_wrong_in_the_engine(
    story: Path, printed: Printed, engine: Canned, error: BaseException, code: int
) -> None:
    engine.error = error
    out, err = printed("story.txt", "--lines", "1", "--write", code=code)
    assert out == "" and one_sentence(err) and story.read_text() == STORY


def test_no_candidate_at_all(story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Canned())
    out, err = printed("story.txt", "--lines", "1", code=1)
    assert out == "" and "found nothing to put there" in err


def test_a_file_that_is_changed_meanwhile(
    story: Path, printed: Printed, engine: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def theirs(*_: object) -> Canned:
        story.write_text("theirs")
        return engine

    monkeypatch.setattr("dgchat.infill.command.open_engine", theirs)
    out, err = printed("story.txt", "--lines", "1", "--write", code=4)
    assert out == "" and "has been changed on disk" in err and one_sentence(err)
    assert story.read_text() == "theirs" and len(os.listdir()) == 1


# ---- a filter


def test_marks_in_piped_text(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"\xef\xbb\xbfA \xe2\x9f\xa6red\xe2\x9f\xa7 fox\r\nran \xe2\x9f\xa6\xe2\x9f\xa7.")
    use(monkeypatch, Canned(("blue\nor grey", "home")))
    out, err = printed()
    assert (out, err) == ("\ufeffA blue\r\nor grey fox\r\nran home.", "")


def test_marks_of_ones_own(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "A ⟦ <<red>> fox\n")
    assert printed("-", "--marks", "<<", ">>")[0] == "A ⟦ a silver bell fox\n"


def test_places_in_piped_text(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "one ⟦\ntwo\nthree")
    assert printed("-", "--lines", "2")[0] == "one ⟦\na silver bell\nthree"


def test_a_part_of_a_file(story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch, engine: Canned) -> None:
    pipe(monkeypatch, "It found a lantern.\n")
    assert printed("--in", "story.txt") == ("a silver bell\n", "")
    assert engine.requests[0][0].spans == ((11, 30),) and engine.requests[0][0].text == STORY
    pipe(monkeypatch, "a lantern")
    assert printed("-", "--in", "story.txt")[0] == "a silver bell"
    assert story.read_text() == STORY


def test_json_of_a_filter(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "A ⟦red⟧ fox\n")
    result = json.loads(printed("--json")[0])
    assert result["file"] is None and result["candidates"][0]["text"] == "A a silver bell fox\n"


@pytest.mark.parametrize(
    ("text", "args", "said"),
    [
        ("plain", "", "There is no ⟦…⟧ in the text"),
        ("", "", "There is no ⟦…⟧ in the text"),
        ("a ⟦b", "", "⟦ is not closed at 1:3"),
        ("a ⟦b⟦c⟧⟧", "", "⟦ at 1:5 stands within the marks at 1:3"),
        ("plain", "--lines 2", "the text on standard input has 1 line"),
        (b"a\0", "", "The text on standard input is a binary file"),
        (b"caf\xe9", "", "not UTF-8 text"),
        ("zebra", "--in story.txt", "'zebra' does not stand in story.txt"),
        ("n", "--in story.txt", "stands 5 times"),
        ("\n", "--in story.txt", "no text on standard input"),
        ("a", "--in none.txt", "There is no file none.txt"),
    ],
)
def test_a_filter_that_fails_writes_nothing(
    story: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch, text: str | bytes, args: str, said: str
) -> None:
    pipe(monkeypatch, text)
    out, err = printed(*args.split(), code=4)
    assert out == "" and said in err and one_sentence(err)


# ---- a terminal


def on_terminal(monkeypatch: pytest.MonkeyPatch, *args: str) -> str:
    out = Pipe(tty=True)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", out)
        assert run(["infill", *args]) == 0
    out.seek(0)
    return out.read()


def test_colours_on_a_terminal(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ["story.txt", "--match", "a lantern"]
    assert "\x1b[31m-It found a lantern.\x1b[0m\n" in on_terminal(monkeypatch, *args)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_terminal(monkeypatch, *args)


def test_escape_sequences_reach_no_terminal(story: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    evil = "red \x1b]0;owned\x07\x1b[2Jtext is here\n"
    story.write_text(evil + "end\n")
    use(monkeypatch, Canned("x\x1b[31my"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert evil in printed("story.txt", "--lines", "2")[0]  # into a pipe it goes as it is
    assert on_terminal(monkeypatch, "story.txt", "--lines", "2").endswith(" red text is here\n-end\n+xy\n")
    pipe(monkeypatch, evil + "⟦⟧")
    assert on_terminal(monkeypatch) == "red text is here\nxy"


# ---- the command line


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["infill", "--help"], ["--seed", "3", "infill", "-h"], ["infill", "x", "--lines", "3", "--help"]):
        assert run(args) == 0
        out = capsys.readouterr().out
        assert out.startswith("Usage: dgchat infill [OPTIONS] [FILE|-]")
        for word in ("Examples:", "--match TEXT", "| dgchat infill", "Exit codes:", "--force", "--watch"):
            assert word in out
        assert "--trace" not in out and "--system" not in out
    for args in (["--help"], ["--help", "--", "infill"], ["say", "infill", "--help"]):
        assert run(args) == 0
        out = capsys.readouterr().out
        assert out.startswith("Usage: dgchat [OPTIONS] [PROMPT]") and "dgchat infill FILE" in out


def test_the_command_line_and_the_engine_allow_the_same() -> None:
    from dgchat.cli.options import infill
    from dgengine.infill import prompt, request

    assert infill.STRENGTHS == request.STRENGTHS
    assert infill.MOST_CANDIDATES == request.MOST_CANDIDATES
    from dgchat.infill.spans import MARKS

    assert (prompt.OPEN, prompt.CLOSE) == MARKS


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dgchat inf", {"infill"}),
        ("dgchat infill --str", {"--strength"}),
        ("dgchat infill --strength re", {"rephrase", "rewrite"}),
        ("dgchat infill --length sa", {"same"}),
    ],
)
def test_completion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, offered: set[str]
) -> None:
    monkeypatch.setenv("_DGCHAT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        run([])
    assert {line.split(",")[1] for line in capsys.readouterr().out.splitlines()} == offered
