"""The conversation follows its end, until one scrolls up; of a long chat the last messages are shown."""

from __future__ import annotations

from typing import Any

from textual import events

from tests.tui.app.play import (
    LONG,
    answered,
    answers,
    app_of,
    ask,
    end_block,
    kept_chat,
    questions,
    say,
    screen,
    shown,
    step_to,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine

SMALL = (80, 16)


def below(app: Any) -> bool:
    """Whether the mark for what stands below is shown."""
    return bool(screen(app).query_one("#below").display)


def at_end(app: Any) -> bool:
    messages = screen(app).transcript.messages
    return bool(messages.scroll_y >= messages.max_scroll_y > 0)


async def test_the_end_stays_in_sight_while_an_answer_grows() -> None:
    engine = FakeEngine("\n\n".join(f"line {number}" for number in range(60)), canvas=30, steps=2)
    for watch in (True, False):
        app = app_of(engine, watch=watch)
        async with app.run_test(size=SMALL) as pilot:
            await ask(pilot, "Lines?")
            await until(pilot, lambda app=app: at_end(app))  # type: ignore[misc]
            assert "line 59" in shown(app) and not below(app)


async def test_scrolling_up_lets_go_and_the_mark_leads_back() -> None:
    text = "\n\n".join(f"line {number}" for number in range(60))
    engine = FakeEngine(text, canvas=60, steps=2, stepwise=True)
    app = app_of(engine)
    async with app.run_test(size=SMALL) as pilot:
        await say(pilot, "Lines?")
        await step_to(pilot, engine, 1, 2, 2)
        await end_block(pilot, engine, 1)
        await until(pilot, lambda: at_end(app))
        await pilot.press("pageup")
        place = screen(app).transcript.messages.scroll_y
        assert not screen(app).transcript.follows
        await step_to(pilot, engine, 2, 2, 2)
        await end_block(pilot, engine, 2)
        await until(pilot, lambda: below(app))
        assert screen(app).transcript.messages.scroll_y == place
        assert "↓ more below" in shown(app)
        await pilot.click("#below")
        await until(pilot, lambda: at_end(app) and not below(app))
        engine.permit(1000)
        await answered(pilot)
        await until(pilot, lambda: at_end(app))
        assert "line 59" in shown(app) and screen(app).transcript.follows


async def test_keys_and_the_wheel_scroll() -> None:
    app = app_of(FakeEngine("\n\n".join(f"line {number}" for number in range(60))))
    async with app.run_test(size=SMALL) as pilot:
        await ask(pilot, "Lines?")
        await until(pilot, lambda: at_end(app))
        messages = screen(app).transcript.messages
        await pilot.press("pageup", "pageup")
        assert messages.scroll_y < messages.max_scroll_y - 10
        await pilot.press("pagedown", "pagedown")
        await until(pilot, lambda: at_end(app))
        assert screen(app).transcript.follows
        x, y = messages.region.center
        scroll = events.MouseScrollUp(messages, x, y, 0, -1, 0, False, False, False, screen_x=x, screen_y=y)
        app.post_message(scroll)
        await until(pilot, lambda: not screen(app).transcript.follows)
        await pilot.press("ctrl+end")
        assert at_end(app) and screen(app).transcript.follows


async def test_sending_goes_to_the_end() -> None:
    app = app_of(FakeEngine("\n\n".join(f"line {number}" for number in range(60)), "Fine."))
    async with app.run_test(size=SMALL) as pilot:
        await ask(pilot, "Lines?")
        await pilot.press("pageup", "pageup")
        await ask(pilot, "And?")
        await until(pilot, lambda: len(answers(app)) == 2)
        assert at_end(app) and "Fine." in shown(app) and not below(app)


async def test_of_a_long_chat_the_last_messages_are_shown_and_a_button_leads_to_the_others() -> None:
    with kept_chat(*(text for number in range(160) for text in (f"question {number}", f"answer {number}"))):
        pass
    engine = FakeEngine(LONG)
    app = app_of(engine, resume=1)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: answers(app))
        assert "answer 159" in shown(app) and len(transcript(app)) == 61
        assert "↑ 260 earlier messages" in transcript(app)[0]
        assert transcript(app)[1] == "question 130"
        screen(app).transcript.messages.scroll_home(animate=False)
        await until(pilot, lambda: "earlier messages" in shown(app))
        await pilot.click("#earlier")
        await until(pilot, lambda: len(questions(app)) == 60)
        # What was in sight is still in sight, and the others are above it.
        await until(pilot, lambda: "question 130" in shown(app))
        assert not screen(app).transcript.follows and screen(app).transcript.messages.scroll_y > 0
        assert "↑ 200 earlier messages" in transcript(app)[0] and transcript(app)[1] == "question 100"
        for count in (90, 120, 150, 160):
            await until(pilot, lambda: screen(app).transcript.messages.scroll_y > 0)
            screen(app).transcript.messages.scroll_home(animate=False)
            await until(pilot, lambda: "earlier messages" in shown(app))
            await pilot.click("#earlier")
            await until(pilot, lambda count=count: len(questions(app)) == count)  # type: ignore[misc]
        assert not screen(app).query("#earlier")
        assert [transcript(app)[place] for place in (0, -1)] == ["question 0", "answer 159"]
        await pilot.press("ctrl+end")
        await until(pilot, lambda: "answer 159" in shown(app))
        await ask(pilot, "Go on")
    assert len(engine.asked[0]) == 321
