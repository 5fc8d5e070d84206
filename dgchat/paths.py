"""Where dgchat keeps its files."""

from __future__ import annotations

from pathlib import Path


def settings_file() -> Path:
    """`$XDG_CONFIG_HOME/dgchat/settings.toml`, or what the platform has in its place."""
    return Path(_folder("config")) / "settings.toml"


def log_file() -> Path:
    """The log of tracebacks and of what libraries print: `$XDG_STATE_HOME/dgchat/dgchat.log` or the like."""
    return Path(_folder("state")) / "dgchat.log"


def history_file() -> Path:
    """The database of chats: `$XDG_DATA_HOME/dgchat/history.db` or the like."""
    return Path(_folder("data")) / "history.db"


def images_folder() -> Path:
    """The copies of images of kept chats, beside the database."""
    return history_file().with_name("images")


def bench_folder() -> Path:
    """What `dgchat bench` has measured, beside the database."""
    return history_file().with_name("bench")


def remembered_file() -> Path:
    """What the app remembers from one start to the next: `$XDG_STATE_HOME/dgchat/remembered.json` or the like."""
    return Path(_folder("state")) / "remembered.json"


def user_themes() -> Path:
    """The folder of the user's own themes, beside the settings file."""
    return Path(_folder("config")) / "themes"


def _folder(kind: str) -> str:
    """XDG variables win on every platform; platformdirs itself reads them on Linux alone."""
    import os

    base = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(base):
        return os.path.join(base, "dgchat")
    import platformdirs

    find = {
        "config": platformdirs.user_config_dir,
        "state": platformdirs.user_state_dir,
        "data": platformdirs.user_data_dir,
    }
    return find[kind]("dgchat", appauthor=False)
