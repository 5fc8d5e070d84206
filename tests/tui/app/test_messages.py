"""Text that grows, and what an answer looks like when it is over."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Markdown, Static

from dgchat.app.messages import Answer
from dgchat.app.prose import Prose, _complete
from dgchat.history.records import Message
from tests.amounts import examples
from tests.tui.app.play import (
    answered,
    answers,
    app_of,
    ask,
    drawn,
    end_block,
    folded,
    ready,
    say,
    screen,
    shown,
    status,
    step_to,
    transcript,
    until,
)
from tests.tui.fakes import FakeEngine


class OneProse(App[None]):
    """An app that holds nothing but a text."""

    CSS = "Prose, Prose Static { height: auto; width: 40; }"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Prose()


def lines(prose: Prose) -> list[str]:
    """The lines that are drawn, the empty ones between them too."""
    parts = [child for child in prose.children if child.display]
    return [line.text.rstrip() for part in parts for line in part.render_lines(part.outer_size.region)]


async def grown(pieces: list[str]) -> list[str]:
    """What is drawn when the text has come in these pieces."""
    app = OneProse()
    async with app.run_test(size=(60, 40)) as pilot:
        prose, text = app.query_one(Prose), ""
        for piece in pieces:
            text += piece
            await prose.show(text)
        await pilot.pause()
        return lines(prose)


@pytest.mark.parametrize(
    "text",
    [
        *("one", "one\ntwo", "one\n", "\n\none\n\n\ntwo\n\n"),
        *("    indented\n\ttab\n", "wide 世界 " * 20 + "\nend", "[b]x[/]\n\\"),
    ],
)
async def test_prose_that_grows_in_any_pieces_is_the_whole(text: str) -> None:
    whole = await grown([text])
    middle = len(text) // 2
    assert await grown([text[:middle], text[middle:]]) == whole
    assert await grown(list(text)) == whole


async def test_prose_goes_back_where_the_text_has_changed() -> None:
    app = OneProse()
    async with app.run_test(size=(60, 40)) as pilot:
        prose = app.query_one(Prose)
        for text in ("one\ntwo\nthree", "one\nTWO\nthree", "", "end"):
            await prose.show(text)
            await pilot.pause()
            assert lines(prose) == text.splitlines()


async def test_the_tail_can_be_left_to_the_canvas() -> None:
    app = OneProse()
    async with app.run_test() as pilot:
        prose = app.query_one(Prose)
        await prose.show("one\ntwo", tail=False)
        await pilot.pause()
        assert lines(prose) == ["one"] and prose.tail == "two"


@examples(200)
@given(st.text(st.sampled_from("ab \n"), max_size=40), st.lists(st.integers(0, 40)))
def test_what_is_drawn_for_good_never_changes(text: str, cuts: list[int]) -> None:
    """However the text comes, the parts that are complete are its beginning, and end with a line."""
    fixed, place = [], 0
    for end in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        cut = _complete(text[:end], place)
        assert place <= cut <= end
        fixed.append(text[place:cut])
        place = cut
    assert all(part == "" or part.endswith("\n") for part in fixed)
    assert "\n" not in text[place:]


def test_an_endless_line_is_cut_at_a_space() -> None:
    assert _complete("word " * 1000, 0) == 5000
    assert _complete("x" * 5000, 0) == 0


def answer_of(text: str, thought: str = "") -> Answer:
    return Answer(Message(1, 1, None, "assistant", text, 0.0, thought=thought))


class OneAnswer(App[None]):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def compose(self) -> ComposeResult:
        yield self.answer


@pytest.mark.parametrize(
    "text", ["", "\n", "# \n", "```", "| a |\n|--", "- \n  - ", "[x](y)" * 50, "> " * 60, "<b>&amp;"]
)
async def test_any_markdown_is_shown(text: str) -> None:
    app = OneAnswer(answer_of(text))
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.query(Markdown)


async def test_a_very_long_text_is_shown_as_it_is() -> None:
    app = OneAnswer(answer_of("*word* " * 40_000))
    async with app.run_test() as pilot:
        await pilot.pause()
        assert not app.query(Markdown)
        assert drawn(app.query_one(".words", Static)).startswith("*word* *word*")


async def test_links_are_shown_and_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(FakeEngine("See [this](https://example.org/x) and [bold]that[/bold]."))
    opened: list[str] = []
    monkeypatch.setattr(app, "open_url", lambda url, **_: opened.append(url))
    async with app.run_test() as pilot:
        await ask(pilot, "Where?")
        assert transcript(app)[1] == "See this and [bold]that[/bold]."
        markdown = answers(app)[0].query_one(Markdown)
        for x, following in pairwise(range(0, 20, 3)):
            assert following > x
            await pilot.click(markdown, offset=(x, 0))
    assert opened == []


async def test_a_thought_is_folded_and_can_be_read() -> None:
    engine = FakeEngine("<thought>Let me \x1b[31msee.</thought>Four.", "Five.")
    engine.thinks = True
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ask(pilot, "Two and two?")
        assert folded(app) == [("thought: 3 words", "Let me see.")]
        assert transcript(app)[1].endswith("Four.") and "Let me" not in shown(app)
        await pilot.click("CollapsibleTitle")
        await pilot.pause()
        assert "Let me see." in shown(app)
        await ask(pilot, "And?")
        assert screen(app).query(".thinking").results() is not None and len(folded(app)) == 1
    assert engine.asked[1][1]["content"] == "Four."
    with app_of(engine).store as store:
        assert store.path(store.conversations()[0].leaf)[1].thought == "Let me \x1b[31msee."


async def test_a_thought_is_folded_while_it_is_being_written_and_unfolds_by_key() -> None:
    engine = FakeEngine("<thought>One two three four five.</thought>Six seven.", canvas=4, steps=2)
    engine.thinks, engine.permits = True, threading.Semaphore(0)
    app = app_of(engine, thinking=True, watch=True)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Count.")
        await step_to(pilot, engine, 1, 2, 2)
        assert "⟨thinking⟩" in shown(app) and folded(app) == []
        await end_block(pilot, engine, 1)
        assert folded(app) == [("thinking: 1 word", "One")]
        await step_to(pilot, engine, 2, 2, 2)
        assert "five" in shown(app) and "thinking: 1 word" in shown(app)
        await end_block(pilot, engine, 2)
        assert folded(app) == [("thinking: 5 words", "One two three four five")]
        assert "One two" not in shown(app)
        await pilot.press("alt+t")
        await pilot.pause()
        assert "One two three four five" in shown(app)
        await step_to(pilot, engine, 3, 2, 2)
        assert ".⟨answer⟩Six seven" in shown(app)  # a canvas that holds both
        engine.permit(10)
        await answered(pilot)
        assert folded(app) == [("thought: 5 words", "One two three four five.")]
        assert "One two three four five." in shown(app)  # it stays as the user has left it
        await pilot.press("alt+t")
        await pilot.pause()
        assert "One two" not in shown(app) and transcript(app)[1].endswith("Six seven.")


async def test_there_may_be_no_thought_to_unfold() -> None:
    app = app_of(FakeEngine("One."))
    async with app.run_test() as pilot:
        await ask(pilot, "Hello")
        await pilot.press("alt+t")
        assert status(app).startswith("the model has not thought here")


async def test_a_model_that_only_thinks_says_so_and_loses_nothing() -> None:
    engine = FakeEngine("<thought>Hm, hm.")
    engine.thinks = True
    app = app_of(engine, thinking=True)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: "only thought" in status(app))
        assert folded(app) == [("thought: 2 words", "Hm, hm.")]


async def test_thoughts_show_beside_the_steps_of_an_answer() -> None:
    engine = FakeEngine("<thought>One two three.</thought>Four.", canvas=4)
    engine.thinks = True
    app = app_of(engine, thinking=True)
    async with app.run_test() as pilot:
        await ready(pilot)
        await ask(pilot, "Count.")
        await pilot.press("alt+up")
        await until(pilot, lambda: answers(app)[0].player is not None)
        assert "thought: 3 words" in shown(app) and "thought\nOne" not in shown(app)
