"""The panel: figures, curves, legend, and where it has its place."""

from __future__ import annotations

from typing import Any

import pytest
from textual.strip import Strip
from textual.widgets import Sparkline, Static

from dgchat import themes
from dgchat.app.panel import legend
from dgchat.app.stage import Stage
from dgchat.canvas.looks import Styles
from dgchat.canvas.state import Mode
from tests.tui.app.play import NARROW, WIDE, answered, app_of, ready, say, screen, status, step_to, until
from tests.tui.fakes import FakeEngine


def of(app: Any, name: str) -> str:
    return str(screen(app).query_one(f"#{name}", Static).content)


async def test_it_shows_the_figures_of_each_step() -> None:
    engine = FakeEngine("One two three four five six", canvas=8, steps=4, stepwise=True)
    app = app_of(engine, watch=True, steps=9)
    async with app.run_test(size=WIDE) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 3, 3)
        lines = of(app, "figures").splitlines()
        assert lines[:3] == ["block 1", "step 3 of 9", "T 0.60"]
        accepted = int(lines[3].split()[0])
        assert lines[3] == f"{accepted} of 8 accepted" and accepted > 0
        assert lines[4] == f"{accepted / 3:.1f} tokens a forward"
        assert lines[5] == f"{accepted / 0.003:,.0f} tokens/s" and int(lines[6].removeprefix("taken back ")) > 0
        curve = screen(app).query_one("#entropy-curve", Sparkline).data
        assert curve is not None and len(curve) == 4 and curve[1] > curve[3]
        engine.permit(10)
        await answered(pilot)
        assert of(app, "outcome") == "converged in 4 steps"


async def test_figures_do_not_depend_on_how_many_steps_were_seen() -> None:
    """Of steps in a row only the newest comes out of the mailbox."""
    engine = FakeEngine("One two three four five six", canvas=8, steps=50)
    app = app_of(engine)
    async with app.run_test(size=WIDE) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        assert "converged in 50 steps · 0.1 tokens a forward" in status(app)


async def test_it_has_its_place_from_100_columns_on() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        assert screen(app).panel.display
        for columns, there in ((99, False), (100, True), (60, False), (300, True)):
            await pilot.resize_terminal(columns, 30)
            await pilot.pause()
            assert screen(app).panel.display is there


async def test_f4_hides_it_and_that_is_remembered() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f4")
        assert not screen(app).panel.display
        assert app.remembered.panel is False
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        assert not screen(app).panel.display
        await say(pilot, "/panel")
        assert screen(app).panel.display


async def test_in_a_narrow_window_f4_says_why_nothing_shows() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot)
        await pilot.press("f4", "f4")
        assert status(app) == "the panel shows in a window of 100 columns or more"


async def test_f3_and_colors_change_what_the_colours_tell() -> None:
    app = app_of(FakeEngine("Fine."), colors=None)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot)
        assert of(app, "legend").startswith("colours: state") and "taken back" in of(app, "legend")
        for mode, words in (("entropy", "unsure"), ("age", "long there"), ("change", "never"), ("state", "noise")):
            await pilot.press("f3")
            assert status(app) == f"the colours tell: {mode}"
            assert of(app, "legend").startswith(f"colours: {mode}") and words in of(app, "legend")
        await say(pilot, "/colors age")
        assert of(app, "legend").startswith("colours: age")
        await say(pilot, "/colors red")
        assert status(app) == "the colours tell one of state, entropy, age, change"
    assert app_of(FakeEngine("Fine."), colors=None).settings.colors == "age"


async def test_the_canvas_is_drawn_anew_in_other_colours() -> None:
    engine = FakeEngine("One two three four five six seven", canvas=8, steps=8, stepwise=True)
    app = app_of(engine, watch=True, theme="night")
    async with app.run_test(size=WIDE) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 4, 4)
        looks = []
        for key in ("f3", "f3", "f3", "f3"):
            looks.append([str(segment.style) for strip in canvas(app) for segment in strip])
            await pilot.press(key)
            await pilot.pause()
        assert len({tuple(look) for look in looks}) == 4
        before = looks[0]
        app.show_theme("day")
        await pilot.pause()
        assert [str(segment.style) for strip in canvas(app) for segment in strip] != before
        engine.permit(10)
        await until(pilot, lambda: "converged" in status(app))


def canvas(app: Any) -> list[Strip]:
    """The canvas as it is drawn."""
    view = screen(app).query_one(Stage)
    return [view.render_line(y) for y in range(view.size.height)]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("marks", [True, False])
def test_the_legend_fits_the_panel(mode: Mode, marks: bool) -> None:
    text = legend(Styles(themes.load("night"), marks), mode, marks).plain
    assert max(map(len, text.splitlines())) <= 27
    assert ("·text·" in text) is (marks and mode is Mode.STATE)
