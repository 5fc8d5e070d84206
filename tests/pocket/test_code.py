"""Small functions: right ones pass however they are written, wrong and forbidden ones do not."""

from __future__ import annotations

import random
import re

import pytest

from pocket.corpus.base import Turn, is_held_out
from pocket.corpus.code import BY_NAME, KINDS, REQUEST, TASKS, Kind, code_turn, fenced, filled
from pocket.corpus.running import Refused, parse_restricted, run_function

CODE = TASKS[0]
# Pairs of kinds whose functions do the same on the inputs of the first one.
SAME = {("multiply_by_N", "repeat_N"), ("repeat_N", "multiply_by_N")}


def turn_of(kind: str, number: int = 0, ask: str = "code") -> Turn:
    return code_turn(BY_NAME[kind], number, ask, "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_own_answers_are_right(kind: Kind) -> None:
    for ask in ("code", "explain", "use"):
        for number in (2, 7, 50, 97, 99) if kind.has_number else (0,):
            if ask == "use" and not kind.example:
                continue
            turn = turn_of(kind.name, number, ask)
            assert CODE.check(turn, turn.answer) is None, turn
            assert not re.search(r"(?<![A-Za-z])N(?![A-Za-z])", turn.answer)


@pytest.mark.parametrize("held_out", [False, True])
def test_samples_and_follow_ups_are_right(held_out: bool) -> None:
    rng = random.Random(1)
    assert CODE.follow_up is not None
    for _ in range(300):
        turn = CODE.sample(rng, held_out)
        then = CODE.follow_up(rng, turn, held_out)
        assert then is not None
        assert CODE.check(turn, turn.answer) is None and CODE.check(then, then.answer) is None
        assert CODE.check(turn, then.answer) is not None and CODE.check(then, turn.answer) is not None
        if turn.facts["number"]:
            assert is_held_out("code", turn.facts["kind"], turn.facts["number"]) is held_out


def test_every_kind_is_in_training() -> None:
    for kind in KINDS:
        if not kind.has_number:
            assert any(not is_held_out("code", kind.name, w, t) for w in kind.wishes for t in REQUEST)


def test_functions_of_other_kinds_and_numbers_are_wrong() -> None:
    answers = {kind.name: turn_of(kind.name, 12).answer for kind in KINDS}
    for kind in KINDS:
        for other, answer in answers.items():
            right = CODE.check(turn_of(kind.name, 12), answer) is None
            assert right is (other == kind.name or (kind.name, other) in SAME), (kind.name, other)
        if kind.has_number:
            assert CODE.check(turn_of(kind.name, 13), answers[kind.name]) is not None


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return 7 + x",
        "def plus(number):\n    result = number\n    result += 7\n    return result",
        "def one(n):\n    return n + 1\n\ndef f(n):\n    for i in range(7):\n        n = one(n)\n    return n",
    ],
)
def test_another_way_of_writing_it_is_right(code: str) -> None:
    assert CODE.check(turn_of("add_N", 7), f"Here it is:\n{fenced(code)}") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(n):\n    return n + 7", "not one fenced block"),
        (fenced("def f(n):\n    return n + 7") * 2, "not one fenced block"),
        (fenced("def f(n)\n    return n + 7"), "does not parse"),
        (fenced("def f(n):\n    return n + 8"), "wrong results"),
        (fenced("def f(n):\n    return str(n + 7)"), "wrong results"),
        (fenced("def f():\n    return 7"), "fails with TypeError"),
        (fenced("import os\ndef f(n):\n    return n + 7"), "contains Import"),
        (fenced("def f(n):\n    while True:\n        n = n"), "contains While"),
        (fenced("def f(n):\n    return f(n)"), "fails with RecursionError"),
        (
            fenced("def f(n):\n    for x in range(1000):\n        for y in range(1000):\n            n = 1"),
            "runs for too long",
        ),
        (fenced("def f(n):\n    return n.__class__"), "uses an unknown attribute"),
        (fenced("def f(n):\n    return __import__('os')"), "uses a private name"),
        (fenced("def f(n):\n    return open('x')"), "fails with NameError"),
        (fenced("def f(n):\n    return 9 ** n ** 9"), "uses a power that is not a small constant"),
        (fenced("def f(n):\n    return n * 1000000"), "uses a large constant"),
        (fenced("print(7)"), "is not a function"),
        (
            fenced("def f(n):\n    x = 'a'\n    for i in range(90):\n        x = x + x\n    return n"),
            "runs for too long",
        ),
    ],
)
def test_wrong_or_forbidden_code_is_told(text: str, reason: str) -> None:
    assert CODE.check(turn_of("add_N", 7), text) == reason


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("print(add_7(10))  # 17", True),
        ("print(add_7(1)) # 8", True),
        ("print(add_7(10))  # 18", False),
        ("print(add_8(10))  # 18", False),
        ("add_7(10)", False),
    ],
)
def test_check_of_a_call(code: str, right: bool) -> None:
    assert (CODE.check(turn_of("add_N", 7, "use"), fenced(code)) is None) is right


def test_any_greeting_by_name_is_right() -> None:
    turn = turn_of("greet")
    assert CODE.check(turn, fenced('def hi(who):\n    return f"Hi {who}!"')) is None
    assert CODE.check(turn, fenced('def hi(who):\n    return "Hello!"')) == "wrong results"
    assert CODE.check(turn, fenced("def hi(who):\n    return who * 2")) == "wrong results"


def test_explanation_names_the_number() -> None:
    turn = turn_of("add_N", 7, "explain")
    assert turn.answer == "It takes a number n and returns n plus 7."
    assert CODE.check(turn, "it takes a number n and returns n plus 7") is None
    assert CODE.check(turn, "It takes a number n and returns n plus 8.") is not None


def test_filled_leaves_other_words_alone() -> None:
    assert filled("def add_N(n):\n    return None if n else N", 5) == "def add_5(n):\n    return None if n else 5"


def test_arguments_are_not_changed_by_the_function() -> None:
    numbers = [3, 1, 2]
    assert run_function("def f(x):\n    x.sort()\n    return x", [(numbers,)]) == [[1, 2, 3]]
    assert numbers == [3, 1, 2]


def test_parse_restricted_refuses_classes() -> None:
    with pytest.raises(Refused, match="ClassDef"):
        parse_restricted("class A:\n    pass")
