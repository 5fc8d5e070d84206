"""Regenerating, asking otherwise, and going between what came of it."""

from __future__ import annotations

import pytest
from textual.widgets import Button

from dgchat.app.messages import Said
from dgchat.history.store import Store
from dgchat.paths import history_file
from tests.tui.app.play import (
    LONG,
    Player,
    answers,
    app_of,
    ask,
    composer,
    keep,
    kept_chat,
    questions,
    ready,
    say,
    screen,
    status,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine

FIRST, SECOND = "‹\n1/2\n›", "‹\n2/2\n›"


async def over(pilot: Player, *texts: str) -> None:
    """The answer is over, and the transcript reads like this."""
    await until(pilot, lambda: transcript(pilot.app) == list(texts) and "tokens a forward" in status(pilot.app))


async def test_regenerating_makes_a_branch_and_keys_go_between_them() -> None:
    engine = FakeEngine("First.", "Second.", "Third.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ask(pilot, "Well?")
        await pilot.press("ctrl+r")
        await over(pilot, "Well?", f"Second.\n{SECOND}")
        assert engine.asked[1] == engine.asked[0]
        await pilot.press("alt+left")
        assert transcript(app) == ["Well?", f"First.\n{FIRST}"] and status(app) == "branch 1 of 2"
        await pilot.press("alt+left")
        assert status(app) == "there is no branch further on"
        await ask(pilot, "And?")
        assert engine.asked[2][1]["content"] == "First."
        await pilot.press("alt+right")
        assert transcript(app) == ["Well?", f"Second.\n{SECOND}"]
        await pilot.press("alt+left")
        assert transcript(app) == ["Well?", f"First.\n{FIRST}", "And?", "Third."]


async def test_the_mouse_goes_between_branches() -> None:
    app = app_of(FakeEngine("First.", "Second."))
    async with app.run_test() as pilot:
        await ask(pilot, "Well?")
        await say(pilot, "/again")
        await over(pilot, "Well?", f"Second.\n{SECOND}")
        await pilot.click(answers(app)[0].query_one(".back", Button))
        await until(pilot, lambda: transcript(app)[1] == f"First.\n{FIRST}")
        await pilot.click(answers(app)[0].query_one(".on", Button))
        await until(pilot, lambda: transcript(app)[1] == f"Second.\n{SECOND}")


async def test_a_question_asked_otherwise_is_a_branch() -> None:
    engine = FakeEngine("First.", "Second.", "Third.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await ask(pilot, "Two?")
        await pilot.press("f8")
        assert composer(app).text == "Two?" and "another branch" in status(app)
        await pilot.press("end", "!", "enter")
        await over(pilot, "One?", "First.", f"Two?!\n{SECOND}", "Third.")
        await pilot.press("alt+left")
        assert transcript(app)[2:] == [f"Two?\n{FIRST}", "Second."]
    assert [item["content"] for item in engine.asked[2]] == ["One?", "First.", "Two?!"]


async def test_escape_leaves_the_question_as_it_was() -> None:
    engine = FakeEngine("First.", "Second.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await pilot.press("f8", "x", "escape")
        assert composer(app).text == ""
        await ask(pilot, "Two?")
        assert transcript(app) == ["One?", "First.", "Two?", "Second."]


async def test_any_question_can_be_chosen_and_the_first_one_too() -> None:
    app = app_of(FakeEngine("First.", "Second.", "Third."))
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await ask(pilot, "Two?")
        questions(app)[0].focus()
        await pilot.press("f8")
        assert composer(app).text == "One?"
        await say(pilot, " Or?")
        await over(pilot, f"One? Or?\n{SECOND}", "Third.")
        questions(app)[0].focus()
        await pilot.press("alt+left")
        assert transcript(app) == [f"One?\n{FIRST}", "First.", "Two?", "Second."]


async def test_regenerating_in_the_middle_of_an_answer_keeps_what_stands_as_a_branch() -> None:
    engine = FakeEngine(LONG, "Short.", canvas=16, steps=5, delay=0.03)
    engine.stuck = 2
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: "block 2, step" in status(app))
        engine.stuck = 0
        await pilot.press("f5")
        await over(pilot, "A story", f"Short.\n{SECOND}")
        await pilot.press("alt+left")
        kept = answers(app)[0].text
        assert kept and LONG.startswith(kept)


async def test_there_is_nothing_to_go_to_or_to_ask_again() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ready(pilot)
        for keys, said in (
            ("alt+left", "there is no other branch"),
            ("ctrl+r", "there is no question to answer yet"),
            ("f8", "there is no question yet"),
        ):
            await pilot.press(keys)
            assert status(app) == said


@pytest.mark.parametrize("key", ["ctrl+r", "alt+left", "f8"])
async def test_a_chat_deleted_elsewhere_becomes_a_new_one(key: str) -> None:
    with kept_chat("One?", "First."):
        pass
    app = app_of(FakeEngine("Again."), resume=1)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app))
        with Store(history_file()) as other:
            other.delete(1)
            other.purge(0)
        await pilot.press(key)
        await pilot.pause()
        await ask(pilot, "Two?")
        assert transcript(app)[-1] == "Again."
        await say(pilot, "/rename A name")
        assert [chat.title for chat in app.store.conversations()] == ["A name"]


async def test_branches_come_back_with_the_chat() -> None:
    with Store(history_file()) as store:
        keep(store, "One?", "First.")
        store.add_question(1, None, "Or?")
    app = app_of(FakeEngine("Fine."), resume=1)
    async with app.run_test() as pilot:
        await until(pilot, lambda: transcript(app) == [f"Or?\n{SECOND}"])
        await pilot.press("alt+left")
        assert transcript(app) == [f"One?\n{FIRST}", "First."]
        assert all(isinstance(item, Said) for item in screen(app).transcript.messages.children)


async def test_where_the_last_fork_ends_the_one_before_goes_on() -> None:
    """An edited question stays within reach, however many answers each of the two has."""
    app = app_of(FakeEngine("First.", "Second.", "Third.", "Fourth."))
    async with app.run_test() as pilot:
        await ask(pilot, "One?")
        await pilot.press("f5")
        await over(pilot, "One?", f"Second.\n{SECOND}")
        await pilot.press("f8")
        composer(app).fill("Another?")
        await pilot.press("enter")
        await until(pilot, lambda: "Third." in transcript(app)[-1])
        await pilot.press("alt+left")
        assert transcript(app) == [f"One?\n{FIRST}", f"Second.\n{SECOND}"]
        await pilot.press("alt+right")
        assert transcript(app) == [f"Another?\n{SECOND}", "Third."]
        await pilot.press("alt+right")
        assert status(app) == "there is no branch further on"
