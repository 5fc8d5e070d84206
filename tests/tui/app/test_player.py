"""The steps of an answer on the screen: going through them, looking into them, holding tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from dgchat.app.player import Player
from dgchat.app.scrub_bar import ScrubBar
from dgchat.app.stage import Stage
from dgchat.history.store import Store
from dgchat.paths import history_file
from dgchat.trace.codec import unpack
from tests.tui.app.play import answered, answers, app_of, end_block, say, screen, status, step_to, transcript, until
from tests.tui.fakes import FakeEngine

TEXT = "One two three four five six seven eight nine ten eleven twelve"


def player(app: Any) -> Player:
    return screen(app).query_one(Player)


def shown_steps(app: Any) -> str:
    return str(player(app).query_one(ScrubBar).content)


def card(app: Any) -> str | None:
    """What the card says; None where there is none."""
    panel = player(app).query_one(".card")
    return str(panel.render()) if panel.display else None


def canvas(app: Any) -> str:
    """The rows of the canvas as they are drawn."""
    stage = player(app).query_one(Stage)
    return "\n".join(line.text.rstrip() for line in stage.render_lines(stage.size.region))


def last_trace() -> Any:
    """The trace of the answer kept last."""
    with Store(history_file()) as store:
        chat = store.conversations()[0]
        data = store.trace(store.path(chat.leaf)[-1].id)
    assert data is not None
    return unpack(data)


async def test_the_steps_of_a_finished_answer() -> None:
    engine = FakeEngine(TEXT, canvas=8, steps=5)
    app = app_of(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query(Player))
        assert "step 5/5 block 2/2" in shown_steps(app) and "twelve" in canvas(app)
        await pilot.press("left")
        assert "step 4/5 block 2/2" in shown_steps(app)
        await pilot.press("shift+left", "shift+left")
        assert "step 1/5 block 1/2" in shown_steps(app) and "nine" not in canvas(app)
        first = canvas(app)
        await pilot.press("right", "right")
        assert "step 3/5" in shown_steps(app) and canvas(app) != first
        await pilot.press("home")
        assert canvas(app) == first
        await pilot.press("end", "escape")
        await until(pilot, lambda: not screen(app).query(Player))
        assert transcript(app)[1] == TEXT and screen(app).focused is screen(app).composer.editor


def esc(app: Any) -> str:
    """What the footer says of Esc."""
    return str(app.screen.active_bindings["escape"].binding.description)


async def test_esc_is_the_way_back_in_the_steps_and_stops_elsewhere() -> None:
    app = app_of(FakeEngine(TEXT, canvas=16, steps=6))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        assert esc(app) == "Stop"
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query(Player) and esc(app) == "Back")
        await pilot.press("escape")
        await until(pilot, lambda: not screen(app).query(Player))
        assert esc(app) == "Stop"


async def test_play_pause_and_speed() -> None:
    app = app_of(FakeEngine(TEXT, canvas=16, steps=6))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query(Player))
        await pilot.press("plus", "plus", "plus", "plus", "space")
        assert "8×" in shown_steps(app)
        await until(pilot, lambda: "step 6/6" in shown_steps(app) and "⏸" not in shown_steps(app))
        await pilot.press("minus")
        assert "4×" in shown_steps(app)
        await pilot.press(*["minus"] * 5, "home", "space", "space")  # so slowly that it is not at its end meanwhile
        assert "▶" in shown_steps(app)


async def test_the_mouse_does_all_that_too() -> None:
    app = app_of(FakeEngine(TEXT, canvas=16, steps=9))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        await pilot.click("StepsLine")
        await until(pilot, lambda: screen(app).query(Player))

        def part(name: str) -> tuple[int, int]:
            return next((start, 0) for start, _, known in player(app).query_one(ScrubBar)._parts if known == name)

        await pilot.click(ScrubBar, offset=part("back"))
        assert "step 8/9" in shown_steps(app)
        await pilot.click(ScrubBar, offset=part("slider"))
        assert "step 1/9" in shown_steps(app)
        await pilot.click("HeatStrip", offset=(5, 3))
        assert "step 8/9" in shown_steps(app)
        await pilot.click(Stage, offset=(2, 0))
        assert "accepted at" in str(player(app).query_one(".card").render())
        await pilot.click(ScrubBar, offset=part("mode"))
        await until(pilot, lambda: "entropy" in shown_steps(app))
        await pilot.click(ScrubBar, offset=part("close"))
        await until(pilot, lambda: not screen(app).query(Player))


async def test_a_cursor_walks_over_tokens_and_tells_about_them() -> None:
    app = app_of(FakeEngine(TEXT, canvas=16, steps=6))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query(Player))
        assert card(app) is None
        await pilot.press("i")
        assert '"One"' in str(card(app))
        await pilot.press("right", "right")
        assert '" three"' in str(card(app)) and "step 6/6" in shown_steps(app)
        await pilot.press("left", "escape")
        assert card(app) is None
        await pilot.press("left")
        assert "step 5/6" in shown_steps(app)


async def test_a_live_answer_is_looked_back_into_while_it_goes_on() -> None:
    engine = FakeEngine(TEXT, canvas=16, steps=8, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 4, 4)
        await pilot.press("alt+up", "left", "left")
        assert "step 2/4" in shown_steps(app) and not player(app).following
        looked_at = canvas(app)
        await step_to(pilot, engine, 1, 5)
        assert "step 2/5" in shown_steps(app) and canvas(app) == looked_at
        await pilot.press("end")
        assert "step 5/5" in shown_steps(app) and "● live" in shown_steps(app)
        await step_to(pilot, engine, 1, 6)
        assert "step 6/6" in shown_steps(app)
        engine.permit(10)
        await answered(pilot)
        assert transcript(app)[1] != "" and not player(app).live
        await pilot.press("escape")
        await until(pilot, lambda: not screen(app).query(Player))
        assert transcript(app)[1] == TEXT


async def test_steps_that_nobody_saw_are_in_the_trace() -> None:
    app = app_of(FakeEngine(TEXT, canvas=8, steps=40))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
    assert [len(block) for block in last_trace().blocks] == [40, 40]


async def test_a_token_is_frozen_typed_anew_and_held() -> None:
    engine = FakeEngine(TEXT, canvas=16, steps=8, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 6, 6)
        await pilot.press("alt+up", "space")
        assert "frozen" in shown_steps(app) and "frozen" in status(app)
        player(app)._cursor = 2
        await pilot.press("enter")
        field = player(app).query_one(Input)
        assert field.display and screen(app).focused is field
        await pilot.press(*"thirty", "enter")
        await until(pilot, lambda: "held as 1 token" in status(app))
        assert "thirty" in canvas(app) and "▎" in canvas(app) and "1 pinned" in shown_steps(app)
        assert '" thirty"' in str(card(app)) and "pinned" in str(card(app))
        await pilot.press("space")
        assert not player(app).frozen
        engine.permit(20)
        await answered(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "steered by hand" in str(screen(app).query_one("StepsLine").render()))
        assert answers(app)[0].text == TEXT.replace("three", "thirty")
    trace = last_trace()
    assert trace.about.steered and trace.text() == TEXT.replace("three", "thirty")


async def test_in_a_block_that_is_written_nothing_can_be_held_and_that_is_said() -> None:
    engine = FakeEngine(TEXT, canvas=8, steps=4, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 4, 4)
        await end_block(pilot, engine, 1)
        await pilot.press("alt+up", "space", "p")
        await until(pilot, lambda: "block 1 is written already" in status(app))
        assert "pinned" not in shown_steps(app)
        player(app)._cursor = 2
        screen(app).say("")
        await pilot.press("enter", *"thirty", "enter")
        await until(pilot, lambda: "block 1 is written already" in status(app))
        assert "pinned" not in shown_steps(app)
        await pilot.press("space")
        engine.permit(20)
        await answered(pilot)
        assert answers(app)[0].text == TEXT and not last_trace().about.steered


async def test_a_held_token_is_freed_again() -> None:
    engine = FakeEngine(TEXT, canvas=16, steps=8, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 3, 3)
        await pilot.press("alt+up", "space", "p")
        await until(pilot, lambda: "held" in status(app))
        assert "1 pinned" in shown_steps(app)
        await pilot.press("x")
        await until(pilot, lambda: "free again" in status(app))
        assert "pinned" not in shown_steps(app) and "▎" not in canvas(app)
        await pilot.press("space")
        engine.permit(20)
        await answered(pilot)
    assert not last_trace().about.steered


async def test_a_finished_answer_forms_anew_around_what_is_held_as_a_branch() -> None:
    engine = FakeEngine(TEXT, canvas=8, steps=4)
    app = app_of(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query(Player))
        await pilot.press("i", "right", "enter", *"zwei", "enter")  # in the second block
        await until(pilot, lambda: "forms the rest anew" in status(app))
        engine._answers = [" nine ten eleven twelve"]  # what the second block's canvas comes to
        await pilot.press("space")
        await answered(pilot)
        message = answers(app)[0].message
        assert message is not None and len(message.siblings) == 2
        assert message.text == "One two three four five six seven eight nine zwei eleven twelve"
    trace = last_trace()
    assert trace.about.steered and [len(block) for block in trace.blocks] == [4, 4]


async def test_a_text_that_does_not_fit_says_so() -> None:
    engine = FakeEngine(TEXT, canvas=16, steps=8, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 6, 6)
        await pilot.press("alt+up", "space")
        player(app)._cursor = 14
        await pilot.press("enter", *"a b c", "enter")
        await until(pilot, lambda: "takes 3 tokens" in status(app))
        await pilot.press("escape", "escape")
        engine.permit(20)
        await answered(pilot)


async def test_the_steps_are_written_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of(FakeEngine(TEXT, canvas=16, steps=4))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        await pilot.press("alt+up")
        await until(pilot, lambda: screen(app).query(Player))
        await pilot.press("e")
        await pilot.press("enter")
        await until(pilot, lambda: "written to" in status(app))
        assert "<html" in (tmp_path / "answer.html").read_text("utf-8")
        await pilot.press("e", "enter")
        await until(pilot, lambda: "there already" in status(app))


async def test_a_damaged_trace_is_told() -> None:
    app = app_of(FakeEngine(TEXT, canvas=16, steps=4))
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "Count")
        await answered(pilot)
        app.store._db.execute("UPDATE traces SET data = x'00'")
        await pilot.press("alt+up")
        await until(pilot, lambda: "cannot be shown" in status(app))
        assert not screen(app).query(Player)
