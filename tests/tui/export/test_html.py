"""The page: what stands in the file, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.canvas.layout import NEWLINE, Look, Row
from dgchat.canvas.state import Mode
from dgchat.export.html import embedded, export
from dgchat.export.options import Options
from dgchat.export.scene import Run, placed
from dgchat.trace.frames import View, frames
from dgchat.trace.steps import About, StepTrace
from tests.tui.export.browser import Browser, browser, missing
from tests.tui.trace.made import STORY, realistic, told

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> <!-- {{script}} ]]> \u2028\u2029 &lt;b&gt; \x1b[5m"


def page(trace: StepTrace, **options: Any) -> str:
    return export(trace, Options(View(80), **options)).decode()


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


class Elements(HTMLParser):
    """The elements of a document, and the attributes of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing_and_may_load_nothing() -> None:
    elements = Elements(page(told())).found
    policies = [attributes for tag, attributes in elements if attributes.get("http-equiv")]
    assert policies == [
        {
            "http-equiv": "Content-Security-Policy",
            "content": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
        }
    ]
    names = {name for _, attributes in elements for name in attributes}
    assert not names & {"src", "href", "srcset", "action"}
    assert not [tag for tag, _ in elements if tag in ("link", "img", "iframe", "object", "embed", "base", "form")]
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttp|innerHTML|eval\(", page(told()))


def test_hostile_text_is_but_data() -> None:
    plain = [tag for tag, _ in Elements(page(told())).found]
    text = page(told(HOSTILE, prompt=HOSTILE))
    assert [tag for tag, _ in Elements(text).found] == plain
    assert "\u2028" not in text and "\x1b" not in text
    data = data_of(text)
    assert "onerror" in "".join(piece for piece in data["spelled"] if isinstance(piece, str))
    assert data["about"]["prompt"].startswith("</script><img")


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_embedded_json_means_nothing_to_html(value: Any) -> None:
    text = embedded(value)
    assert json.loads(text) == value and not re.search("[<>&\u2028\u2029]", text) and text.isascii()


def test_themes() -> None:
    both = page(told())
    assert "#faf8f3" in both
    assert "@media(prefers-color-scheme:dark){:root{color-scheme:dark;--background:#14161a" in both
    one = page(told(), theme="paper")
    assert "prefers-color-scheme:dark){:root" not in one


def test_a_long_answer_is_a_page_of_a_megabyte() -> None:
    assert len(page(realistic())) < 1_250_000


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as session:
        yield session


def opened(chromium: Browser, trace: StepTrace, folder: Path) -> Browser:
    path = folder / "page.html"
    path.write_text(page(trace), "utf-8")
    chromium.complaints(), chromium.requests()
    chromium.open(path)
    chromium.press("home")
    return chromium


def seen(rows: tuple[Row, ...]) -> list[tuple[str, str]]:
    """Each character and its colour; noise, which is drawn at random, as "#"; no blanks."""
    found = []
    for row in rows:
        for span in row:
            noise = span.look is Look.NOISE
            kind = {Look.NOISE: "noise", Look.BACK: "back", Look.PINNED: "pin"}.get(span.look, "text")
            kind = f"s{span.shade}" if span.look is Look.PROVISIONAL else kind
            found += [("#" if noise else char, kind) for char in span.text if char not in (" ", NEWLINE)]
    return found


def drawn(chromium: Browser) -> list[tuple[str, str]]:
    spans = chromium.run(
        "return [...document.querySelectorAll('#canvas span')].map(n => [n.textContent, n.className.split(' ')[0]])"
    )
    chars = [(char, kind) for text, kind in spans for char in text if char not in (" ", "\n", NEWLINE)]
    return [("#" if kind == "noise" else char, kind) for char, kind in chars]


def state(chromium: Browser) -> str:
    return str(chromium.run("return document.getElementById('status').textContent"))


@needs_browser
@pytest.mark.parametrize("mode", list(Mode))
def test_every_step_looks_as_it_does_in_the_terminal(chromium: Browser, tmp_path: Path, mode: Mode) -> None:
    trace = told(canvas=24, steps=7)
    pinned = np.zeros(24, bool)
    pinned[3] = True
    trace.blocks[0].pinned = [np.packbits(pinned) for _ in trace.blocks[0].pinned]
    opened(chromium, trace, tmp_path)
    chromium.run("document.querySelector(`[name=mode][value=${arguments[0]}]`).click()", mode.value)
    for frame in frames(trace, View(60, mode)):
        assert drawn(chromium) == seen(frame.screen), frame.number
        if not frame.settled:
            assert f"step {frame.step} of {frame.steps}   accepted {frame.accepted} of 24" in state(chromium)
        chromium.run("document.activeElement.blur()")
        chromium.press("right")
    assert state(chromium) == "settled"


@needs_browser
def test_it_opens_offline_without_complaints(chromium: Browser, tmp_path: Path) -> None:
    opened(chromium, told(), tmp_path)
    assert chromium.complaints() == []
    assert chromium.requests() == [(tmp_path / "page.html").as_uri()]
    assert chromium.run("return document.getElementById('prompt').textContent") == "A story, please."


@needs_browser
def test_the_policy_forbids_what_the_page_does_not_do(chromium: Browser, tmp_path: Path) -> None:
    opened(chromium, told(), tmp_path)
    chromium.requests()
    chromium.run("const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image)")
    assert any("Content Security Policy" in line for line in chromium.complaints())


@needs_browser
def test_hostile_text_is_inert(chromium: Browser, tmp_path: Path) -> None:
    trace = told(HOSTILE, prompt=HOSTILE)
    opened(chromium, trace, tmp_path).press("end")
    assert chromium.complaints() == []
    assert chromium.run("return document.querySelectorAll('img, b, #canvas script').length") == 0
    assert "owned" not in chromium.run("return document.title").replace("'owned'", "")
    text = chromium.run("return document.getElementById('canvas').textContent")
    assert text == trace.text().replace("\x1b", "")


@needs_browser
def test_keys_slider_and_playing(chromium: Browser, tmp_path: Path) -> None:
    trace = told()
    opened(chromium, trace, tmp_path)
    assert "block 1 · step 1 of 6" in state(chromium)
    chromium.press("right", "right", "left")
    assert "step 2 of 6" in state(chromium)
    chromium.press("end")
    assert state(chromium) == "settled"
    chromium.press("left")
    assert f"block {len(trace.blocks)} · step 6 of 6" in state(chromium)
    chromium.run("const s = document.getElementById('slider'); s.value = 3; s.dispatchEvent(new Event('input'))")
    assert "block 1 · step 4 of 6" in state(chromium)
    chromium.run("document.getElementById('speed').value = 60")
    chromium.press("home", " ")
    assert chromium.run("return document.getElementById('play').getAttribute('aria-label')") == "Pause"
    end = time.monotonic() + 120
    while state(chromium) != "settled":
        assert time.monotonic() < end, state(chromium)
        time.sleep(0.05)
    assert chromium.run("return document.getElementById('play').getAttribute('aria-label')") == "Play"


@needs_browser
def test_the_card_tells_a_tokens_story(chromium: Browser, tmp_path: Path) -> None:
    trace = told("The fox sleeps.", canvas=8, steps=4)
    block = trace.blocks[0]
    block.top_ids = [np.stack([draft, draft[::-1]], axis=1) for draft in block.drafts]
    block.top_codes = [np.tile(np.array([204, 51], np.uint8), (8, 1)) for _ in block.drafts]
    opened(chromium, trace, tmp_path).press("right", "right", "right")
    chromium.run("document.querySelector('#canvas span').focus()")
    card = chromium.run("return document.getElementById('card').innerText")
    first = next(step for step, bits in enumerate(block.accepted, 1) if np.unpackbits(bits)[0])
    changes = sum(a[0] != b[0] for a, b in zip(block.drafts, block.drafts[1:], strict=False))
    last = max((step for step in range(2, 5) if block.drafts[step - 1][0] != block.drafts[step - 2][0]), default=1)
    for line in (
        "“The”",
        "position 1, block 1, step 4",
        "entropy 0.00 nats",
        f"first accepted at step {first}",
        f"settled at step {last}",
        f"changed {changes}× so far, {changes}× in all",
        "80 %",
        "20 %",
    ):
        assert line in card, card
    widths = chromium.run("return [...document.querySelectorAll('#card li i i')].map(n => n.style.width)")
    assert widths == ["80%", "20%"]
    chromium.press(".", ".")
    assert "position 3" in chromium.run("return document.getElementById('card').innerText")
    x, y = chromium.run("const b = document.querySelectorAll('#canvas span')[1].getBoundingClientRect();"
                        "return [b.x + b.width / 2, b.y + b.height / 2]")  # fmt: skip
    chromium.point(x, y)
    assert "position 2" in chromium.run("return document.getElementById('card').innerText")
    chromium.press("escape")
    assert "Point at a token" in chromium.run("return document.getElementById('card').innerText")


@needs_browser
def test_the_map_has_a_cell_for_each_position_and_step(chromium: Browser, tmp_path: Path) -> None:
    opened(chromium, told(canvas=24, steps=7), tmp_path)
    size = chromium.run("const heat = document.getElementById('heat'); return [heat.width, heat.height]")
    assert size == [24, 7]
    assert "block 1 of 3" in chromium.run("return document.getElementById('caption').textContent")
    colours = chromium.run(
        "const {data} = document.getElementById('heat').getContext('2d').getImageData(0, 0, 24, 7);"
        "return new Set([...new Uint32Array(data.buffer)]).size"
    )
    assert colours >= 3


@needs_browser
def test_it_reflows_at_any_width(chromium: Browser, tmp_path: Path) -> None:
    opened(chromium, told(), tmp_path).press("end")
    try:
        heights = []
        for width in (1400, 600, 500):
            chromium.resize(width, 800)
            heights.append(chromium.run("return document.getElementById('canvas').offsetHeight"))
            assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
        assert heights[0] <= heights[1] <= heights[2]
    finally:
        chromium.resize(1100, 800)
    assert chromium.run("return document.getElementById('canvas').textContent") == STORY


@needs_browser
def test_characters_over_several_tokens(chromium: Browser, tmp_path: Path) -> None:
    """Bytes that are no text by themselves become what Python makes of them."""
    trace = told(" ".join("abcdefgh"), canvas=16, steps=3)
    parts = [b"\xf0\x9f", b"\xa6\x8a", b"\xe4", b"x", b"\xb8\xad", b"\xef\xbb\xbfy", b"", b"\xff"]
    trace.spelling = {id_: parts[place % len(parts)] for place, id_ in enumerate(trace.spelling)}
    opened(chromium, trace, tmp_path).press("end")
    pieces = trace.pieces(trace.blocks[0].tokens.tolist())
    assert chromium.run("return document.getElementById('canvas').textContent") == "".join(pieces)


@needs_browser
def test_a_block_whose_steps_were_dropped_stands_as_text(chromium: Browser, tmp_path: Path) -> None:
    trace = told()
    trace.blocks[0].forget()
    opened(chromium, trace, tmp_path)
    assert "block 2 · step 1 of 6" in state(chromium)
    chromium.run("document.querySelector('#canvas span').focus()")
    assert "“Once”" in chromium.run("return document.getElementById('card').innerText")
    chromium.press("end")
    assert chromium.run("return document.getElementById('canvas').textContent") == STORY
    assert chromium.complaints() == []


@needs_browser
def test_a_page_without_steps(chromium: Browser, tmp_path: Path) -> None:
    opened(chromium, StepTrace(about=About(prompt="Hm?")), tmp_path).press("right", " ", ".", "end")
    assert state(chromium) == "no steps" and chromium.complaints() == []


@needs_browser
def test_readers_who_want_no_motion_begin_at_the_end(tmp_path: Path) -> None:
    with browser(tmp_path, "--force-prefers-reduced-motion") as session:
        path = tmp_path / "page.html"
        path.write_text(page(told()), "utf-8")
        session.open(path)
        assert state(session) == "settled"


def test_seeds_are_told_to_the_last_digit() -> None:
    trace = told()
    trace.about = replace(trace.about, seed=2**63 - 1)
    assert data_of(page(trace))["about"]["seed"] == str(2**63 - 1)


def test_runs_are_placed_without_their_blanks() -> None:
    line = (Run("  a b ", "text"), Run("한국", "noise"), Run("   ", "text"), Run("c", "text"))
    found = [(column, cells, run.text) for column, cells, run in placed(line)]
    assert found == [(2, 3, "a b"), (6, 4, "한국"), (13, 1, "c")]
