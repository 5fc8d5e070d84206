"""Textual's bindings, from the table of keys. Their ids let the settings change them."""

from __future__ import annotations

from textual.binding import Binding

from dgchat.keys import KEYS


def bind(name: str, action: str | None = None, priority: bool = True) -> Binding:
    """The binding of a key in `KEYS`; by default its action has its name, with underscores."""
    key = KEYS[name]
    return Binding(
        key.keys,
        action or name.replace("-", "_"),
        key.label or key.help,
        show=bool(key.label),
        priority=priority,
        id=name,
    )
