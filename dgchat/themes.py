"""Palettes: one TOML file each, in themes/ of the repository and in dgchat/_themes of the wheel.

The user's own lie in the folder `themes` beside the settings file; one with the name of ours takes its place.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dgchat.exits import Exit, Failure
from dgchat.paths import user_themes

_COLORS = (
    "primary",
    "secondary",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "success",
    "warning",
    "error",
)
_CANVAS = ("canvas-noise", "canvas-cold", "canvas-warm", "canvas-back", "canvas-pin")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
SHADES = 16


@dataclass(frozen=True)
class Theme:
    """One palette: `colors` are Textual's theme colours, `canvas` the colours of UI states; all "#rrggbb"."""

    name: str
    dark: bool
    colors: Mapping[str, str]
    canvas: Mapping[str, str]

    def ramp(self) -> tuple[str, ...]:
        """`SHADES` colours from canvas-cold (most uncertain) to canvas-warm (nearly certain)."""
        cold, warm = _channels(self.canvas["canvas-cold"]), _channels(self.canvas["canvas-warm"])
        steps = [place / (SHADES - 1) for place in range(SHADES)]
        return tuple(
            "#" + "".join(f"{round(a + (b - a) * step):02x}" for a, b in zip(cold, warm, strict=True)) for step in steps
        )


def names() -> list[str]:
    """The palettes that are there, the user's among them, sorted; what a broken file holds is not looked at."""
    return sorted({path.stem for folder in (_folder(), user_themes()) for path in folder.glob("*.toml")})


def load(name: str) -> Theme:
    """The palette of this name; "auto" is the light or the dark one, by what the terminal says of itself.

    Raises:
        Failure: no such palette, or a file that cannot be read or lacks a colour (exit code 2).
    """
    name = _by_terminal() if name == "auto" else name
    if name not in names():
        raise Failure(f"There is no theme {name!r}; there are auto, {', '.join(names())}.", Exit.USAGE)
    try:
        return parse(file_of(name).read_bytes().decode("utf-8"), name)
    except UnicodeDecodeError as error:
        raise Failure(f"The theme {name} is not UTF-8 text (byte {error.start}).", Exit.USAGE) from error
    except OSError as error:
        raise Failure(f"The theme {name} cannot be read: {error.strerror}.", Exit.USAGE) from error


def file_of(name: str) -> Path:
    """Where the palette of this name is read from."""
    own = user_themes() / f"{name}.toml"
    return own if own.exists() else _folder() / f"{name}.toml"


def parse(text: str, name: str) -> Theme:
    """The palette that a theme file's text describes.

    Raises:
        Failure: not TOML, or a colour missing, unknown or not "#rrggbb" (exit code 2).
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"The theme {name} is not valid TOML: {error}.", Exit.USAGE) from error
    if not isinstance(table.get("dark"), bool):
        raise Failure(f"The theme {name} must say dark = true or dark = false.", Exit.USAGE)
    colors, canvas = (_colors(table.get(key), wanted, f"{name}, [{key}]") for key, wanted in _TABLES)
    return Theme(name, table["dark"], colors, canvas)


_TABLES = (("colors", _COLORS), ("canvas", _CANVAS))


def _colors(table: object, wanted: tuple[str, ...], place: str) -> dict[str, str]:
    found = table if isinstance(table, dict) else {}
    for key in sorted({*wanted, *found}):
        value = found.get(key)
        if key not in wanted:
            raise Failure(f"The theme {place} has an unknown colour {key!r}.", Exit.USAGE)
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            raise Failure(f'The theme {place} needs {key} as "#rrggbb", not {value!r}.', Exit.USAGE)
    return found


def _by_terminal() -> str:
    """COLORFGBG, where a terminal sets it, ends in the number of its background colour: 7 and 15 are light."""
    return "day" if os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else "night"


def _folder() -> Path:
    here = Path(__file__).resolve().parent
    packaged = here / "_themes"
    return packaged if packaged.is_dir() else here.parent / "themes"


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
