"""Copying answers, and the code in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.app.copying import CodeBlocks, code_blocks
from tests.tui.app.play import app_of, ask, questions, ready, say, status
from tests.tui.fakes import FakeEngine

CODE = "Here:\n\n```python\nprint(1)\n```\n\nand\n\n~~~\nx\n\ny\n~~~\n"


def test_code_blocks_in_their_order() -> None:
    assert code_blocks(CODE) == ["print(1)\n", "x\n\ny\n"]
    assert code_blocks("    indented\n\ntext `inline`") == ["indented\n"]
    assert code_blocks("- list\n\n  ```\n  inner\n  ```\n") == ["inner\n"]
    assert code_blocks("```python\nnot closed") == ["not closed"]
    assert code_blocks("") == []


@given(st.lists(st.text(st.sampled_from("ab c\t#*_`~\\<>"), min_size=1).filter(str.strip)), st.text())
def test_any_fenced_code_comes_out_as_it_is(lines: list[str], language: str) -> None:
    fence = "`" * (max((line.count("`") for line in lines), default=0) + 3)
    code = "".join(line + "\n" for line in lines)
    info = "".join(char for char in language if char.isalnum())
    assert code_blocks(f"Text:\n\n{fence}{info}\n{code}{fence}\n\nMore.") == [code]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(isinstance(block, str) for block in code_blocks(text))


def test_the_newest_answer_comes_first_and_then_it_goes_on() -> None:
    blocks = CodeBlocks()
    old, new = "```\nold\n```", CODE
    found = [blocks.next([old, new]) for _ in range(4)]
    assert [block and block[0] for block in found] == ["print(1)\n", "x\n\ny\n", "old\n", "print(1)\n"]
    assert [block and block[1:] for block in found] == [(1, 3), (2, 3), (3, 3), (1, 3)]
    assert blocks.next([old, new, "No code."]) == ("print(1)\n", 1, 3)
    assert blocks.next(["No code."]) is None


async def test_keys_and_commands_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(FakeEngine(CODE, "No code here."))
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("f6")
        assert status(app) == "there is no answer to copy yet"
        await pilot.press("f7")
        assert status(app) == "there is no code block in this chat"
        await ask(pilot, "Code?")
        await pilot.press("f6")
        assert copied == [CODE] and status(app) == f"copied {len(CODE)} characters"
        await pilot.press("f7")
        assert status(app) == "copied code block 1 of 2, 1 line"
        await pilot.press("f7")
        assert status(app) == "copied code block 2 of 2, 3 lines"
        await say(pilot, "/code")
        assert copied[1:] == ["print(1)\n", "x\n\ny\n", "print(1)\n"]
        await ask(pilot, "More?")
        await say(pilot, "/copy")
        assert copied[-1] == "No code here."
        questions(app)[0].focus()
        await pilot.press("f6")
        assert copied[-1] == "Code?"


async def test_what_is_copied_holds_no_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(FakeEngine("```\nrm\x1b[31m -r\x07\n```"))
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test() as pilot:
        await ask(pilot, "Code?")
        await pilot.press("f6", "f7")
        assert copied == ["```\nrm -r\n```", "rm -r\n"]
