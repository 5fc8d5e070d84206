"""What the app remembers from one start to the next: small choices made by keys. A setting always comes first."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dgchat.paths import remembered_file
from dgchat.settings import COLORS, Settings

_KINDS = {"theme": str, "colors": str}


@dataclass(frozen=True)
class Remembered:
    """Choices; None for those that have not been made.

    Attributes:
        watch, theme, colors: as the settings `ui.watch`, `ui.theme`, `ui.colors`.
        panel: whether the panel is shown.
        welcomed: whether the first screen has been seen.
    """

    watch: bool | None = None
    theme: str | None = None
    colors: str | None = None
    panel: bool | None = None
    welcomed: bool | None = None

    def over(self, settings: Settings) -> Settings:
        """The settings with these choices in the place of defaults."""
        chosen = {
            name: value
            for name in ("watch", "theme", "colors")
            if (value := getattr(self, name)) is not None and settings.sources.get(name) == "default"
        }
        return replace(settings, **chosen, sources={**settings.sources, **dict.fromkeys(chosen, "remembered")})


def load(path: Path | None = None) -> Remembered:
    """What was remembered; nothing where the file is missing or makes no sense: it is only convenience."""
    try:
        table = json.loads((path or remembered_file()).read_bytes())
    except (OSError, ValueError, RecursionError):
        return Remembered()
    return Remembered(**_fitting(table)) if isinstance(table, dict) else Remembered()


def _fitting(table: Mapping[str, Any]) -> dict[str, Any]:
    known = [item.name for item in fields(Remembered)]
    fitting = {name: table[name] for name in known if isinstance(table.get(name), _KINDS.get(name, bool))}
    if fitting.get("colors") not in COLORS:
        fitting.pop("colors", None)
    return fitting


def save(remembered: Remembered, path: Path | None = None) -> None:
    """Writes the choices, whole or not at all.

    Raises:
        OSError: they cannot be written.
    """
    path = path or remembered_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(asdict(remembered)), "utf-8")
    part.replace(path)
