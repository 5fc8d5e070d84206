"""Tasks with numbers: sums and differences up to 99, counting, comparing, sorting."""

from __future__ import annotations

import random
import re

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.phrasing import phrase, plain
from pocket.corpus.words import check_list, draw_words, list_turn, listings, reverse_it, sort_it

LARGEST = 99  # of the numbers people are told they may use
FEW_COUNTED = 6  # steps from the first number to the last of many counts, so that short canvases hold them
MOST_COUNTED = 12  # of any: a canvas holds them
LARGEST_COUNTED = 100
LARGEST_CARRIED_ON = 120  # of the results that a follow-up goes on from
SIGNS = {"sum": "+", "difference": "-"}

SUM = (
    "What is {a} plus {b}?",
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a}+{b}",
    "{a} + {b} = ?",
    "{a} plus {b}",
    "Add {a} and {b}.",
    "Add {b} to {a}.",
    "What's {a}+{b}?",
    "How much is {a} plus {b}?",
    "How much is {a} + {b}?",
    "Please add {a} and {b}.",
    "Can you add {a} and {b}?",
    "What is the sum of {a} and {b}?",
)
DIFFERENCE = (
    "What is {a} minus {b}?",
    "What is {a} - {b}?",
    "{a} - {b}",
    "{a}-{b}",
    "{a} - {b} = ?",
    "{a} minus {b}",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "What's {a}-{b}?",
    "How much is {a} minus {b}?",
    "How much is {a} - {b}?",
    "Please subtract {b} from {a}.",
    "Can you subtract {b} from {a}?",
)
THEN = {
    "sum": ("And plus {d}?", "Now add {d}.", "Add {d} to that.", "plus {d}", "And {d} more?", "Add {d}."),
    "difference": ("And minus {d}?", "Now subtract {d}.", "Take away {d}.", "minus {d}", "Now take away {d}."),
}
COUNT = (
    "Count from {start} to {end}.",
    "Count {way} from {start} to {end}.",
    "Please count from {start} to {end}.",
    "Can you count from {start} to {end}?",
    "Count {way} from {start} to {end}, please.",
    "Count {start} to {end}.",
)
COUNT_WAYS = {"up": ("up", "up", "upwards"), "down": ("down", "down", "backwards")}
COUNT_TO = ("Count to {end}.", "Count up to {end}.", "Please count to {end}.", "Can you count to {end}?")  # from 1
COUNT_DOWN = ("Count down from {start}.", "Count backwards from {start}.", "Please count down from {start}.")  # to 1
COUNT_ITEMS = (
    "How many words are there in: {list}?",
    "How many words are in this list: {list}?",
    "Count the words: {list}.",
    "How many words is that: {list}?",
    "How many words are there? {list}",
    "{lines}\n\nHow many words are there?",
    "Count these words: {list}.",
)
COMPARE = (
    "Which is {way}, {a} or {b}?",
    "Which number is {way}, {a} or {b}?",
    "What is {way}, {a} or {b}?",
    "Which one is {way}: {a} or {b}?",
    "{a} or {b}, which is {way}?",
)
SORT_NUMBERS = (
    "Sort these numbers: {list}.",
    "Sort the numbers {list}.",
    "Sort: {list}.",
    "Sort {list}.",
    "Put these numbers in order: {list}.",
    "Please sort these numbers: {list}.",
    "Can you sort these numbers? {list}",
    "Sort these numbers from small to large: {list}.",
    "{list}\n\nSort these numbers.",
    "{lines}\n\nSort these numbers.",
)
REVERSE_NUMBERS = (
    "Reverse these numbers: {list}.",
    "Reverse: {list}.",
    "Reverse this list: {list}.",
    "Write these numbers backwards: {list}.",
    "Please reverse these numbers: {list}.",
    "Turn this list around: {list}.",
)
NUMBER_WORDS = "zero one two three four five six seven eight nine ten".split()


def arithmetic_turn(op: str, prompt: str, a: int, b: int) -> Turn:
    """The turn for a + b or a - b; its facts are enough for another one to go on from the result."""
    result = a + b if op == "sum" else a - b
    return Turn(op, prompt, f"{a} {SIGNS[op]} {b} = {result}.", {"op": op, "a": a, "b": b, "result": result})


