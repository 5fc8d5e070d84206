"""The guide: every entry is whole, and topics find theirs."""

from __future__ import annotations

import io
import re

import pytest

from dgchat import guide
from dgchat.cli.subcommands import SUBCOMMANDS
from dgchat.exits import Exit
from dgchat.settings import SETTINGS


def test_entries_are_whole() -> None:
    entries = guide.entries()
    assert len({entry.id for entry in entries}) == len(entries) > 20
    for entry in entries:
        assert entry.title and entry.section and len(entry.questions) >= 3
        assert entry.answer.isascii() and len(entry.answer.split()) <= 45
        assert entry.answer.count("`") % 2 == 0


@pytest.mark.parametrize(
    ("topic", "word"),
    [
        ("seed", "--seed"),
        ("--json", "--json"),
        ("exit codes", "Exit code"),
        ("pipe", "pipe"),
        ("how do I stop an answer?", "Esc"),
    ],
)
def test_topics_find_their_entry(topic: str, word: str) -> None:
    found = guide.find(topic)
    assert word in found[0].answer or word in found[0].title
    assert len(found) <= 5


def test_a_section_is_a_topic() -> None:
    found = guide.find("Commands")
    assert {entry.section for entry in found} == {"commands"}
    assert len(found) == sum(entry.section == "commands" for entry in guide.entries())


def answer(id_: str) -> str:
    return next(entry.answer for entry in guide.entries() if entry.id == id_)


def test_it_names_every_subcommand_table_and_exit_code() -> None:
    assert [name for name in SUBCOMMANDS if f"`{name}`" not in answer("subcommands")] == []
    tables = {setting.table for setting in SETTINGS} | {"keys"}
    assert [table for table in tables if f"`[{table}]`" not in answer("settings-tables")] == []
    assert {int(code) for code in re.findall(r"\d+", answer("exit-codes"))} == {code.value for code in Exit}


def test_nonsense_finds_nothing() -> None:
    assert guide.find("zxqwv plinth") == []


def test_plain_and_rich_say_the_same() -> None:
    plain, rich = io.StringIO(), io.StringIO()
    assert guide.show("", plain, color=False, width=80)
    assert guide.show("", rich, color=True, width=80)
    for entry in guide.entries():
        assert entry.answer in plain.getvalue()
        assert entry.title in rich.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert max(map(len, rich.getvalue().splitlines())) <= 80
    assert "`" not in rich.getvalue()


def test_code_spans() -> None:
    assert guide.code_spans("Press `a` or `b`.") == [
        ("Press ", ""), ("a", "cyan"), (" or ", ""), ("b", "cyan"), (".", ""),
    ]  # fmt: skip
