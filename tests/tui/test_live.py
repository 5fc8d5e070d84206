"""The area that is redrawn in place: it leaves nothing behind, whatever happens to the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from dgchat.inline.live import LiveArea
from tests.tui.screen import Screen


class Terminal:
    """A `LiveArea` on a `Screen` of any size."""

    def __init__(self, columns: int = 40, lines: int = 10) -> None:
        self.out = io.StringIO()
        self.size = (columns, lines)
        self.area = LiveArea(Console(file=self.out, force_terminal=True, color_system="truecolor"))
        self.area.size = lambda: self.size  # type: ignore[method-assign]
        self.screen = Screen(columns, lines)

    def show(self) -> Screen:
        self.screen.feed(self.out.getvalue())
        self.out.truncate(0)
        self.out.seek(0)
        return self.screen


def rows(*texts: str) -> list[Text]:
    return [Text(text, style="red") for text in texts]


_FRAME = st.lists(st.text("ab 한", max_size=60), min_size=1, max_size=14)


@given(st.lists(st.one_of(_FRAME, st.text("xyz", min_size=1, max_size=30)), max_size=8), st.integers(0, 12))
def test_only_the_last_frame_stands_and_nothing_remains(frames: list[list[str] | str], above: int) -> None:
    terminal = Terminal()
    before = [f"line {number}" for number in range(above)]
    terminal.screen.feed("".join(line + "\n" for line in before))
    printed: list[str] = []
    with terminal.area as area:
        for frame in frames:
            if isinstance(frame, str):
                area.print_above(frame + "\n")
                printed.append(frame)
                continue
            area.draw(rows(*frame))
            lines = terminal.show().text().split("\n")
            assert lines[: above + len(printed)] == before + printed
            assert not terminal.screen.cursor_shown
    screen = terminal.show()
    assert screen.text() == "\n".join(before + printed)
    assert screen.cursor_shown and screen.wraps and not screen.alternate


def test_a_frame_stands_as_it_was_drawn() -> None:
    terminal = Terminal()
    with terminal.area as area:
        area.draw(rows("one", "two", "three"))
        area.draw(rows("one", "2", "three"))
        assert terminal.show().text() == "one\n2\nthree"
        area.draw(rows("less"))
        assert terminal.show().text() == "less"


def test_rows_that_have_not_changed_are_not_sent_again() -> None:
    terminal = Terminal()
    with terminal.area as area:
        area.draw(rows("one", "two"))
        terminal.show()
        area.draw(rows("one", "2"))
        assert "one" not in terminal.out.getvalue()
        assert terminal.show().text() == "one\n2"


def test_rows_are_cut_at_the_width_and_the_first_of_too_many_left_out() -> None:
    terminal = Terminal(columns=10, lines=4)
    with terminal.area as area:
        area.draw(rows(*(f"{number} is a long row" for number in range(6))))
        assert terminal.show().text() == "3 is a lo\n4 is a lo\n5 is a lo"


def test_a_narrower_terminal_gets_the_alternate_screen_until_lines_are_printed() -> None:
    terminal = Terminal()
    with terminal.area as area:
        area.draw(rows("a" * 30, "b"))
        terminal.show()
        terminal.size = (20, 10)
        area.draw(rows("a" * 15))
        assert terminal.show().alternate
        assert terminal.screen.text() == "a" * 15
        area.draw(rows("c" * 15))
        assert terminal.show().text() == "c" * 15
        area.print_above("settled\n")
        assert not terminal.show().alternate
        assert terminal.screen.text().endswith("settled")


def test_a_wider_terminal_keeps_its_place() -> None:
    terminal = Terminal()
    terminal.screen.feed("above\n")
    with terminal.area as area:
        area.draw(rows("a" * 30, "b"))
        terminal.show()
        terminal.size, terminal.screen.columns = (60, 10), 60
        area.draw(rows("a" * 50, "b"))
        assert terminal.show().text() == "above\n" + "a" * 50 + "\nb"
        assert not terminal.screen.alternate


def test_an_error_leaves_the_terminal_in_order() -> None:
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), terminal.area as area:
        area.draw(rows("half"))
        raise KeyboardInterrupt
    screen = terminal.show()
    assert screen.text() == "" and screen.cursor_shown
