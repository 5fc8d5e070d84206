"""The film as one SVG that plays by itself, over and over: CSS alone, so that it plays within an <img> as well.

What does not change from frame to frame stands in the file once: every run of text lies in the group of those that
appear at the same frame and go at the same one, and a group's animation is nothing but its visibility. Readers who
want no motion, and programs that know no animation, see the settled text.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TypeAlias

from dgchat.export.options import Options
from dgchat.export.scene import Scene, film, placed
from dgchat.export.svg import extent, text, window
from dgchat.trace.steps import StepTrace

_Piece: TypeAlias = tuple[int, int, int, str, str]  # row, column, cells, text, ink
_Span: TypeAlias = tuple[int, int]  # of frames: from the first up to, and without, the second
_BAR = 2.0


def export(trace: StepTrace, options: Options) -> bytes:
    """The film."""
    scene, theme = film(trace, options), options.dark
    groups = _groups(scene)
    names = {span: f"f{number}" for number, span in enumerate(groups)}
    body = "".join(
        f'<g class="{names[span]}">' + "".join(text(*piece) for piece in pieces) + "</g>"
        for span, pieces in groups.items()
    )
    rules = "".join(_rule(scene, span, name) for span, name in names.items())
    return window(scene, theme, body + _bar(scene, theme.canvas["canvas-warm"]), rules + _motion(scene)).encode()


def _groups(scene: Scene) -> dict[_Span, list[_Piece]]:
    """The runs of all frames by the span of frames that they stand in."""
    places: dict[_Piece, list[int]] = defaultdict(list)
    for number, shot in enumerate(scene.shots):
        for row, line in enumerate(shot.lines):
            for column, cells, run in placed(line):
                places[row, column, cells, run.text, run.ink].append(number)
    groups: dict[_Span, list[_Piece]] = defaultdict(list)
    for piece, numbers in places.items():
        for span in _spans(numbers):
            groups[span].append(piece)
    return dict(sorted(groups.items()))


def _spans(numbers: list[int]) -> list[_Span]:
    """Ascending numbers as spans without gaps."""
    breaks = [place for place, (a, b) in enumerate(pairwise(numbers), 1) if b > a + 1]
    edges = [0, *breaks, len(numbers)]
    return [(numbers[begin], numbers[end - 1] + 1) for begin, end in pairwise(edges)]


def _rule(scene: Scene, span: _Span, name: str) -> str:
    """When the group of this span is seen; without motion only what stands in the last frame."""
    first, end = span
    last = len(scene.shots)
    if (first, end) == (0, last):
        return ""
    keys = [(_percent(scene, first), "visible")]
    if first:
        keys.insert(0, ("0%", "hidden"))
    if end < last:
        keys.append((_percent(scene, end), "hidden"))
    frames = "".join(f"{when}{{visibility:{state}}}" for when, state in keys)
    resting = "" if end == last else "visibility:hidden;"
    return f".{name}{{{resting}animation:{name} {scene.seconds:.2f}s step-end infinite}}@keyframes {name}{{{frames}}}"


def _percent(scene: Scene, number: int) -> str:
    return f"{100 * scene.shots[number].start / scene.seconds:.3f}".rstrip("0").rstrip(".") + "%"


def _bar(scene: Scene, color: str) -> str:
    """A line along the lower edge that fills as the film goes on."""
    width, height = extent(scene)
    return (
        f'<rect class="bar" x="10" y="{height - _BAR - 1:g}" width="{width - 20:g}" height="{_BAR:g}" rx="1"'
        f' fill="{color}" fill-opacity=".6"/>'
    )


def _motion(scene: Scene) -> str:
    full = _percent(scene, len(scene.shots) - 1)
    return (
        f".bar{{transform-box:fill-box;transform-origin:0 0;animation:bar {scene.seconds:.2f}s linear infinite}}"
        f"@keyframes bar{{0%{{transform:scaleX(0)}}{full}{{transform:none}}100%{{transform:none}}}}"
        "@media(prefers-reduced-motion:reduce){*{animation:none!important}}"
    )
