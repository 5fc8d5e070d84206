"""Lists to choose from, and keys and clicks that are faster than the screen."""

from __future__ import annotations

import pytest
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import OptionList

from dgchat.app.options import Options


class ListApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Options("one", "two", "three")


def click(on: OptionList, option: int) -> events.Click:
    style = Style(meta={"option": option})
    return events.Click(on, 1, option, 0, 0, 1, False, False, False, 1, option, style, 1)


async def test_a_row_that_is_gone_cannot_be_clicked() -> None:
    app = ListApp()
    async with app.run_test() as pilot:
        options = app.query_one(Options)
        options.post_message(click(options, 2))
        await pilot.pause()
        assert options.highlighted == 2
        options.clear_options()
        options.post_message(click(options, 2))
        await pilot.pause()
        assert app._exception is None and options.highlighted is None


@pytest.mark.parametrize("key", ["page_up", "page_down"])
def test_pages_before_the_first_drawing(key: str) -> None:
    options = Options("one", "two")
    options.set_reactive(OptionList.highlighted, 1)
    getattr(options, f"action_{key}")()
    with pytest.raises(KeyError):  # what it is there for: without it Textual's list fails
        getattr(super(Options, options), f"action_{key}")()
