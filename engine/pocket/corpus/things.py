"""Short questions about the small world: animals, people, things, and lists of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.lists import LIST_TASK
from pocket.corpus.phrasing import careless
from pocket.corpus.story_check import check_form, words_of
from pocket.corpus.world import (
    ANIMAL_FACTS,
    ANIMALS,
    PEOPLE,
    PERSON_FACTS,
    THING_FACTS,
    capitalized,
    with_article,
)

# Prompts by the fact that they ask for; {a} is the word with its article, {w} the word, {s} its plural.
ANIMAL_PROMPTS = {
    "all": (
        "What is {a}?",
        "Tell me about {s}.",
        "Describe {a}.",
        "What do you know about {s}?",
        "What are {s}?",
    ),
    "food": ("What does {a} eat?", "What do {s} eat?", "What do {s} like to eat?", "What does the {w} eat?"),
    "lives": ("Where does {a} live?", "Where do {s} live?", "Where does the {w} live?"),
    "voice": ("What sound does {a} make?", "What sound do {s} make?", "What does {a} sound like?"),
    "look": ("What does {a} look like?", "What is special about {a}?", "What do {s} look like?"),
}
THING_PROMPTS = {
    "use": (
        "What is {a} for?",
        "What is {a} used for?",
        "What do you do with {a}?",
        "Why do people have {a}?",
    ),
    "made": ("What is {a} made of?", "What are {s} made of?"),
    "all": ("What is {a}?", "Describe {a}.", "Tell me about {s}.", "Tell me about {a}."),
}
PERSON_PROMPTS = {
    "does": ("What does {a} do?", "What do {s} do?", "What is the work of {a}?"),
    "works": ("Where does {a} work?", "Where do {s} work?"),
    "all": ("Tell me about {s}.", "What is {a}?", "Tell me about the work of {a}."),
}
FOLLOW_PROMPTS = {
    "food": ("What does it eat?", "And what does it eat?", "What do they eat?"),
    "lives": ("Where does it live?", "And where does it live?", "Where do they live?"),
    "voice": ("What sound does it make?", "And what sound does it make?"),
    "look": ("What does it look like?", "And what does it look like?"),
    "use": ("What is it for?", "And what is it for?", "What is it used for?"),
    "made": ("What is it made of?", "And what is it made of?"),
    "does": ("What does a {w} do?", "And what does a {w} do?"),
    "works": ("And where does a {w} work?", "Where does the {w} work?"),
}
TEMPLATES = {
    "food": ("{A} eats {food}.",),
    "lives": ("{A} lives {lives}.",),
    "voice": ("{A} {voice}.",),
    "look": ("{A} {look}.",),
    "animal": (
        "{A} {look}. It lives {lives} and eats {food}.",
        "{A} {look}. It eats {food} and lives {lives}.",
    ),
    "use": ("{A} is for {use}.",),
    "made": ("{A} is made of {made}.",),
    "thing": ("{A} is made of {made}. It is for {use}.",),
    "does": ("{A} {does}.",),
    "works": ("{A} works {works}.",),
    "person": ("{A} {does} and works {works}.",),
}
FIELDS = {"animal": ("look", "food", "lives", "voice"), "thing": ("use", "made"), "person": ("does", "works")}
FORM_TEXT = (
    "a an and as at by can eat eats for from has have in is it its like likes live lives made make "
    "makes many of on or out own people sound that the their them they thing things this to up used "
    "very with you your are do does work works who animal person"
)
FORM_WORDS = frozenset(FORM_TEXT.split())  # words that say nothing of a subject
LONGEST = 30


def _facts(kind: str) -> dict[str, dict[str, str]]:
    source: dict[str, Mapping[str, object]] = {
        "animal": ANIMAL_FACTS,
        "thing": THING_FACTS,
        "person": PERSON_FACTS,
    }
    return {word: {name: getattr(fact, name) for name in FIELDS[kind]} for word, fact in source[kind].items()}


FACTS = {kind: _facts(kind) for kind in FIELDS}


def plural_of(word: str) -> str:
    """The plural of an animal, a person or a thing of the world."""
    being = ANIMALS.get(word) or PEOPLE.get(word)
    if being is not None:
        return being.plural
    if word == "scarf":
        return "scarves"
    return word + ("es" if word.endswith("ss") else "s")


def _key_words(text: str) -> frozenset[str]:
    return frozenset(words_of(text)) - FORM_WORDS


def _fields_of(kind: str, topic: str) -> tuple[str, ...]:
    """The facts that an answer needs: the one asked for, or for "all" those of the template."""
    if topic != "all":
        return (topic,)
    return ("look", "food", "lives") if kind == "animal" else FIELDS[kind]


def _answer(rng: random.Random, kind: str, word: str, topic: str) -> str:
    template = rng.choice(TEMPLATES[kind if topic == "all" else topic])
    return template.format(A=capitalized(with_article(word)), **FACTS[kind][word])


def _turn(rng: random.Random, kind: str, word: str, topic: str, prompt: str) -> Turn:
    prompt = prompt.format(a=with_article(word), w=word, s=plural_of(word))
    return Turn(kind, careless(rng, prompt), _answer(rng, kind, word, topic), {"word": word, "topic": topic})


def _combinations(kind: str, prompts: Mapping[str, Iterable[str]], held_out: bool) -> list[tuple[str, str, str]]:
    """(word, topic, prompt) of all questions that are, or are not, kept from training."""
    every = [(word, topic, prompt) for word in FACTS[kind] for topic, forms in prompts.items() for prompt in forms]
    return [c for c in every if is_held_out(kind, *c) is held_out]


def _sampler(kind: str, prompts: Mapping[str, Iterable[str]]) -> Callable[[random.Random, bool], Turn]:
    questions = {held_out: _combinations(kind, prompts, held_out) for held_out in (False, True)}

    def sample(rng: random.Random, held_out: bool) -> Turn:
        word, topic, prompt = rng.choice(questions[held_out])
        return _turn(rng, kind, word, topic, prompt)

    return sample


def follow_up(rng: random.Random, turn: Turn, held_out: bool) -> Turn | None:
    """A question about another fact of what was just spoken of ("What does it eat?")."""
    del held_out  # what was spoken of already is a held-out question or not
    word, before = turn.facts["word"], turn.facts["topic"]
    topic = rng.choice([field for field in FIELDS[turn.task] if field != before])
    return _turn(rng, turn.task, word, topic, rng.choice(FOLLOW_PROMPTS[topic]))


def check(turn: Turn, text: str) -> str | None:
    """Whether the text gives the facts asked for, of the right subject, and no facts of another one."""
    text, kind, word = text.strip(), turn.task, turn.facts["word"]
    words, fields = words_of(text), _fields_of(turn.task, turn.facts["topic"])
    if len(words) > LONGEST:
        return f"{len(words)} words"
    if not {word, plural_of(word), "it", "they"} & set(words):
        return f"does not speak of {word}"
    own = FACTS[kind][word]
    for field in fields:
        if missing := _key_words(own[field]) - set(words):
            return f"missing of {field}: {', '.join(sorted(missing))}"
    return check_form(text) or _check_words(kind, word, words)


def _check_words(kind: str, word: str, words: list[str]) -> str | None:
    """Whether each word is one of form, or of what is true of the subject."""
    own = frozenset().union(*(_key_words(fact) for fact in FACTS[kind][word].values()))
    allowed = own | FORM_WORDS | {word, plural_of(word)}
    strange = [w for w in words if w not in allowed]
    return f"not about {word}: {strange[0]}" if strange else None


TASKS: list[Task] = [
    Task("animal", 12.0, _sampler("animal", ANIMAL_PROMPTS), check, follow_up),
    Task("thing", 8.0, _sampler("thing", THING_PROMPTS), check, follow_up),
    Task("person", 3.0, _sampler("person", PERSON_PROMPTS), check, follow_up),
    LIST_TASK,
]
