"""The chat on its screen, played through by keys."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dgchat.app.stage import Stage
from dgchat.history.store import Store
from dgchat.paths import history_file
from tests.tui.app.play import (
    LONG,
    NARROW,
    Player,
    answered,
    answers,
    app_of,
    ask,
    composer,
    end_block,
    ready,
    say,
    screen,
    shown,
    status,
    step_to,
    title,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine


async def test_it_answers_and_remembers() -> None:
    engine = FakeEngine("Good day to you.", "It was about a fox.")
    app = app_of(engine, system="Be brief.")
    async with app.run_test(size=NARROW) as pilot:
        await ask(pilot, "Hello")
        assert "converged in 6 steps" in status(app)
        await say(pilot, "What was it about?")
        await until(pilot, lambda: len(answers(app)) == 2 and "tokens a forward" in status(app))
        assert transcript(app) == ["Hello", "Good day to you.", "What was it about?", "It was about a fox."]
        assert "fake" in title(app) and "9.0 M parameters" in title(app) and "Hello" in title(app)
    assert [message["role"] for message in engine.asked[1]] == ["system", "user", "assistant", "user"]
    past = engine.asked[1][2]
    assert past["content"] == "Good day to you."
    assert engine.decode(past["ids"]) == past["content"]
    assert engine.sessions == 1
    with Store(history_file()) as store:
        (chat,) = store.conversations()
        assert [item.text for item in store.path(chat.leaf)][1::2] == ["Good day to you.", "It was about a fox."]
        assert all(item.traced == (item.role == "assistant") for item in store.tree(chat.id))


async def test_enter_on_nothing_does_nothing_and_ctrl_j_breaks_the_line() -> None:
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("enter", "space", "enter")
        assert engine.asked == []
        await pilot.press("a", "ctrl+j", "b", "enter")
        await until(pilot, lambda: engine.asked)
    assert engine.asked[0][-1]["content"] == "a\nb"


async def test_one_answer_at_a_time() -> None:
    engine = FakeEngine(LONG, delay=0.03)
    engine.stuck = 1
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: answers(app))
        await say(pilot, "Impatient")
        assert composer(app).text == "Impatient"
        assert "Esc stops it" in status(app) or "block 1" in status(app)
        assert transcript(app)[0] == "A story" and len(transcript(app)) == 2
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")
        assert composer(app).text == "Impatient"
    assert len(engine.asked) == 1


# ---- watching


async def test_the_canvas_resolves_in_place_and_becomes_markdown() -> None:
    engine = FakeEngine(
        "# A title\n\nSome *words*, and\n\n```python\nprint(1)\n```\n", canvas=64, steps=8, stepwise=True
    )
    app = app_of(engine, watch=True)
    async with app.run_test(size=NARROW) as pilot:
        await say(pilot, "A story")
        await step_to(pilot, engine, 1, 2, 2)
        early = transcript(app)[1]
        assert any(sign in early for sign in "░▒") and screen(app).query(Stage)
        await step_to(pilot, engine, 1, 6, 4)
        assert "# A title" in transcript(app)[1]
        engine.permit(10)
        await answered(pilot)
        await until(pilot, lambda: screen(app).query("MarkdownFence"))
        final = transcript(app)[1]
        assert "A title" in final and "#" not in final and "*" not in final and "print(1)" in final
        assert not screen(app).query(Stage) and not screen(app).query("Prose")


async def test_the_canvas_goes_on_behind_the_blocks_that_have_ended() -> None:
    engine = FakeEngine("One two three four five six seven eight", canvas=4, steps=4, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=NARROW) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 4, 4)
        await end_block(pilot, engine, 1)
        await step_to(pilot, engine, 2, 4, 4)
        assert transcript(app)[1] == "One two three four five six seven eight"
        engine.permit(10)
        await answered(pilot)
        assert transcript(app)[1] == "One two three four five six seven eight"


async def test_without_watching_a_block_appears_when_it_has_ended() -> None:
    engine = FakeEngine("One two three four five six seven eight", canvas=4, steps=4, stepwise=True)
    app = app_of(engine)
    async with app.run_test(size=NARROW) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 3, 3)
        assert not screen(app).query(Stage) and transcript(app) == ["Count", ""]
        assert "block 1, step 3 of" in status(app) and "accepted" in status(app)
        await step_to(pilot, engine, 1, 4)
        await end_block(pilot, engine, 1)
        await step_to(pilot, engine, 2, 1)
        assert transcript(app)[1] == "One two three four"
        engine.permit(10)
        await answered(pilot)


async def test_f2_turns_the_canvas_on_and_off_in_the_middle_of_an_answer_and_is_remembered() -> None:
    engine = FakeEngine("One two three four five six seven eight", canvas=4, steps=4, stepwise=True)
    app = app_of(engine, watch=None)
    async with app.run_test(size=NARROW) as pilot:
        await say(pilot, "Count")
        await step_to(pilot, engine, 1, 1)
        assert not screen(app).query(Stage)
        await pilot.press("f2")
        assert "before your eyes" in status(app)
        await step_to(pilot, engine, 1, 2)
        assert screen(app).query(Stage)
        await step_to(pilot, engine, 1, 4, 2)
        await end_block(pilot, engine, 1)
        await step_to(pilot, engine, 2, 1)
        await pilot.press("f2")
        assert not screen(app).query(Stage) and transcript(app)[1] == "One two three four"
        await pilot.press("f2")
        engine.permit(10)
        await answered(pilot)
        assert transcript(app)[1] == "One two three four five six seven eight"
    assert app_of(engine, watch=None).settings.watch is True
    assert app_of(engine, watch=False).settings.watch is False


# ---- stopping


async def test_escape_stops_and_what_stands_is_kept() -> None:
    engine = FakeEngine(LONG, "Short.", canvas=16, steps=5, delay=0.03)
    engine.stuck = 2
    app = app_of(engine, watch=True)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: "block 2, step" in status(app))
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")
        kept = answers(app)[0].text
        assert kept and LONG.startswith(kept) and kept != LONG
        assert transcript(app)[1].split() == kept.split()
        with Store(history_file()) as store:
            answer = store.path(store.conversations()[0].leaf)[-1]
            assert (answer.text, answer.reason) == (kept, "cancelled")
            assert engine.decode(answer.ids) == kept
        engine.stuck = 0
        await ask(pilot, "Again")
    assert [message["role"] for message in engine.asked[1]] == ["user", "assistant", "user"]


async def test_of_a_canvas_that_is_stopped_the_beginning_that_was_accepted_stays() -> None:
    engine = FakeEngine(LONG, canvas=16, steps=10, stepwise=True)
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await step_to(pilot, engine, 1, 7, 7)
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")
        kept = answers(app)[0].text
        assert kept and LONG.startswith(kept) and len(engine.vocabulary.encode(kept)) < 16


async def test_a_question_without_an_answer_gives_way_to_the_next() -> None:
    engine = FakeEngine(LONG, "Short.", delay=0.03)
    engine.stuck = 1
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: answers(app))
        await pilot.press("escape")
        await until(pilot, lambda: status(app) == "stopped by you")
        assert transcript(app) == ["A story"]
        engine.stuck = 0
        await ask(pilot, "Again")
        assert transcript(app) == ["Again\n‹\n2/2\n›", "Short."]
    assert engine.asked[1] == [{"role": "user", "content": "Again"}]


async def test_what_is_typed_while_a_message_is_chosen_goes_to_the_composer() -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ask(pilot, "Hello")
        answers(app)[0].focus()
        await pilot.press("H", "i", "space", "exclamation_mark")
        assert composer(app).text == "Hi !"


async def test_escape_before_anything_has_come() -> None:
    app = app_of(FakeEngine("Fine."))
    app.host.start = lambda: None  # type: ignore[method-assign]
    async with app.run_test() as pilot:
        await say(pilot, "Hello")
        assert status(app) == "waiting for the model"
        await pilot.press("escape")
        assert status(app) == "stopped by you"
        type(app.host).start(app.host)
        await ready(pilot)
        await ask(pilot, "Hello again")
        assert transcript(app)[-1] == "Fine."


async def test_a_new_chat_in_the_middle_of_an_answer() -> None:
    engine = FakeEngine(LONG, "Short.", canvas=16, steps=5, delay=0.03)
    engine.stuck = 2
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: "block 2, step" in status(app))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: transcript(app) == [])
        await ask(pilot, "Again")
        assert transcript(app) == ["Again", "Short."]
    assert engine.asked[-1] == [{"role": "user", "content": "Again"}]
    assert engine.sessions == 2
    with Store(history_file()) as store:
        new, old = store.conversations()
        assert (new.title, old.title) == ("Again", "A story")
        assert LONG.startswith(store.path(old.leaf)[-1].text) and store.path(old.leaf)[-1].reason == "cancelled"


async def test_ctrl_q_quits_in_the_middle_of_an_answer_and_what_stands_is_kept() -> None:
    engine = FakeEngine(LONG, canvas=16, steps=5, delay=0.03)
    engine.stuck = 2
    app = app_of(engine)
    async with app.run_test() as pilot:
        await say(pilot, "A story")
        await until(pilot, lambda: "block 2, step" in status(app))
        await pilot.press("ctrl+q")
        await asyncio.sleep(0)
    assert not app.is_running and not app.broken
    with Store(history_file()) as store:
        question, answer = store.path(store.conversations()[0].leaf)
        assert question.text == "A story"
        assert LONG.startswith(answer.text) and answer.reason == "cancelled"


# ---- a block that does not settle


@pytest.fixture
def unsettled() -> FakeEngine:
    engine = FakeEngine("One two three four five six seven eight", canvas=4, steps=4)
    engine.unsettled = {1}
    return engine


async def waiting(pilot: Player) -> None:
    """The first block waits for a decision."""
    await until(pilot, lambda: "Enter for 16 more" in status(pilot.app))
    assert "Block 1 did not settle in 4 steps." in transcript(pilot.app)[2]


async def test_enter_gives_more_steps(unsettled: FakeEngine) -> None:
    unsettled.unsettled = {1}
    unsettled.steps = 8
    app = app_of(unsettled, watch=True)
    async with app.run_test() as pilot:
        await say(pilot, "Count")
        await until(pilot, lambda: "did not settle in 8 steps: Enter for 16 more" in status(app))
        await pilot.press("enter")
        await until(pilot, lambda: "did not settle in 24 steps" in status(app))
        assert len(transcript(app)) == 3
        await pilot.press("enter")
        await answered(pilot)
        assert transcript(app) == ["Count", "One two three four five six seven eight"]
    assert unsettled.extensions == [16, 16]


async def test_while_a_block_has_more_steps_its_text_stands_there_once(unsettled: FakeEngine) -> None:
    unsettled.permits = threading.Semaphore(5)
    app = app_of(unsettled, watch=True)
    async with app.run_test() as pilot:
        await say(pilot, "Count")
        await waiting(pilot)
        assert transcript(app)[1] == "One two three four"
        await pilot.press("enter")
        await step_to(pilot, unsettled, 1, 14, 10)
        assert transcript(app)[1].split() == "One two three four".split()
        unsettled.permits.release(50)
        await answered(pilot)


async def test_what_did_not_settle_can_be_kept_with_the_mouse(unsettled: FakeEngine) -> None:
    app = app_of(unsettled)
    async with app.run_test() as pilot:
        await say(pilot, "Count")
        await waiting(pilot)
        await pilot.click("#keep")
        await answered(pilot)
        assert transcript(app) == ["Count", "One two three four five six seven eight"]
        await until(pilot, lambda: composer(app).editor.has_focus)
    assert unsettled.extensions == []


@pytest.mark.parametrize("by_mouse", [True, False])
async def test_or_the_answer_ends_there(unsettled: FakeEngine, by_mouse: bool) -> None:
    app = app_of(unsettled)
    async with app.run_test() as pilot:
        await say(pilot, "Count")
        await waiting(pilot)
        await (pilot.click("#stop") if by_mouse else pilot.press("escape"))
        await until(pilot, lambda: status(app) == "stopped by you")
        assert transcript(app) == ["Count", "One two three four"]
        await say(pilot, "")
        assert len(unsettled.asked) == 1


async def test_a_new_chat_takes_the_decision_away(unsettled: FakeEngine) -> None:
    app = app_of(unsettled)
    async with app.run_test() as pilot:
        await say(pilot, "Count")
        await waiting(pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: transcript(app) == [])
        unsettled.unsettled = set()
        await ask(pilot, "Again")
        assert len(transcript(app)) == 2


# ---- safety, sizes, scripts


async def test_escape_sequences_of_the_model_do_not_reach_the_screen() -> None:
    app = app_of(FakeEngine("red \x1b[31mfox\x1b]0;owned\x07 [bold]end[/bold]"), watch=True)
    async with app.run_test() as pilot:
        await ask(pilot, "Hello [red]you[/red]")
        assert transcript(app) == ["Hello [red]you[/red]", "red fox [bold]end[/bold]"]
        assert "\x1b" not in shown(app) and "\x07" not in shown(app)


WORLD = "Grüße 世界 🦊 👩‍👩‍👧 שלום עולם مرحبا é ﷽ ｆｕｌｌ"


@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("size", [(60, 16), (300, 80)])
async def test_any_script_at_any_size(size: tuple[int, int], watch: bool) -> None:
    engine = FakeEngine(WORLD + "\n\n" + "日本語 テキスト " * 30, canvas=32, steps=3)
    app = app_of(engine, watch=watch)
    async with app.run_test(size=size) as pilot:
        await say(pilot, WORLD)
        await until(pilot, lambda: "tokens a forward" in status(app) or "converged" in status(app))
        lines = shown(app).splitlines()
        assert len(lines) <= size[1]
        for word in ("Grüße", "世界", "🦊", "שלום"):
            assert word in transcript(app)[0] and word in transcript(app)[1]


async def test_a_window_may_change_its_size_while_the_canvas_stands_there() -> None:
    engine = FakeEngine(LONG, canvas=64, steps=6, stepwise=True)
    app = app_of(engine, watch=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await say(pilot, "A story")
        await step_to(pilot, engine, 1, 5, 5)
        wide = transcript(app)[1]
        for width, height in ((60, 16), (300, 80), (40, 10), (120, 40)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            (view,) = screen(app).query(Stage)
            assert view.size.width <= width
            assert transcript(app)[1].split() == wide.split()
            rows = transcript(app)[1].splitlines()
            assert max(map(len, rows)) <= view.size.width
        assert len(rows) == len(wide.splitlines())
        engine.permit(1000)
        await answered(pilot)
        assert transcript(app)[1].split() == LONG.split()
