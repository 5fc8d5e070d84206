"""A page that plays the trace: one file that opens offline, loads nothing, and may load nothing.

What the model wrote stands in it as data alone: JSON in which no character means anything to HTML, and which the
page's script puts on the screen as text. The policy in its head forbids everything else that a page can load.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgchat.canvas.past import BACK_STEPS
from dgchat.canvas.state import MANY_CHANGES, NOISE_NATS, OLD_STEPS, RAIN
from dgchat.export.options import Options
from dgchat.export.scene import colors
from dgchat.sanitize import clean, clean_line
from dgchat.themes import SHADES, Theme
from dgchat.trace.steps import BlockTrace, StepTrace, decode_entropy

_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_UI = ("background", "surface", "panel", "primary", "accent")
_PACE = 12.0  # steps a second, where each step is to take as long as it took


def export(trace: StepTrace, options: Options) -> bytes:
    """The page."""
    parts = {
        "title": escape(_title(trace)),
        "theme": _theme_rules(options.light, options.dark),
        "style": _resource("player.css"),
        "script": _resource("player.js"),
        "data": embedded(_data(trace, options)),
    }
    # In one go: what is put in is never looked through for places itself.
    return _PLACE.sub(lambda match: parts[match[1]], _resource("player.html")).encode()


def embedded(value: Any) -> str:
    """JSON that can stand within a script element: in ASCII, and with nothing that HTML would take for its own."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def _resource(name: str) -> str:
    return files("dgchat.export").joinpath(name).read_text("utf-8")


def _title(trace: StepTrace) -> str:
    return clean_line(trace.about.prompt[:200])[:80] or "dgchat"


def _theme_rules(light: Theme, dark: Theme) -> str:
    """The colours as variables, and a class for each shade."""
    shades = "".join(f".s{shade}{{color:var(--s{shade})}}" for shade in range(SHADES))
    if light == dark:
        return f":root{{{_variables(dark)}}}{shades}"
    return f":root{{{_variables(light)}}}@media(prefers-color-scheme:dark){{:root{{{_variables(dark)}}}}}{shades}"


def _variables(theme: Theme) -> str:
    named: Mapping[str, str] = {**{name: theme.colors[name] for name in _UI}, **colors(theme)}
    scheme = "dark" if theme.dark else "light"
    return f"color-scheme:{scheme};" + "".join(f"--{name}:{color};" for name, color in named.items())


def _data(trace: StepTrace, options: Options) -> dict[str, Any]:
    """What `player.js` reads: tokens are numbered by their place in `spelled`."""
    ids = _vocabulary(trace)
    wide = len(ids) > np.iinfo(np.uint16).max
    about, pace = trace.about, options.view.pace.steps
    return {
        "about": {
            "model": clean_line(about.model),
            "prompt": clean(about.prompt),
            "seed": None if about.seed is None else str(about.seed),  # JavaScript's numbers end at 2**53
            "steered": about.steered,
        },
        "rules": {
            "noise": NOISE_NATS, "back": BACK_STEPS, "old": OLD_STEPS, "many": MANY_CHANGES, "shades": SHADES,
            "rain": RAIN, "nats": decode_entropy(np.arange(256, dtype=np.uint8)).tolist(),
        },
        "pace": max(1.0, round(pace or _PACE, 2)),
        "mode": options.view.mode.value,
        "wide": wide,
        "ends": np.searchsorted(ids, [id_ for id_ in sorted(about.ends) if id_ in ids]).tolist(),
        "spelled": [_spelled(trace.spelling.get(id_, b"")) for id_ in ids.tolist()],
        "blocks": [_block(block, ids, np.uint32 if wide else np.uint16) for block in trace.blocks],
    }  # fmt: skip


def _vocabulary(trace: StepTrace) -> NDArray[np.int32]:
    """All tokens of the trace, in order."""
    planes = [plane for block in trace.blocks for plane in (*block.drafts, *block.top_ids, block.tokens)]
    if not planes:
        return np.empty(0, np.int32)
    return np.unique(np.concatenate([plane.ravel() for plane in planes]))


def _spelled(token: bytes) -> str | list[int]:
    """Text, or bytes that are no text by themselves."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return list(token)


def _block(block: BlockTrace, ids: NDArray[np.int32], kind: type[Any]) -> dict[str, Any]:
    def local(plane: list[NDArray[np.int32]]) -> str:
        return _base64(np.searchsorted(ids, np.stack(plane)).astype(kind)) if plane else ""

    found: dict[str, Any] = {
        "number": block.number,
        "length": block.length,
        "converged": block.converged,
        "tokens": np.searchsorted(ids, block.tokens).tolist(),
        "temperatures": [round(value, 4) for value in block.temperatures],
        "drafts": local(block.drafts),
        "candidates": block.top_ids[0].shape[-1] if block.top_ids else 0,
        **{name: _base64(_joined(getattr(block, name))) for name in ("entropy", "accepted", "pinned")},
    }
    if found["candidates"]:
        found |= {"topIds": local(block.top_ids), "topCodes": _base64(np.stack(block.top_codes))}
    return found


def _joined(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate(rows) if rows else np.empty(0, np.uint8)


def _base64(plane: NDArray[Any]) -> str:
    little = plane.astype(plane.dtype.newbyteorder("<"))
    return b64encode(np.ascontiguousarray(little).tobytes()).decode()
