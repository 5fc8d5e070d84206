"""`dgchat pull`, `dgchat models` and `dgchat rm`, against a stand-in of the hub."""

from __future__ import annotations

import hashlib
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dgchat import cli
from dgchat.exits import Exit
from dgchat.inline.answer import Request
from dgchat.models import listing
from dgchat.models.removing import rm
from dgchat.models.showing import Lines, told
from dgengine import hub as dghub
from tests.hub import COMMIT, SHARDS, Cut, Hub, Refusal, Slow, connect, tiny_model
from tests.hub import environment as of_hub
from tests.tui.cli.test_imports import loaded_by
from tests.tui.fakes import Pipe
from tests.tui.program import WAIT, Terminal

NAME = "org/tiny"
BYTES = "80 kB"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub, with one model."""
    monkeypatch.setattr("sys.stdin", Pipe())
    with Hub() as hub:
        connect(monkeypatch, hub, tmp_path / "hub")
        hub.add(NAME, tiny_model(), large=SHARDS)
        yield hub


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = cli.run(args)
    out, err = capsys.readouterr()
    return code, out, err


# pull


def test_a_pull_says_what_came_and_prints_where(
    stand_in: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, "pull", NAME)
    path = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    assert (code, out) == (0, f"{path}\n")
    lines = err.splitlines()
    assert re.fullmatch(rf"dgchat: org/tiny: (checking )?\d+ (bytes )?of {BYTES}", lines[0])
    assert lines[-1] == f"dgchat: org/tiny is here: {BYTES}, version 1a2b3c4, checked. dgchat --model org/tiny runs it."
    err = run(capsys, "pull", NAME)[2]
    assert err.startswith("dgchat: org/tiny was here already: ") and err.count("\n") == 1
    assert run(capsys, "pull", "--quiet", NAME) == (0, f"{path}\n", "")


def test_the_model_to_pull(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """That of the words, of the settings, or the one that fits most GPUs."""
    stand_in.add("nvidia/diffusiongemma-26B-A4B-it-NVFP4", tiny_model(), large=SHARDS)
    assert "nvidia/diffusiongemma-26B-A4B-it-NVFP4 is here" in run(capsys, "pull")[2]
    assert "org/tiny is here" in run(capsys, "--model", NAME, "pull")[2]
    assert "NVFP4 was here already" in run(capsys, "--model", NAME, "pull", "nvfp4")[2]


def test_a_revision_is_pulled(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in.add(NAME, tiny_model(seed=9), large=SHARDS, commit="9" * 40, revision="v1")
    assert "version 9999999" in run(capsys, "pull", NAME, "--revision", "v1")[2]
    assert run(capsys, "pull", f"{NAME}@v1")[1].endswith("9" * 40 + "\n")


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (["pull", "a", "b"], "dgchat pull takes one NAME, such as nvfp4", 2),
        (["pull", "fox"], "'fox' is no name of a model on the hub", 3),
        (["pull", "org/nothing"], "There is no model org/nothing on the hub", 3),
        (["pull", NAME, "--revision", "v9"], "no revision 'v9'", 3),
        (["pull", NAME, "--offline"], "dgchat is set to be offline", 2),
        (["--revision", "v1", "Hello"], "--revision goes with dgchat pull", 2),
        (["models", "--yes"], "--yes goes with dgchat rm", 2),
        (["models", "all"], "dgchat models takes no words", 2),
        (["rm"], "dgchat rm takes one NAME", 2),
        (["rm", NAME], "no model org/tiny in the hub's cache", 3),
        (["rm", "pocket", "--yes"], "pocket is built in", 3),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    stand_in: Hub, capsys: pytest.CaptureFixture[str], args: list[str], said: str, code: int
) -> None:
    assert cli.run(args) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("dgchat: ") and err.count("\n") == 1 and said in err


def test_trouble_of_the_hub_is_one_sentence(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in.token = "hf_secret"
    code, out, err = run(capsys, "pull", NAME, "--quiet")
    assert (code, out, err.count("\n")) == (3, "", 1) and "asks for its licence to be accepted" in err
    stand_in.token = None
    stand_in.troubles["api"] = [Refusal(429, headers={"Retry-After": "120"})]
    code, _, err = run(capsys, "pull", NAME, "--quiet")
    assert code == 3 and "wait 2 min, and run dgchat pull org/tiny again" in err


def test_a_part_of_a_model_is_not_run(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in.troubles[SHARDS[0]], stand_in.lasting = [Cut(after=20_000), Cut(after=0)], True
    code, _, err = run(capsys, "pull", NAME, "--quiet")
    assert code == 3 and "it goes on" in err
    code, out, err = run(capsys, "--model", NAME, "Hello")
    assert (code, out) == (3, "") and "dgchat pull org/tiny goes on" in err


def test_subcommands_are_words_of_a_prompt_after_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe())
    prompts: list[str] = []

    def answer(request: Request) -> Exit:
        prompts.append(request.prompt)
        return Exit.FINE

    monkeypatch.setattr("dgchat.inline.answer.answer", answer)
    for word in ("pull", "models", "rm"):
        assert cli.run(["--", word]) == 0
    assert prompts == ["pull", "models", "rm"]


def test_ctrl_c_leaves_a_part_that_goes_on(
    stand_in: Hub, command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """The real program, and a real signal."""
    stand_in.troubles[SHARDS[0]] = [Slow(chunk=2_000, pause=0.2)]
    process = subprocess.Popen(
        [*command, "pull", NAME],
        env={**environment, **of_hub(stand_in, tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + WAIT
    while part_of_shard(tmp_path) < 4_000:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out) == (130, "")
    assert re.search(rf"dgchat: Stopped at \d+ of {BYTES}; dgchat pull org/tiny goes on\.\n$", err)
    had = part_of_shard(tmp_path)
    stand_in.requests.clear()
    again = subprocess.run(
        process.args, env={**environment, **of_hub(stand_in, tmp_path)}, capture_output=True, text=True
    )
    assert again.returncode == 0 and "org/tiny is here" in again.stderr
    assert stand_in.asked("GET", SHARDS[0])[-1].range == f"bytes={had}-"


def part_of_shard(home: Path) -> int:
    """Bytes of the first shard that have come."""
    name = f"{hashlib.sha256(tiny_model()[SHARDS[0]]).hexdigest()}.incomplete"
    return sum(path.stat().st_size for path in (home / "hub").glob(f"*/blobs/{name}"))


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_on_a_terminal_it_is_a_bar(
    stand_in: Hub, command: list[str], environment: dict[str, str], tmp_path: Path, term: str
) -> None:
    stand_in.troubles[SHARDS[0]] = [Slow(chunk=5_000, pause=0.15)]
    settings = {**environment, **of_hub(stand_in, tmp_path), "TERM": term}
    terminal = Terminal([*command, "pull", NAME], settings)
    assert terminal.close() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.output)
    assert ("━" in terminal.output) == (term != "dumb") == ("\x1b[" in terminal.output)
    assert re.search(rf"\d+ of {BYTES}, \d+ [kM]B/s, \d+ s left", plain) or term == "dumb"
    assert "org/tiny is here" in plain
    assert terminal.output.rfind("\x1b[?25h") >= terminal.output.rfind("\x1b[?25l"), "the cursor is back"


def test_lines_come_every_few_seconds() -> None:
    stream, now = io.StringIO(), [100.0]
    lines = Lines(stream, "nvfp4", clock=lambda: now[0])
    for done in range(0, 12_000, 1000):
        lines.show(dghub.Transfer("download", done, 12_000, 1000.0, (12_000 - done) / 1000))
        now[0] += 1.0
    assert stream.getvalue().splitlines() == [
        "dgchat: nvfp4: 0 bytes of 12 kB, 1 kB/s, 12 s left",
        "dgchat: nvfp4: 5 of 12 kB, 1 kB/s, 7 s left",
        "dgchat: nvfp4: 10 of 12 kB, 1 kB/s, 2 s left",
    ]
    assert lines.how_far == "11 of 12 kB"


def test_what_is_told_of_a_transfer() -> None:
    assert told(dghub.Transfer("download", 7_100_000_000, 18_820_000_000, None, None)) == "7.1 of 18.8 GB"
    large = dghub.Transfer("download", 7_100_000_000, 18_820_000_000, 84e6, 140.0)
    assert told(large) == "7.1 of 18.8 GB, 84 MB/s, 2 min left"
    assert told(dghub.Transfer("check", 9_400_000_000, 18_820_000_000, None, None)) == "checking 9.4 of 18.8 GB"


# models


def test_the_table_of_models(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "pull", NAME)
    stand_in.add("google/diffusiongemma-26B-A4B-it", tiny_model(seed=3), large=SHARDS)
    stand_in.troubles[SHARDS[0]], stand_in.lasting = [Cut(after=20_000), Cut(after=0)], True
    run(capsys, "pull", "bf16")
    code, out, err = run(capsys, "models")
    rows = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert rows[0] == ["NAME", "MODEL", "SIZE", "HERE", "FITS"]
    assert rows[1][:2] == ["pocket", "built in"]
    assert rows[2][:4] == ["nvfp4", "nvidia/diffusiongemma-26B-A4B-it-NVFP4", "18.8 GB", "-"]
    assert rows[5][:3] == ["bf16", "google/diffusiongemma-26B-A4B-it", BYTES] and rows[5][3].endswith(" %")
    assert rows[6] == [NAME, BYTES, "whole"]
    assert max(map(len, out.splitlines())) <= 120
    narrow = listing.table(listing.here_rows(), 80)
    assert max(map(len, narrow)) <= 80 and narrow[0].split() == ["NAME", "SIZE", "HERE", "FITS"]
    assert narrow[1].startswith("pocket ") and narrow[6].startswith(f"{NAME} ")


def test_models_as_json(stand_in: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(capsys, "pull", NAME)
    code, out, err = run(capsys, "models", "--json")
    found = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "") and set(found) == {"pocket", "nvfp4", "nvfp4-redhat", "fp8", "bf16", NAME}
    row = found[NAME]
    assert (row["state"], row["commit"], row["bytes_here"]) == ("whole", COMMIT, row["bytes"])
    assert row["path"] == str(tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT)
    assert found["fp8"]["bytes"] == 27_200_000_000 and found["fp8"]["path"] is None


def test_how_models_fit_is_a_column_of_its_own(stand_in: Hub) -> None:
    rows = listing.rows({"nvfp4": "tight: 8k tokens"})
    lines = listing.table(rows)
    assert lines[0].endswith("FITS") and lines[2].endswith("tight: 8k tokens")
    assert listing.cells(rows)[1] == "nvfp4         18.8 GB  -      tight: 8k tokens"


def test_how_models_fit_this_machine(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "models", "--json")
    verdicts = {row["name"]: row["fits"].partition(":")[0] for row in json.loads(out)}
    assert set(verdicts.values()) <= {"fits", "tight", "slow", "no"} and verdicts["pocket"] == "fits"


def test_models_are_listed_without_torch(environment: dict[str, str]) -> None:
    for args in (["models"], ["rm", "org/x", "--yes"]):
        loaded = loaded_by(f"from dgchat.cli import run\nrun({args!r})", environment)
        assert not loaded & {"torch", "transformers", "textual", "numpy"}
    assert "torch" not in loaded_by("from dgchat.cli import run\nrun(['pull', 'org/x'])", environment)


# rm


def test_a_model_is_removed(stand_in: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "pull", NAME)
    assert run(capsys, "rm", NAME)[2].startswith("dgchat: dgchat rm asks first, which needs a terminal; --yes")
    code, out, err = run(capsys, "rm", NAME, "-y")
    assert (code, out) == (0, "") and re.fullmatch(r"dgchat: org/tiny is removed; \d+ kB are free again\.\n", err)
    assert run(capsys, "rm", NAME, "-y")[0] == 3


@pytest.mark.parametrize(
    ("typed", "gone"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_it_asks_on_a_terminal(stand_in: Hub, capsys: pytest.CaptureFixture[str], typed: str, gone: bool) -> None:
    run(capsys, "pull", NAME)
    screen = Pipe(tty=True)
    assert rm([NAME], yes=False, quiet=False, stdin=Pipe(typed.encode(), tty=True), stderr=screen) == Exit.FINE
    screen.seek(0)
    said = screen.read()
    assert re.match(r"dgchat: Remove org/tiny \(\d+ kB\)\? \[y/N\] ", said)
    assert ("is removed" in said) == gone and ("Nothing has been removed." in said) == (not gone)
    assert bool(dghub.cached_models()) == (not gone)


# the shell


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dgchat p", {"pull"}),
        ("dgchat pull n", {"nvfp4", "nvfp4-redhat"}),
        ("dgchat rm ", {NAME}),
        ("dgchat --model f", {"fp8"}),
    ],
)
def test_completion(
    stand_in: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, offered: set[str]
) -> None:
    run(capsys, "pull", NAME)
    words = typed.split(" ")
    monkeypatch.setenv("_DGCHAT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit):
        cli.run([])
    out = capsys.readouterr().out
    assert {line.partition(",")[2] for line in out.splitlines() if line.startswith("plain")} == offered
