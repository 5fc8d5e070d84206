"""What the editor's screen asks of the app that it is shown in."""

from __future__ import annotations

from typing import Protocol

from dgchat.canvas.looks import Styles
from dgchat.host import EngineHost
from dgchat.settings import Settings
from dgchat.themes import Theme


class Desk(Protocol):
    """Settings, the engine's thread, and the looks."""

    settings: Settings
    host: EngineHost
    palette: Theme
    canvas_styles: Styles
    marks: bool
