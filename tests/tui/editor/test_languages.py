"""What kind of text a file holds, by its name."""

from __future__ import annotations

import pytest
from textual.widgets.text_area import BUILTIN_LANGUAGES

from dgchat.editor.area import Area
from dgchat.editor.languages import LONGEST_PARSED, Kind, kind_of, kind_of_fence
from dgchat.editor.lines import Lines, ParsedLines


@pytest.mark.parametrize(
    ("name", "language", "prose"),
    [
        ("story.md", "markdown", True),
        ("notes.txt", None, True),
        ("README", None, True),
        ("fox.PY", "python", False),
        ("Makefile", None, False),
        ("main.c", None, False),
        ("pyproject.toml", "toml", False),
        ("a.b/c.yml", "yaml", False),
    ],
)
def test_kinds_of_files(name: str, language: str | None, prose: bool) -> None:
    assert kind_of(name) == Kind(language, prose)


@pytest.mark.parametrize(
    ("info", "language"), [("python", "python"), ("py title=x", "python"), ("", None), ("qqq", None), ("rs", "rust")]
)
def test_kinds_of_code_blocks(info: str, language: str | None) -> None:
    assert kind_of_fence(info) == Kind(language, False)


@pytest.mark.parametrize("language", sorted(set(BUILTIN_LANGUAGES) - {"regex"}))
def test_every_language_can_be_parsed(language: str) -> None:
    assert isinstance(Area("x\n", Kind(language, False)).document, ParsedLines)


def test_what_is_not_installed_is_shown_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textual._tree_sitter.get_language", lambda name: None)
    assert type(Area("x\n", Kind("python", False)).document) is Lines


def test_a_long_text_goes_without() -> None:
    area = Area("word " * (LONGEST_PARSED // 4), Kind("markdown", True))
    assert type(area.document) is Lines and not area.soft_wrap and not area.toggle_wrap()


def test_tabs_stay_tabs() -> None:
    assert Area("def f():\n\treturn 1\n", Kind("python", False)).indent_type == "tabs"
    assert Area("def f():\n    return 1\n", Kind("python", False)).indent_type == "spaces"
