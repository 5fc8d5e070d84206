"""A selection is rewritten in place: asked for, watched, compared, taken or left."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input, Static

from dgchat.editor.ask_bar import AskBar
from dgengine import errors
from tests.tui.editor.editing import (
    FOUND,
    SIZE,
    STORY,
    Player,
    area,
    drawn,
    editor_of,
    finish,
    progress,
    proposals,
    proposed,
    ready,
    screen,
    select,
    status,
    step,
    stepwise,
    title,
    until,
)
from tests.tui.fakes import FakeEngine

BEFORE, AFTER = "One day Mia ", "."
OLD = "found a lantern near the river"
SPAN = (STORY.index(OLD), STORY.index(OLD) + len(OLD))


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.md"
    path.write_text(STORY)
    return path


async def ask(pilot: Player) -> None:
    """Selects, and opens the bar."""
    select(pilot.app, *FOUND)
    await pilot.press("ctrl+r")
    await until(pilot, lambda: pilot.app.screen.query(AskBar))


async def begin(pilot: Player) -> None:
    """And begins."""
    await ask(pilot)
    await pilot.press("enter")
    await until(pilot, lambda: not pilot.app.screen.query(AskBar))


async def test_it_is_rewritten_watched_compared_taken_and_undone(story: Path) -> None:
    engine = stepwise()
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await ask(pilot)
        await pilot.press(*"like it")
        await pilot.press("enter")
        await step(pilot, engine, 1)
        await step(pilot, engine, 2)
        await step(pilot, engine, 3)
        assert area(app).text == STORY and "3 side by side" in progress(app)
        await finish(pilot, engine)
        assert area(app).text == STORY.replace(OLD, "noticed a silver bell under the bridge")
        assert area(app).selected_text == "noticed a silver bell under the bridge"
        await pilot.press("enter")
        assert title(app).startswith("story.md ●") and "taken" in status(app)
        await pilot.press("ctrl+z")
        assert area(app).text == STORY and area(app).selected == FOUND and "●" not in title(app)
        await pilot.press("ctrl+y")
        assert "silver bell" in area(app).text
        assert story.read_text() == STORY
    request, _ = engine.requests[0]
    assert (request.text, request.spans, request.instruction) == (STORY, (SPAN,), "like it")
    assert (request.strength, request.candidates, request.keep) == (1.0, 3, ())


async def test_what_stands_around_the_hole_does_not_move(story: Path) -> None:
    engine = stepwise("noticed a silver bell", "saw a very old wooden kite up in a tree", "left", steps=20)
    app = editor_of(story, engine, motion=False)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        rows = []
        for number in range(1, 16):
            await step(pilot, engine, number)
            if area(app).room is not None:
                rows.append(drawn(app))
        room = area(app).room
        assert room is not None and len(rows) >= 3
        gutter = area(app).gutter_width
        for row in rows:
            assert row[0] == rows[0][0] and row[2:] == rows[0][2:]
            assert row[1][gutter:].startswith(BEFORE)
            assert len(row[1]) == gutter + room.end + len(AFTER) and row[1].endswith(AFTER)
        assert len({row[1] for row in rows}) > 1
        await finish(pilot, engine)
        await pilot.press("escape")
        assert area(app).text == STORY and area(app).selected == FOUND


async def test_candidates_are_gone_through_and_chosen_by_number(story: Path) -> None:
    app = editor_of(story, stepwise(steps=3))
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        await finish(pilot, app.host.engine)  # type: ignore[arg-type]
        seen = []
        for key in ("tab", "tab", "tab", "shift+tab", "2", "9", "1"):
            await pilot.press(key)
            seen.append(area(app).selected_text)
        bell, kite, song = "noticed a silver bell under the bridge", "saw a kite", "heard a small song"
        assert seen == [kite, song, bell, song, kite, kite, bell]
        panel = " ".join(str(widget.render()) for widget in screen(app).query("#proposals Static"))
        assert "candidate 1 of 3" in panel and "joins well · 0.40 nats a token · 3 steps · 0.3 s" in panel
        assert "found" in panel and "noticed" in panel
        await pilot.click("#proposals .pick.chosen", offset=(4, 0))
        await pilot.press("2")
        assert "does not join well" in str(screen(app).query_one("#facts").render())
        await pilot.press("ctrl+s", "x")  # nothing else has a meaning now
        await pilot.press("escape")
        assert area(app).text == STORY and not area(app).history.undo_stack and "original stays" in status(app)


async def test_another_try_has_another_seed(story: Path) -> None:
    engine = FakeEngine(steps=3)
    app = editor_of(story, engine, seed=7)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        await proposed(pilot)
        await pilot.press("r")
        await until(pilot, lambda: len(engine.requests) == 2)
        await proposed(pilot)
        assert [sampling.seed for _, sampling in engine.requests if sampling is not None] == [7, 8]
        assert engine.requests[0][0] == engine.requests[1][0]
        await pilot.press("escape")
        assert area(app).text == STORY and area(app).selected == FOUND


async def test_escape_while_it_resolves_leaves_the_text_as_it_was(story: Path) -> None:
    engine = stepwise()
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        for number in (1, 2, 3):
            await step(pilot, engine, number)
        assert area(app).room is not None
        await pilot.press("tab")  # a little too soon for the candidates
        assert area(app).room is not None and "no candidate yet" in str(
            app.screen.query_one("#progress", Static).content
        )
        await pilot.press("escape")
        assert area(app).text == STORY and area(app).selected == FOUND and area(app).room is None
        assert "stopped" in status(app) and not area(app).read_only
        await pilot.press("right", "x")
        assert "river" + "x" in area(app).text
        await pilot.press("ctrl+r", "enter")  # and again
        await until(pilot, lambda: len(engine.requests) == 2)
        await finish(pilot, engine)
        await pilot.press("escape")


async def test_escape_from_the_bar_leaves_all_as_it_was(story: Path) -> None:
    app = editor_of(story, FakeEngine())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await ask(pilot)
        await pilot.press("x", "escape")
        assert area(app).text == STORY and area(app).selected == FOUND and app.focused is area(app)
        assert not screen(app).query(AskBar)


async def test_with_nothing_selected_it_writes_at_the_cursor(story: Path) -> None:
    engine = FakeEngine(steps=3)
    engine.rewrites = [" They were not alone."]
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        area(app).move_cursor((2, 47))
        await pilot.press("ctrl+r", "enter")
        await proposed(pilot)
        await pilot.press("enter")
        assert area(app).document[2] == "They shared the lantern and laughed until dark. They were not alone."
        assert area(app).cursor_location == (2, 68)
    place = STORY.index("dark.") + len("dark.")
    assert engine.requests[0][0].spans == ((place, place),)


async def test_strength_and_number_are_set_by_keys_and_by_the_mouse(story: Path) -> None:
    engine = FakeEngine(steps=3)
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await ask(pilot)
        bar = screen(app).query_one(AskBar)
        await pilot.press("down", "down", "down", "up", "pageup", "pageup", "pagedown")
        assert (bar.manner.strength, bar.manner.candidates) == ("rephrase", 4)
        meter = screen(app).query_one("#meter")
        assert str(meter.render()) == "▮▮▮▯▯ .6"
        picks = {pick.name: pick for pick in bar.query(".pick")}
        await pilot.click(picks["polish"])
        await pilot.click(picks["fewer"])
        assert (bar.manner.strength, bar.manner.candidates) == ("polish", 3)
        await pilot.click(picks["begin"])
        await proposed(pilot)
        assert engine.requests[0][0].strength == 0.3
        await pilot.press("escape")
        assert "polish ▮▮▯▯▯ .3" in title(app)


async def test_words_are_kept_by_keys_and_by_the_mouse(story: Path) -> None:
    engine = FakeEngine(steps=3)
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await ask(pilot)
        await pilot.press("tab", "right", "right", "space")  # "lantern"
        keys = screen(app).query_one("#word-keys")
        assert str(keys.render()) == "keeps 1 word"
        await pilot.click(area(app), offset=(area(app).gutter_width + 1 + 13, 1))  # "found"
        assert str(keys.render()) == "keeps 2 words"
        await pilot.press("tab")
        assert isinstance(app.focused, Input)
        await pilot.press("tab", "enter")
        await proposed(pilot)
        await pilot.press("escape")
        assert area(app).selected == FOUND
    request, _ = engine.requests[0]
    # A word that is kept at the end of the span is not a part of it any more.
    assert request.spans == ((SPAN[0] + len("found"), SPAN[1]),)
    assert [request.text[start:end] for start, end in request.keep] == ["lantern"]


async def test_nothing_is_asked_where_every_word_is_kept(story: Path) -> None:
    app = editor_of(story, FakeEngine())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        select(app, (1, 12), (1, 17))
        await pilot.press("ctrl+r", "tab", "space", "enter")
        assert "every word is kept" in status(app)
        await pilot.press("escape", "escape")
        assert app.focused is area(app)


async def test_a_token_is_held_typed_anew_and_freed(story: Path) -> None:
    engine = stepwise("noticed a silver bell under the bridge", steps=8)
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        for number in (1, 2):
            await step(pilot, engine, number)
        await pilot.press("space")
        await until(pilot, lambda: "frozen" in progress(app))
        await pilot.press(*["left"] * 9, "right", "right", "enter")  # the third token
        await pilot.press(*"golden")
        await pilot.press("enter")
        await until(pilot, lambda: "held as 1 token" in progress(app))
        assert "golden" in drawn(app)[1]
        await pilot.press("right", "p")
        assert "held:" in progress(app)
        await pilot.press("x")
        assert "free again" in progress(app)
        await pilot.press("enter", "escape")  # the field is left
        await pilot.press("escape")  # the hold is left
        await until(pilot, lambda: "frozen" not in progress(app))
        await finish(pilot, engine)
        assert area(app).selected_text == "noticed a golden bell under the bridge"
        await pilot.press("enter")
        assert "a golden bell" in area(app).text


async def test_a_click_into_the_hole_holds_it(story: Path) -> None:
    engine = stepwise("noticed a silver bell under the bridge", steps=8)
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        for number in (1, 2, 3):
            await step(pilot, engine, number)
        await pilot.click(area(app), offset=(area(app).gutter_width + 1 + 20, 1))
        await until(pilot, lambda: screen(app).frozen)
        assert area(app).text == STORY and area(app).selected == FOUND
        await pilot.press("space")
        await finish(pilot, engine)


async def test_a_held_token_makes_its_candidate_the_first_to_be_shown(story: Path) -> None:
    engine = stepwise("one bell", "two old kites", steps=6)
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        await step(pilot, engine, 1)
        rewrite = screen(app)._rewrite
        assert rewrite is not None
        await until(pilot, lambda: 1 in rewrite.forming and rewrite.forming[1].step is not None)
        rewrite.shown, rewrite.held = 1, True
        await pilot.press("space")
        await until(pilot, lambda: screen(app).frozen)
        await pilot.press("p", "space")
        await until(pilot, lambda: not screen(app).frozen)
        assert rewrite.steered == 1
        await finish(pilot, engine)
        panel = proposals(app)
        assert panel is not None and panel.place == 1


async def test_a_failure_is_told_and_the_text_is_as_it_was(story: Path, own_state: object) -> None:
    engine = FakeEngine(steps=4)
    engine.error = errors.NumericsError("The model's output holds NaN.")
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        await until(pilot, lambda: not screen(app).busy)
        assert area(app).text == STORY and area(app).selected == FOUND
        assert "holds NaN" in " ".join(toast.message for toast in app._notifications)
        engine.error = None
        await begin(pilot)
        await proposed(pilot)


async def test_a_model_that_does_not_load_is_tried_again(story: Path) -> None:
    app = editor_of(story, errors.ModelNotFoundError("No model is called \x1b[31mx."))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: any("No model is called x." in toast.message for toast in app._notifications))
        await ask(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: any("could not be loaded" in toast.message for toast in app._notifications))
        await until(pilot, lambda: not screen(app).busy)
        await pilot.press("right", "x")
        assert "riverx" in area(app).text


async def test_the_window_changes_its_size_while_it_resolves(story: Path) -> None:
    engine = stepwise()
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        for number in (1, 2, 3):
            await step(pilot, engine, number)
        for size in ((30, 12), (5, 4), (100, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
        await step(pilot, engine, 4)
        assert BEFORE in drawn(app)[1]
        await finish(pilot, engine)
        await pilot.press("escape")
        assert area(app).text == STORY and area(app).selected == FOUND


async def test_what_the_model_writes_reaches_neither_terminal_nor_file_as_a_control(story: Path) -> None:
    engine = FakeEngine(steps=3)
    engine.rewrites = ["red \x1b[31m\u202ebell\r\nand more"]
    app = editor_of(story, engine)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await begin(pilot)
        await proposed(pilot)
        seen = app.export_screenshot()
        assert "\x1b" not in seen and "\u202e" not in seen
        assert any("red ␛[31m␦bell" in row for row in drawn(app))
        await pilot.press("enter")
        assert area(app).document.line_count == 7
