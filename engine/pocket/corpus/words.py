"""Tasks on short lists of words: sorting, turning round, picking one, first letters."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.phrasing import phrase, plain

ANIMALS = (
    "fox owl bear rabbit cat dog mouse frog duck hedgehog squirrel turtle wolf deer goat sparrow badger otter "
    "crow hen horse cow sheep pig ant bee bird fish lion tiger snake goose"
).split()
FRUITS = "apple pear plum cherry lemon orange grape melon peach banana fig lime kiwi mango berry".split()
OBJECTS = (
    "lantern kite boat map bell key book drum ladder basket mirror ribbon whistle compass blanket "
    "table chair cup spoon door window hat shoe coat river tree stone car bus ball bed box cap cake egg fork knife "
    "lamp pen rope star house road flower garden"
).split()
COLOURS = "red blue green yellow black white".split()
WORDS = tuple(ANIMALS + FRUITS + OBJECTS + COLOURS)

SORT = (
    "Sort these words: {list}.",
    "Sort: {list}.",
    "Sort {list}.",
    "Put these words in order: {list}.",
    "Put these words in alphabetical order: {list}.",
    "Please sort these words: {list}.",
    "Can you sort these words? {list}",
    "Sort this list: {list}.",
    "Sort the words {list}.",
    "Sort alphabetically: {list}.",
    "{list}\n\nSort these words.",
    "{lines}\n\nSort these words.",
    "{lines}\n\nSort.",
)
REVERSE = (
    "Reverse this list: {list}.",
    "Reverse: {list}.",
    "Reverse these words: {list}.",
    "Reverse the list {list}.",
    "Turn this list around: {list}.",
    "Write this list backwards: {list}.",
    "Please reverse this list: {list}.",
    "Can you reverse this list? {list}",
    "{lines}\n\nReverse this list.",
)
PICK = (
    "What is the {which} word of: {list}?",
    "What is the {which} word of {list}?",
    "What is the {which} word in this list: {list}?",
    "Which word comes {which}: {list}?",
    "Tell me the {which} word of: {list}.",
    "Give me the {which} word of this list: {list}.",
)
LETTER = (
    "What letter does {word} begin with?",
    "What letter does {word} start with?",
    "Which letter does {word} begin with?",
    "Which letter does the word {word} start with?",
    "What is the first letter of {word}?",
    "What is the first letter of the word {word}?",
    "Tell me the first letter of {word}.",
    "first letter of {word}",
)
THEN_REVERSE = (
    "Now reverse it.",
    "And the other way round?",
    "Now the other way round.",
    "Reverse that.",
    "Now backwards.",
    "Now reverse the list.",
)
THEN_SORT = ("Now sort it.", "Sort it.", "Now sort them.", "And in order?", "Now sort the list.")


def listing(rng: random.Random, items: Sequence[object]) -> str:
    """The items with commas, now and then with "and" before the last one, or with nothing but spaces."""
    texts = [str(item) for item in items]
    form = rng.random()
    if form < 0.08:
        return " ".join(texts)
    if form < 0.25 and len(texts) > 1:
        return ", ".join(texts[:-1]) + " and " + texts[-1]
    return ", ".join(texts)


def listings(rng: random.Random, items: Sequence[object]) -> dict[str, str]:
    """The slots of a template with a list: `list` in a line, `lines` one item a line, as a file that is piped in."""
    return {"list": listing(rng, items), "lines": "\n".join(map(str, items))}


def draw_words(rng: random.Random, held_out: bool, low: int, high: int) -> list[str]:
    """`low` to `high` different words; their set is held out or not, as asked."""
    while True:
        words = rng.sample(WORDS, rng.randint(low, high))
        if is_held_out("words", *sorted(words)) == held_out:
            return words


def items_of(text: str) -> list[str] | None:
    """The items of an answer that is nothing but a list with commas (and perhaps an introduction), in lower case.

    Returns:
        The items; None where the text is no such list.
    """
    body = plain(text).lower().rpartition(":")[2].strip().removesuffix(".")
    items = re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", body)
    return items if all(re.fullmatch(r"[a-z0-9]+", item) for item in items) else None


def check_list(turn: Turn, text: str) -> str | None:
    """Whether the text lists `turn.facts["expected"]`, all of it and in that order."""
    expected = [str(item) for item in turn.facts["expected"]]
    items = items_of(text)
    if items is None:
        return "not a plain list"
    if sorted(items) != sorted(expected):
        return "not the same items"
    return None if items == expected else "wrong order"


def list_turn(task: str, prompt: str, expected: Sequence[object]) -> Turn:
    """A turn whose answer is the list `expected`."""
    return Turn(task, prompt, ", ".join(map(str, expected)) + ".", {"expected": list(expected)})


def sample_sort(rng: random.Random, held_out: bool) -> Turn:
    words = draw_words(rng, held_out, 3, 6)
    return list_turn("sort_words", phrase(rng, SORT, **listings(rng, words)), sorted(words))


def sample_reverse(rng: random.Random, held_out: bool) -> Turn:
    words = draw_words(rng, held_out, 3, 6)
    return list_turn("reverse_words", phrase(rng, REVERSE, **listings(rng, words)), words[::-1])


def reverse_it(task: str) -> Callable[[random.Random, Turn, bool], Turn]:
    """A follow-up that turns the list of the answer before round; the new turn belongs to `task`."""

    def follow_up(rng: random.Random, turn: Turn, held_out: bool) -> Turn:
        return list_turn(task, phrase(rng, THEN_REVERSE), turn.facts["expected"][::-1])

    return follow_up


def sort_it(task: str) -> Callable[[random.Random, Turn, bool], Turn]:
    """A follow-up that sorts the list of the answer before; the new turn belongs to `task`."""

    def follow_up(rng: random.Random, turn: Turn, held_out: bool) -> Turn:
        return list_turn(task, phrase(rng, THEN_SORT), sorted(turn.facts["expected"]))

    return follow_up


def sample_pick(rng: random.Random, held_out: bool) -> Turn:
    words = draw_words(rng, held_out, 3, 6)
    which = rng.choice(("first", "last"))
    word = words[0] if which == "first" else words[-1]
    prompt = phrase(rng, PICK, which=which, **listings(rng, words))
    return Turn("pick_word", prompt, f"The {which} word is {word}.", {"words": words, "which": which, "expected": word})


def check_pick(turn: Turn, text: str) -> str | None:
    """Whether the text names the asked-for word of the list and no other one."""
    named = [word for word in re.findall(r"[a-z]+", text.lower()) if word in turn.facts["words"]]
    if not named:
        return "names no word of the list"
    if set(named) != {turn.facts["expected"]}:
        return "names another word"
    if ("last" if turn.facts["which"] == "first" else "first") in text.lower():
        return "says another place"
    return None if len(text.split()) <= 8 else "too long"


def sample_letter(rng: random.Random, held_out: bool) -> Turn:
    """Held out is the phrasing of the question for a word: a word's spelling must have been seen to be known."""
    while True:
        word, number = rng.choice(WORDS), rng.randrange(len(LETTER))
        if is_held_out("letter", word, number) == held_out:
            break
    prompt = phrase(rng, LETTER[number : number + 1], word=word)
    return Turn("first_letter", prompt, f"{word} begins with {word[0]}.", {"word": word})


def check_letter(turn: Turn, text: str) -> str | None:
    """Whether the only single letter in the text is the word's first one, and no other word is named."""
    word = turn.facts["word"]
    tokens = re.findall(r"[a-z]+", text.lower())
    letters = {token for token in tokens if len(token) == 1}
    if letters != {word[0]}:
        return "not the first letter"
    if any(token in WORDS and token != word for token in tokens):
        return "names another word"
    return None if len(tokens) <= 10 else "too long"


TASKS: list[Task] = [
    Task("sort_words", 14, sample_sort, check_list, reverse_it("reverse_words")),
    Task("reverse_words", 7, sample_reverse, check_list, sort_it("sort_words")),
    Task("pick_word", 2, sample_pick, check_pick),
    Task("first_letter", 2, sample_letter, check_letter),
]
