"""The registry, the endings, and files that are never written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dgchat.cli.options.traces import FORMATS as OFFERED
from dgchat.exits import Exit, Failure
from dgchat.export.formats import FORMATS, format_of
from dgchat.export.options import Options
from dgchat.export.writing import check_free, write
from dgchat.trace.codec import unpack
from dgchat.trace.frames import View
from dgchat.trace.steps import StepTrace
from tests.tui.trace.made import told


@pytest.mark.parametrize(
    ("path", "name", "form"),
    [
        ("a.npz", None, "npz"),
        ("a.cast", None, "cast"),
        ("a.svg", None, "svg"),
        ("a.anim.svg", None, "anim"),
        ("A.ANIM.SVG", None, "anim"),
        ("a.gif", None, "gif"),
        ("a.html", None, "html"),
        ("a.svg", "anim", "anim"),
        ("whatever", "html", "html"),
    ],
)
def test_the_format_is_named_or_guessed(path: str, name: str | None, form: str) -> None:
    assert format_of(path, name).name == form


@pytest.mark.parametrize(("path", "name"), [("a.pdf", None), ("svg", None), ("a.svg", "pdf")])
def test_no_such_format(path: str, name: str | None) -> None:
    with pytest.raises(Failure, match="there are npz, cast, anim, svg, gif, html") as failed:
        format_of(path, name)
    assert failed.value.code is Exit.USAGE


def test_the_command_line_offers_what_there_is() -> None:
    assert set(OFFERED) == set(FORMATS)


def test_npz_is_the_trace_itself() -> None:
    trace = told()
    again = unpack(FORMATS["npz"].export(trace, Options()))
    assert again.text() == trace.text() and again.about == trace.about and len(again) == len(trace)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "gif"])
def test_every_format_is_the_same_again_and_takes_a_trace_without_steps(name: str) -> None:
    trace = told()
    form, options = FORMATS[name], Options(View(40))
    if name != "npz":  # a zip archive has the time of its making in it
        assert form.export(trace, options) == form.export(trace, options)
    assert form.export(StepTrace(), options)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "svg"])
def test_only_a_still_picture_has_a_step(name: str) -> None:
    with pytest.raises(Failure, match="the format svg") as failed:
        FORMATS[name].export(told(), Options(step=2))
    assert failed.value.code is Exit.USAGE


def test_a_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    write(path, b"one", force=False)
    with pytest.raises(Failure, match=r"is there already; --force overwrites it\.") as failed:
        write(path, b"two", force=False)
    assert failed.value.code is Exit.USAGE and path.read_bytes() == b"one"
    write(path, b"two", force=True)
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["a.svg"]


def test_a_link_stays_one_and_a_device_is_written_to(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    with pytest.raises(Failure, match="there already"):
        check_free(link, force=False)
    target.write_bytes(b"old")
    write(link, b"new", force=True)
    assert link.is_symlink() and target.read_bytes() == b"new"
    write(Path(os.devnull), b"gone", force=True)
    assert not Path(os.devnull).is_file()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    for path, said in [(tmp_path, "is a folder"), (tmp_path / "no" / "a.svg", "There is no folder")]:
        with pytest.raises(Failure, match=said):
            write(path, b"", force=True)
    if Path("/dev/full").exists():
        with pytest.raises(Failure, match="cannot be written: No space left"):
            write(Path("/dev/full"), bytes(1 << 16), force=True)
