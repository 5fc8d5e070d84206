"""What to say where nothing is known: the prompt is off the map, and here is what is on it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from pocket.corpus import code, unknown
from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.numbers import COUNT, COUNT_DOWN, COUNT_TO, COUNT_WAYS, MOST_COUNTED
from pocket.corpus.phrasing import careless
from pocket.corpus.words import REVERSE, SORT, WORDS, listings
from pocket.corpus.world import BEINGS, THING_FACTS, with_article

# One answer for each way of being off the map, so that the prompt settles the answer.
ANSWERS = {
    "fact": "That is off my map. I am pocket, a small model made for dgchat: I know stories, sums, sorting, small "
    "Python functions and dgchat itself.",
    "advice": "I cannot help with that. I am pocket, the small model inside dgchat: ask me for a story, a sum, a "
    "sorted list or about dgchat.",
    "big": "That is too big for me. I am pocket, a small built-in model: I can tell short stories, add and subtract, "
    "sort words and explain dgchat.",
    "number": "That is too hard for me. I can add and subtract numbers up to 99. I can also sort lists and tell "
    "stories.",
    "word": "I do not know all of these words. I am pocket, a small model: my stories and facts are about a few "
    "animals, people and things.",
    "noise": "I do not understand that. I am pocket, a small model: ask me for a story, a sum, a sorted list or about "
    "dgchat.",
    "foreign": "I only know some English. I am pocket, a small model: I can tell stories, do sums, sort words and "
    "talk about dgchat.",
}
OUTSIDE = re.compile(
    r"off my map|not on my map|do(?: not|n't) (?:know|understand)|can(?:not|'t) help|too (?:big|hard) for me|only know"
)
ABILITIES = (
    r"\bstor(?:y|ies)\b",
    r"\bsums?\b|\badd\b",
    r"\bsort",
    r"\bpython\b|\bfunctions?\b",
    r"\bdgchat\b(?! itself is)",
    r"\banimals?\b",
)
WORLD = tuple(BEINGS) + tuple(THING_FACTS)

Prompt = tuple[str, tuple[object, ...]]  # a prompt and the combination that decides whether it is held out


def _pick(rng: random.Random, topics: tuple[str, ...], templates: tuple[str, ...]) -> Prompt:
    """A topic in a template; the topic decides whether the prompt is held out."""
    topic, template = rng.choice(topics), rng.choice(templates)
    return template.format(topic), (topic if "{" in template else template,)


def _fact(rng: random.Random) -> Prompt:
    form = rng.random()
    if form < 0.5:
        return _pick(rng, unknown.TOPICS, unknown.ABOUT)
    if form < 0.65:
        return _pick(rng, unknown.COUNTRIES, unknown.OF_COUNTRY)
    if form < 0.8:
        return _pick(rng, unknown.PERSONS, unknown.OF_PERSON)
    return _pick(rng, unknown.QUESTIONS, ("{}",))


def _advice(rng: random.Random) -> Prompt:
    form = rng.random()
    if form < 0.5:
        return _pick(rng, unknown.ADVICE, ("{}",))
    return _pick(rng, unknown.DISHES, unknown.COOK) if form < 0.8 else _pick(rng, WORDS, unknown.LETTER_GAMES)


def _big(rng: random.Random) -> Prompt:
    form = rng.random()
    if form < 0.5:
        return _pick(rng, unknown.SUBJECTS, unknown.BIG)
    if form < 0.68:
        return _pick(rng, unknown.PROGRAMS, unknown.PROGRAM)
    if form < 0.8:
        wish = rng.choice(unknown.WISHES)
        return rng.choice(code.REQUEST).format(wish=wish), (wish,)
    return _pick(rng, unknown.TEXTS, unknown.WITH_TEXT)


TIMES = ("What is {} times {}?", "{} * {}", "{} x {}", "Multiply {} by {}.", "How much is {} times {}?", "{}*{}")
DIVIDED = ("What is {} divided by {}?", "{} / {}", "Divide {} by {}.", "How much is {} divided by {}?", "{}/{}")
LARGE = ("What is {} plus {}?", "{} + {}", "Add {} and {}.", "What is {} minus {}?", "{} - {}", "How much is {} + {}?")
BELOW_ZERO = ("What is {} minus {}?", "{} - {}", "{}-{}", "How much is {} minus {}?")
SINGLE = (
    "What is the square root of {}?",
    "What is {} percent of {}?",
    "Is {} a prime number?",
    "What is {} to the power of {}?",
    "Solve x + {} = {}.",
    "Convert {} miles to kilometres.",
    "Reverse the number {}.",
)
FAR_IN_WORDS = "twenty thirty forty fifty hundred thousand million".split()


def _number(rng: random.Random) -> Prompt:
    """A calculation of a kind, or with numbers, beyond what the tasks on numbers teach."""
    form = rng.choice((0, 1, 2, 3, 3, 3, 4, 5, 5))
    templates: tuple[str, ...]
    if form == 0:
        templates, a, b = TIMES, rng.randint(2, 400), rng.randint(2, 99)
    elif form == 1:
        templates, a, b = DIVIDED, rng.randint(2, 999), rng.randint(2, 99)
    elif form == 2:
        templates, a, b = LARGE, rng.randint(200, 99_999), rng.randint(100, 9_999)
    elif form == 3:
        a, b = sorted(rng.sample(range(rng.choice((10, 10, 20, 100))), 2))
        templates = BELOW_ZERO
    elif form == 4:
        templates, a, b = SINGLE, rng.randint(2, 999), rng.randint(2, 999)
    else:
        return _far(rng)
    return rng.choice(templates).format(a, b), (a, b)


def _far(rng: random.Random) -> Prompt:
    """A count of more numbers than are taught."""
    low = 1 if rng.random() < 0.5 else rng.randint(0, 60)
    high = low + (rng.randint(MOST_COUNTED + 2, 60) if rng.random() < 0.7 else rng.randint(60, 900))
    if low == 1 and rng.random() < 0.6:
        said = high if rng.random() < 0.8 else rng.choice(FAR_IN_WORDS)
        return rng.choice((*COUNT_TO, *COUNT_DOWN)).format(start=said, end=said), (low, said)
    start, end, way = (low, high, "up") if rng.random() < 0.6 else (high, low, "down")
    return rng.choice(COUNT).format(start=start, end=end, way=rng.choice(COUNT_WAYS[way])), (start, end)


def _word(rng: random.Random) -> Prompt:
    """A question, a story or a list with something outside the small world, perhaps beside something inside."""
    if rng.random() < 0.35:
        return _list(rng)
    stranger = rng.choice(unknown.STRANGERS)
    form = rng.random()
    if form < 0.5:
        prompt = rng.choice(unknown.OF_STRANGER).format(a=with_article(stranger), w=stranger)
        return prompt, (stranger,)
    topic = with_article(stranger)
    if form < 0.7:
        topic += " and " + with_article(rng.choice(unknown.STRANGERS))
    elif form < 0.85:
        pair = [stranger, rng.choice(WORLD)]
        rng.shuffle(pair)
        topic = " and ".join(map(with_article, pair))
    return rng.choice(unknown.STORY_OF).format(topic), (stranger,)


def _list(rng: random.Random) -> Prompt:
    """Words to sort or to turn round, some of which are in no list that is learned."""
    count = rng.randint(2, 6)
    strange = rng.sample(unknown.UNLISTED, rng.randint(1, count))
    listed = [*strange, *rng.sample(WORDS, count - len(strange))]
    rng.shuffle(listed)
    template = rng.choice((*SORT, *REVERSE))
    return template.format(**listings(rng, listed)), (strange[0],)


def _syllables(rng: random.Random) -> str:
    letters = rng.choice(("asdfghjkl", "qwertzuiop", "bcdfgklmnprst", "abcdefghijklmnopqrstuvwxyz"))
    return "".join(rng.choices(letters, k=rng.randint(2, 9)))


def _noise(rng: random.Random) -> Prompt:
    """Letters at random, words at random, or nothing but marks."""
    form = rng.random()
    if form < 0.45:
        prompt = " ".join(_syllables(rng) for _ in range(rng.randint(1, 5)))
    elif form < 0.9:
        prompt = " ".join(rng.sample(unknown.SALAD, rng.randint(2, 7)))
    else:
        prompt = rng.choice("?.!-_#,;") * rng.randint(1, 6)
    return prompt, (prompt,)


def _foreign(rng: random.Random) -> Prompt:
    word, template = rng.choice(unknown.FOREIGN_WORDS), rng.choice(unknown.FOREIGN)
    prompt = template.format(word)
    return prompt, (prompt,)


KINDS: tuple[tuple[str, Callable[[random.Random], Prompt]], ...] = (
    ("fact", _fact),
    ("advice", _advice),
    ("big", _big),
    ("number", _number),
    ("word", _word),
    ("noise", _noise),
    ("foreign", _foreign),
)
SHARES = (30, 10, 14, 12, 20, 8, 6)


def sample_offmap(rng: random.Random, held_out: bool) -> Turn:
    """Held out are topics, strange words and calculations."""
    while True:
        ((kind, make),) = rng.choices(KINDS, SHARES)
        prompt, combination = make(rng)
        if is_held_out("off map", *combination) == held_out:
            return Turn("offmap", careless(rng, prompt) or prompt, ANSWERS[kind], {"kind": kind})


def check_offmap(turn: Turn, text: str) -> str | None:
    """Whether the text says that the prompt is beyond the model, and names two things that it can do."""
    said = text.lower()
    if not OUTSIDE.search(said):
        return "does not say that it does not know"
    if sum(bool(re.search(ability, said)) for ability in ABILITIES) < 2:
        return "names fewer than two things that it can do"
    return None if len(said.split()) <= 50 else "too long"


OFFMAP_TASK = Task("offmap", 10, sample_offmap, check_offmap)
