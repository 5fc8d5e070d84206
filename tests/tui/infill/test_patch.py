"""The unified diff: `git apply` and `patch` make of the old file the very bytes of the new one."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.infill.patch import display_name, painted, unified
from dgengine.infill.request import splice

LINES = st.lists(
    st.sampled_from(["", "a", "b", "fox", "--- x", "+ y", "@@ -1 +1 @@", "\\ z", "é\u2028\x0c"]), max_size=12
)
NEWLINES = st.sampled_from(["\n", "\r\n"])


@st.composite
def rewrites(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[str]]:
    newline = draw(NEWLINES)
    text = newline.join(draw(LINES))
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    places = places[: len(places) // 2 * 2]
    spans = list(zip(places[::2], places[1::2], strict=True))
    spans = [span for number, span in enumerate(spans) if not number or span != spans[number - 1]]
    return text, spans, [newline.join(draw(LINES)) for _ in spans]


def applied(lines: list[str], old: str) -> str:
    """What the diff makes of the old text, by the rules of the format."""
    text = "".join(lines)
    if not text:
        return old
    mark = ""
    source, made, place = re.findall(r"[^\n]*\n|[^\n]+", old), [], 0
    for line in re.findall(r"[^\n]*\n", text)[2:]:
        head = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@\n", line)
        if head:
            start = int(head[1]) - (head[2] != "0")
            made += source[place:start]
            place = start
        elif line.startswith("\\"):
            made[-1:] = [made[-1].removesuffix("\n")] if mark == "+" or mark == " " else made[-1:]
        else:
            mark, body = line[0], line[1:]
            if mark in "- ":
                assert source[place] in (body, body.removesuffix("\n"))
                place += 1
            if mark in "+ ":
                made.append(body)
    return "".join(made + source[place:])


@given(rewrites())
def test_it_makes_the_new_text(rewrite: tuple[str, list[tuple[int, int]], list[str]]) -> None:
    text, spans, new = rewrite
    assert applied(unified("f", text, spans, new), text) == splice(text, spans, new)


def test_it_is_what_difflib_writes() -> None:
    old = "".join(f"line {number}\n" for number in range(40))
    spans, new = [(0, 6), (147, 154), (170, 170)], ["first", "other\nnew", "in"]
    lines = old.splitlines(keepends=True)
    wanted = difflib.unified_diff(lines, splice(old, spans, new).splitlines(keepends=True), "a/f", "b/f")
    assert unified("f", old, spans, new) == list(wanted)


def test_nothing_changed() -> None:
    assert unified("f", "a fox\n", [(2, 5)], ["fox"]) == []


@pytest.mark.parametrize(
    ("tool", "args"), [("git", ["apply", "--whitespace=nowarn", "-"]), ("patch", ["-p1", "--binary", "--posix", "-s"])]
)
@pytest.mark.parametrize(
    ("old", "spans", "new"),
    [
        ("one\ntwo\nthree\n", [(4, 7)], ["a\nb"]),
        ("one\ntwo", [(4, 7)], ["a"]),
        ("one\ntwo", [(0, 3)], ["a"]),
        ("one\ntwo\n", [(4, 8)], ["a"]),
        ("one\ntwo", [(7, 7)], ["\n"]),
        ("one\r\ntwo\r\nthree\r\n", [(5, 8)], ["a\r\nb"]),
        ("one\r\ntwo", [(5, 8)], ["zwei"]),
        ("\ufeffone\ntwo\n", [(1, 4)], ["eins"]),
        ("one\n" * 30, [(0, 3), (100, 103)], ["a", ""]),
        ("one\n", [(0, 4)], [""]),
        ("", [(0, 0)], ["one\n"]),
    ],
)
@pytest.mark.parametrize("name", ["f.txt", "my file.txt", 'a"b\\c.txt'])
def test_the_tools_take_it(
    tmp_path: Path, tool: str, args: list[str], old: str, spans: list[tuple[int, int]], new: list[str], name: str
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}")
    if tool == "patch" and not splice(old, spans, new):
        pytest.skip("patch removes a file that becomes empty")
    path = tmp_path / name
    path.write_bytes(old.encode())
    diff = "".join(unified(name, old, spans, new)).encode()
    done = subprocess.run([tool, *args], input=diff, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, (done.stderr, diff)
    assert path.read_bytes().decode() == splice(old, spans, new)


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert display_name(Path("./a/../b.txt")) == "b.txt"
    assert display_name(tmp_path / "c" / "d") == "c/d"
    assert not display_name(Path("/etc/hosts")).startswith("/")
    assert unified("a\nb", "x", [(0, 1)], ["y"])[0] == '--- "a/a\\012b"\n'


def test_colours() -> None:
    assert painted("+new\n") == "\x1b[32m+new\x1b[0m\n"
    assert painted("-old\n") == "\x1b[31m-old\x1b[0m\n"
    assert painted("--- a/f\n") == "\x1b[1m--- a/f\x1b[0m\n"
    assert painted(" same\n") == " same\n"


def test_a_large_file_takes_no_time() -> None:
    old = "A line of some text that is quite like the others.\n" * 200_000
    place = len(old) // 2
    assert len(unified("f", old, [(place, place + 400), (len(old) - 9, len(old))], ["x", "y"])) < 60