def pair_is_held_out(op: str, a: int, b: int) -> bool:
    """Whether a calculation is kept from training; 3 + 5 and 5 + 3 are one and the same."""
    return is_held_out(op, *sorted((a, b))) if op == "sum" else is_held_out(op, a, b)


def draw_operands(rng: random.Random, op: str, held_out: bool) -> tuple[int, int]:
    """Two numbers up to `LARGEST`, in a third of the draws both below 20; for differences the larger first."""
    top = 19 if rng.random() < 1 / 3 else LARGEST
    while True:
        a, b = rng.randint(0, top), rng.randint(0, top)
        if op == "difference" and a < b:
            a, b = b, a
        if pair_is_held_out(op, a, b) == held_out:
            return a, b


def sample_sum(rng: random.Random, held_out: bool) -> Turn:
    a, b = draw_operands(rng, "sum", held_out)
    prompt = phrase(rng, SUM, a=a, b=b)
    return arithmetic_turn("sum", prompt, a, b)


def sample_difference(rng: random.Random, held_out: bool) -> Turn:
    a, b = draw_operands(rng, "difference", held_out)
    return arithmetic_turn("difference", phrase(rng, DIFFERENCE, a=a, b=b), a, b)


def carry_on(rng: random.Random, turn: Turn, held_out: bool) -> Turn | None:
    """Add to the result of the turn before, or take away from it; None where that result is too large."""
    start = turn.facts["result"]
    if start > LARGEST_CARRIED_ON:
        return None
    for _ in range(100):
        op = rng.choice(("sum", "difference"))
        step = rng.randint(1, 20)
        if op == "difference" and step > start:
            continue
        if pair_is_held_out(op, start, step) == held_out:
            return arithmetic_turn(op, phrase(rng, THEN[op], d=step), start, step)
    return None


def check_arithmetic(turn: Turn, text: str) -> str | None:
    """Whether the text gives the result, alone or in the equation that was asked for."""
    a, b, result = turn.facts["a"], turn.facts["b"], turn.facts["result"]
    said = plain(text).lower().removesuffix(".")
    alone = re.fullmatch(r"(?:the answer is |it is |that is |that makes |it's |that's )?(\d+)", said)
    if alone:
        return None if int(alone[1]) == result else "wrong result"
    equation = re.fullmatch(r"(\d+) ?(\+|-|plus|minus|and) ?(\d+) ?(?:=|is|makes|equals) ?(\d+)", said)
    if not equation:
        return "not an equation"
    op = "difference" if equation[2] in ("-", "minus") else "sum"
    first, second = int(equation[1]), int(equation[3])
    swapped = op == "sum" and (first, second) == (b, a)
    if op != turn.facts["op"] or not ((first, second) == (a, b) or swapped):
        return "another calculation"
    return None if int(equation[4]) == result else "wrong result"


def _draw_count(rng: random.Random) -> tuple[int, int]:
    """The ends of a count, lower first: what people ask for first begins at 1, but any number may be met on the way."""
    form = rng.random()
    most = MOST_COUNTED
    if form < 0.3:
        low = rng.choice((0, 1, 1, 1, 2))
    elif form < 0.5:
        low = rng.randint(3, 15)  # where the numbers become longer
    else:
        low = rng.randint(0, LARGEST_COUNTED - 1)
        most = rng.choice((FEW_COUNTED, MOST_COUNTED))
    return low, rng.randint(low + 1, min(low + most, LARGEST_COUNTED))


def count_prompt(rng: random.Random, start: int, end: int) -> str:
    """A prompt for a count between two ends; one that may be left unsaid, because it is 1, at times is."""
    way = "up" if start < end else "down"
    if way == "up" and start == 1 and rng.random() < 0.5:
        said = NUMBER_WORDS[end] if end < len(NUMBER_WORDS) and rng.random() < 0.3 else end
        return phrase(rng, COUNT_TO, end=said)
    if way == "down" and end == 1 and rng.random() < 0.5:
        said = NUMBER_WORDS[start] if start < len(NUMBER_WORDS) and rng.random() < 0.3 else start
        return phrase(rng, COUNT_DOWN, start=said)
    return phrase(rng, COUNT, start=start, end=end, way=rng.choice(COUNT_WAYS[way]))


