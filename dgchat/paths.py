"""Where dgchat keeps its files."""

from __future__ import annotations

from pathlib import Path


def settings_file() -> Path:
    """`$XDG_CONFIG_HOME/dgchat/settings.toml`, or what the platform has in its place."""
    return Path(_folder("config")) / "settings.toml"


def log_file() -> Path:
    """The log of tracebacks and of what libraries print: `$XDG_STATE_HOME/dgchat/dgchat.log` or the like."""
    return Path(_folder("state")) / "dgchat.log"


def _folder(kind: str) -> str:
    """XDG variables win on every platform; platformdirs itself reads them on Linux alone."""
    import os

    base = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(base):
        return os.path.join(base, "dgchat")
    import platformdirs

    find = platformdirs.user_config_dir if kind == "config" else platformdirs.user_state_dir
    return find("dgchat", appauthor=False)
