"""Pictures and films as SVG: whole, alone, safe, and small."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.exits import Failure
from dgchat.export import anim, svg
from dgchat.export.options import Options
from dgchat.export.scene import film
from dgchat.trace.frames import Pace, View, frame_at, frames
from dgchat.trace.steps import About, StepTrace
from tests.tui.trace.made import STORY, told

_NS = "{http://www.w3.org/2000/svg}"
_HOSTILE = "</text><script>alert(1)</script> &amp; <img src=x> ]]> \x1b[5m \ufffe \u2028 한국어 '\""


def drawn(document: bytes) -> list[ElementTree.Element]:
    """The texts but for the title."""
    texts = ElementTree.fromstring(document).iter(f"{_NS}text")
    return [node for node in texts if "title" not in node.get("class", "")]


def words(nodes: list[ElementTree.Element]) -> list[str]:
    """What is to be read, line by line and from left to right."""
    placed = sorted((float(node.get("y", 0)), float(node.get("x", 0)), node.text or "") for node in nodes)
    return " ".join(text.replace("\u00a0", " ") for _, _, text in placed).split()


def test_a_picture_is_of_the_middle_step_or_of_the_one_named() -> None:
    trace = told()
    for step, number in ((None, (len(trace) + 1) // 2), (1, 1), (len(trace), len(trace))):
        found = words(drawn(svg.export(trace, Options(View(60), step))))
        frame = frame_at(trace, View(60), number)
        rows = " ".join("".join(span.text for span in row) for row in frame.screen)
        assert "".join(found[4:]).startswith("".join(rows.split()))
        assert f"step {frame.step} of {frame.steps}" in " ".join(found)
    for step in (0, len(trace) + 1):
        with pytest.raises(Failure, match="steps 1 to"):
            svg.export(trace, Options(step=step))


@pytest.mark.parametrize("module", [svg, anim])
def test_nothing_comes_from_elsewhere_and_nothing_runs(module: object) -> None:
    text = module.export(told(_HOSTILE, prompt=_HOSTILE), Options()).decode()  # type: ignore[attr-defined]
    root = ElementTree.fromstring(text)
    names = {node.tag.removeprefix(_NS) for node in root.iter()}
    assert names <= {"svg", "title", "style", "rect", "circle", "text", "g"}
    attributes = {name for node in root.iter() for name in node.attrib}
    assert not {name for name in attributes if "href" in name or name.startswith("on")}
    assert not re.search(r"url\(|@import", "".join(node.text or "" for node in root.iter(f"{_NS}style")))
    assert "\x1b" not in text


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_a_document(text: str, prompt: str) -> None:
    trace = told(text or "x", canvas=16, steps=3)
    trace.about = About("m\x00<", prompt, None, trace.about.ends)
    for module in (svg, anim):
        ElementTree.fromstring(module.export(trace, Options(View(20))))


def times(document: str) -> tuple[float, dict[str, list[tuple[float, bool]]], set[str]]:
    """Length of the film; for each class when it is shown and hidden; the classes that rest hidden."""
    length = float(re.search(r"animation:f\d+ ([\d.]+)s step-end infinite", document)[1])  # type: ignore[index]
    found = {}
    for name, keys in re.findall(r"@keyframes (f\d+)\{((?:[\d.]+%\{[^}]*\})*)\}", document):
        states = re.findall(r"([\d.]+)%\{visibility:(\w+)", keys)
        found[name] = [(float(at) / 100 * length, state == "visible") for at, state in states]
    return length, found, set(re.findall(r"\.(f\d+)\{visibility:hidden", document))


def test_the_film_shows_each_frame_at_its_time() -> None:
    options = Options(View(50, pace=Pace(5)))
    document = anim.export(told(), options).decode()
    scene = film(told(), options)
    length, keys, _ = times(document)
    assert length == pytest.approx(scene.seconds, abs=0.01)
    root = ElementTree.fromstring(document)
    groups = {node.get("class", ""): node for node in root.iter(f"{_NS}g")}
    for shot in scene.shots:
        when = shot.start + shot.duration / 2
        nodes = []
        for name, group in groups.items():
            states = [shown for at, shown in keys.get(name, [(0, True)]) if at <= when]
            nodes += list(group) if states and states[-1] else []
        assert "".join(words(nodes)) == "".join("".join(run.text for line in shot.lines for run in line).split())


def test_without_motion_the_settled_text_is_seen() -> None:
    document = anim.export(told(), Options(View(50))).decode()
    assert "@media(prefers-reduced-motion:reduce){*{animation:none!important}}" in document
    _, _, hidden = times(document)
    root = ElementTree.fromstring(document)
    resting = [text for node in root.iter(f"{_NS}g") if node.get("class") not in hidden for text in node]
    assert words(resting)[4:] == [*STORY.split(), *"settled · 12 steps".split()]


def test_a_short_story_is_a_small_film() -> None:
    trace = told(STORY * 2, canvas=64, steps=20)
    assert len(trace.blocks) == 2 and len(list(frames(trace, View()))) == 41
    assert len(anim.export(trace, Options())) < 300_000


def test_a_trace_without_steps() -> None:
    for module in (svg, anim):
        assert "settled" in " ".join(words(drawn(module.export(StepTrace(), Options()))))