def sample_count(rng: random.Random, held_out: bool) -> Turn:
    while True:
        low, high = _draw_count(rng)
        start, end = (low, high) if rng.random() < 0.5 else (high, low)
        if is_held_out("count", start, end) == held_out:
            break
    numbers = list(range(start, end + 1)) if start < end else list(range(start, end - 1, -1))
    return list_turn("count", count_prompt(rng, start, end), numbers)


def sample_count_items(rng: random.Random, held_out: bool) -> Turn:
    words = draw_words(rng, held_out, 2, 8)
    prompt = phrase(rng, COUNT_ITEMS, **listings(rng, words))
    return Turn("count_items", prompt, f"There are {len(words)} words.", {"expected": len(words)})


def check_count_items(turn: Turn, text: str) -> str | None:
    """Whether the one number in the text, in digits or as a word, is the number of items."""
    tokens = re.findall(r"[a-z]+|\d+", text.lower())
    numbers = [int(token) for token in tokens if token.isdigit()]
    numbers += [NUMBER_WORDS.index(token) for token in tokens if token in NUMBER_WORDS]
    if len(numbers) != 1:
        return "not one number"
    if numbers[0] != turn.facts["expected"]:
        return "wrong number"
    return None if len(tokens) <= 8 else "too long"


def sample_compare(rng: random.Random, held_out: bool) -> Turn:
    while True:
        a, b = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
        if a != b and is_held_out("compare", *sorted((a, b))) == held_out:
            break
    way = rng.choice(("larger", "smaller"))
    chosen, other = (max(a, b), min(a, b)) if way == "larger" else (min(a, b), max(a, b))
    asked = rng.choice(("larger", "larger", "bigger")) if way == "larger" else way
    prompt = phrase(rng, COMPARE, way=asked, a=a, b=b)
    return Turn("compare", prompt, f"{chosen} is {way} than {other}.", {"way": way, "chosen": chosen, "other": other})


def check_compare(turn: Turn, text: str) -> str | None:
    """Whether the text names the right number, with or without the comparison in words."""
    way = r"(?:larger|bigger|greater)" if turn.facts["way"] == "larger" else r"(?:smaller|less)"
    said = plain(text).lower().removesuffix(".")
    found = re.fullmatch(rf"(\d+)(?: is (?:the )?{way}(?: one| number)?(?: than (\d+))?)?", said)
    if not found:
        return "not a comparison of the kind asked for"
    if int(found[1]) != turn.facts["chosen"]:
        return "wrong number"
    return None if found[2] is None or int(found[2]) == turn.facts["other"] else "compares with another number"


def draw_numbers(rng: random.Random, held_out: bool) -> list[int]:
    """Three to six different numbers, up to 20 or `LARGEST`; their set is held out or not, as asked."""
    while True:
        largest = 20 if rng.random() < 0.4 else LARGEST
        numbers = rng.sample(range(largest + 1), rng.randint(3, 6))
        if is_held_out("numbers", *sorted(numbers)) == held_out:
            return numbers


def sample_sort_numbers(rng: random.Random, held_out: bool) -> Turn:
    numbers = draw_numbers(rng, held_out)
    return list_turn("sort_numbers", phrase(rng, SORT_NUMBERS, **listings(rng, numbers)), sorted(numbers))


def sample_reverse_numbers(rng: random.Random, held_out: bool) -> Turn:
    numbers = draw_numbers(rng, held_out)
    return list_turn("reverse_numbers", phrase(rng, REVERSE_NUMBERS, **listings(rng, numbers)), numbers[::-1])


TASKS: list[Task] = [
    Task("sum", 18, sample_sum, check_arithmetic, carry_on),
    Task("difference", 14, sample_difference, check_arithmetic, carry_on),
    Task("count", 12, sample_count, check_list, reverse_it("reverse_numbers")),
    Task("count_items", 4, sample_count_items, check_count_items),
    Task("compare", 4, sample_compare, check_compare),
    Task("sort_numbers", 10, sample_sort_numbers, check_list, reverse_it("reverse_numbers")),
    Task("reverse_numbers", 5, sample_reverse_numbers, check_list, sort_it("sort_numbers")),
]
