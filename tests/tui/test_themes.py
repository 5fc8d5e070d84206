"""Palettes are whole, readable, and refused in a sentence when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgchat import themes
from dgchat.exits import Failure


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb", as WCAG defines it."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_there_is_a_dark_and_a_light_one() -> None:
    assert {themes.load(name).dark for name in themes.names()} == {True, False}


def test_there_are_at_least_eight_and_among_them_one_in_greys_alone() -> None:
    assert len(themes.names()) >= 8
    mono = themes.load("mono")
    assert all(
        color[1:3] == color[3:5] == color[5:7] for colors in (mono.colors, mono.canvas) for color in colors.values()
    )


def test_the_high_contrast_one_is_just_that() -> None:
    theme = themes.load("contrast")
    background = theme.colors["background"]
    assert contrast(theme.colors["foreground"], background) == pytest.approx(21)
    texts = [*(theme.colors[key] for key in ("primary", "secondary", "accent", "error")), theme.canvas["canvas-warm"]]
    assert min(contrast(color, background) for color in texts) >= 7


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's own themes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "dgchat" / "themes"
    folder.mkdir(parents=True)
    return folder


def test_the_users_own_themes_come_first(folder: Path) -> None:
    text = (themes.file_of("night")).read_text().replace("#e6e3dc", "#ffffff")
    (folder / "mine.toml").write_text(text)
    (folder / "night.toml").write_text(text)
    assert "mine" in themes.names()
    assert themes.load("mine").colors["foreground"] == themes.load("night").colors["foreground"] == "#ffffff"
    (folder / "night.toml").unlink()
    assert themes.load("night").colors["foreground"] == "#e6e3dc"


@pytest.mark.parametrize("content", [b"dark = tr", b"\xff\xfe", b""])
def test_a_broken_file_of_the_user_is_refused_in_a_sentence(folder: Path, content: bytes) -> None:
    (folder / "mine.toml").write_bytes(content)
    assert "mine" in themes.names()
    with pytest.raises(Failure, match="theme mine"):
        themes.load("mine")


@pytest.mark.parametrize("name", themes.names())
def test_text_can_be_read(name: str) -> None:
    theme = themes.load(name)
    background = theme.colors["background"]
    assert contrast(theme.colors["foreground"], background) >= 7
    assert contrast(theme.canvas["canvas-warm"], background) >= 4.5
    assert contrast(theme.canvas["canvas-back"], background) >= 4.5
    assert contrast(theme.canvas["canvas-pin"], background) >= 4.5
    # Noise is the quietest, and certainty stands out more the nearer it comes.
    ramp = [contrast(color, background) for color in theme.ramp()]
    assert contrast(theme.canvas["canvas-noise"], background) < ramp[0] < ramp[-1]
    assert ramp == sorted(ramp)


def test_the_ramp_goes_from_cold_to_warm() -> None:
    theme = themes.load("night")
    ramp = theme.ramp()
    assert len(ramp) == themes.SHADES
    assert (ramp[0], ramp[-1]) == (theme.canvas["canvas-cold"], theme.canvas["canvas-warm"])


@pytest.mark.parametrize(("said", "dark"), [("15;0", True), ("0;15", False), ("0;7", False), ("", True)])
def test_auto_follows_the_terminal(monkeypatch: pytest.MonkeyPatch, said: str, dark: bool) -> None:
    monkeypatch.setenv("COLORFGBG", said)
    assert themes.load("auto").dark is dark


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dark = ", "not valid TOML"),
        ("[colors]\n", "must say dark"),
        ("dark = true\n[colors]\nprimary = 'red'\n", 'needs accent as "#rrggbb"'),
        ("dark = true\n[colors]\nprimer = '#000000'\n", "needs accent"),
        ("dark = true\ncolors = 5\n", "needs accent"),
    ],
)
def test_a_broken_theme_is_refused(text: str, said: str) -> None:
    with pytest.raises(Failure, match=said):
        themes.parse(text, "mine")


def test_an_unknown_theme_names_those_there_are() -> None:
    with pytest.raises(Failure, match="there are auto, clear, contrast, day"):
        themes.load("../../etc/passwd")
