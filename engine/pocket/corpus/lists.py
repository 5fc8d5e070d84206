"""Lists: "List three animals that live in water." and its like, answered with a markdown list."""

from __future__ import annotations

import random
import re

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.phrasing import careless

# What is asked for, and its members in their order. An answer takes the first ones where the prompt speaks of a list,
# and the last ones where it does not, so that nothing is left to choose: with two choices, both met on the canvas
# ("rope, rope, saw").
GROUPS: dict[str, tuple[str, ...]] = {
    "animals that live in water": ("duck", "fish", "frog", "otter", "turtle"),
    "animals that live in the forest": ("badger", "bear", "deer", "fox", "owl", "squirrel", "wolf"),
    "animals that live on a farm": ("cow", "dog", "goat", "hen", "horse", "pig", "sheep"),
    "animals": ("bear", "cat", "dog", "fox", "horse", "owl", "rabbit"),
    "birds": ("crow", "duck", "hen", "owl", "robin", "sparrow"),
    "things you can carry in a basket": ("apples", "berries", "bread", "flowers", "mushrooms", "nuts", "pears"),
    "fruits": ("apple", "banana", "cherry", "lemon", "orange", "pear", "plum"),
    "vegetables": ("bean", "cabbage", "carrot", "onion", "pumpkin"),
    "colours": ("black", "blue", "green", "orange", "red", "white", "yellow"),
    "tools": ("broom", "ladder", "rope", "saw", "spade"),
    "toys": ("ball", "boat", "doll", "drum", "kite", "whistle"),
    "people who work": ("baker", "doctor", "farmer", "gardener", "sailor", "tailor", "teacher"),
    "trees": ("birch", "elm", "fir", "oak", "pine", "willow"),
    "things in a kitchen": ("cup", "fork", "kettle", "pan", "spoon", "table"),
    "pieces of furniture": ("bed", "bench", "chair", "chest", "shelf", "table"),
    "parts of the body": ("ear", "foot", "hand", "head", "knee", "nose"),
    "kinds of weather": ("fog", "frost", "rain", "snow", "storm", "sun", "wind"),
    "things with wheels": ("bus", "car", "cart", "train", "wagon"),
    "things in a garden": ("bench", "bush", "fence", "flower", "gate", "pond", "tree"),
    "things to eat": ("bread", "butter", "cake", "honey", "jam", "pie", "soup"),
    "places in a village": ("barn", "bridge", "market", "mill", "school", "shop"),
}
ANY_ANIMAL = (
    "badger bear cat cow crab crow deer dog duck eagle fish fox frog goat hedgehog hen horse mole mouse "
    "otter owl pig rabbit robin sheep squirrel swan turtle whale wolf"
)
# Members that are right too, beside those that the corpus names itself.
ALSO_RIGHT = {
    "animals": ANY_ANIMAL,
    "animals that live in water": "crab swan whale",
    "animals that live in the forest": "hedgehog mouse mole robin rabbit crow",
    "animals that live on a farm": "cat duck mouse",
    "birds": "eagle swan",
    "things you can carry in a basket": "apple banana bean carrot cheese cherry egg eggs flower lemon nut "
    "onion orange pear plum potato book letter hat scarf bananas beans carrots cherries lemons onions "
    "oranges plums potatoes",
    "fruits": "apples bananas cherries lemons oranges pears plums",
    "vegetables": "beans cabbages carrots leek leeks onions potato potatoes pumpkins",
    "colours": "brown grey pink purple",
    "tools": "axe hammer",
    "toys": "block puzzle",
    "people who work": "painter knight queen",
    "trees": "apple ash beech cedar cherry chestnut maple palm pear",
    "things in a kitchen": "bowl broom clock knife plate pot",
    "pieces of furniture": "desk",
    "parts of the body": "arm",
    "things with wheels": "bicycle bike coach tractor truck",
    "things to eat": "apple apples banana carrot cheese egg eggs fish lemon meat nuts pear pears plum",
    "places in a village": "bakery garden house pond river well",
}
NUMBERS = ("two", "three", "four", "five")
PROMPTS = (
    "List {n} {g}.",
    "Name {n} {g}.",
    "Make a list of {n} {g}.",
    "Give me {n} {g}.",
    "Can you name {n} {g}?",
    "Please list {n} {g}.",
    "Write a list of {n} {g}.",
)
ALL_PROMPTS = (  # these ask for the whole group, of whatever size
    "Which {g} do you know?",
    "Which {g} can you name?",
    "Name all {g} you know.",
    "List all the {g} that you know.",
    "Tell me all {g} you can think of.",
)
NUMBERED_PROMPTS = (
    "Make a numbered list of {n} {g}.",
    "Give me a numbered list of {n} {g}.",
)
MORE_PROMPTS = (
    "Make it a numbered list.",
    "Number them, please.",
    "Can you number them?",
    "Now number them.",
)
ALL = 0.2  # share of questions that ask for the whole group
ITEM = re.compile(r"(?:- |\* |(\d+)\. )([A-Za-z ]+?)\.?$")


def _questions(held_out: bool) -> list[tuple[str, int]]:
    every = [(group, count) for group in GROUPS for count in range(2, 6)]
    return [question for question in every if is_held_out("list", *question) is held_out]


QUESTIONS = {held_out: _questions(held_out) for held_out in (False, True)}


def _as_list(items: tuple[str, ...] | list[str], numbered: bool) -> str:
    return "\n".join(f"{i}. {item}" if numbered else f"- {item}" for i, item in enumerate(items, 1))


def sample(rng: random.Random, held_out: bool) -> Turn:
    """A list turn; held out are pairs of group and count, and no whole group is."""
    if not held_out and rng.random() < ALL:
        group = rng.choice(list(GROUPS))
        return _turn(rng, rng.choice(ALL_PROMPTS).format(g=group), group, GROUPS[group], numbered=False)
    group, count = rng.choice(QUESTIONS[held_out])
    numbered = rng.random() < 0.25
    template = rng.choice(NUMBERED_PROMPTS if numbered else PROMPTS)
    items = GROUPS[group][:count] if "list" in template.lower() else GROUPS[group][-count:]
    return _turn(rng, template.format(n=NUMBERS[count - 2], g=group), group, items, numbered)


def _turn(rng: random.Random, prompt: str, group: str, items: tuple[str, ...], numbered: bool) -> Turn:
    if rng.random() < 0.5:
        prompt = prompt.replace("colour", "color")
    facts = {"group": group, "count": len(items), "numbered": numbered, "items": list(items), "same": False}
    return Turn("list", careless(rng, prompt), _as_list(items, numbered), facts)


def follow_up(rng: random.Random, turn: Turn, held_out: bool) -> Turn | None:
    """Asks for the same list with numbers; None after a list that has them."""
    del held_out  # the list before already is a held-out one or not
    if turn.facts["numbered"]:
        return None
    answer = _as_list(turn.facts["items"], numbered=True)
    return Turn("list", careless(rng, rng.choice(MORE_PROMPTS)), answer, turn.facts | {"numbered": True, "same": True})


def check(turn: Turn, text: str) -> str | None:
    """Whether the text is a markdown list of as many different members of the group as the prompt asks for.

    One line that ends with a colon may stand before the list.
    """
    lines = text.strip().splitlines()
    if lines and lines[0].endswith(":"):
        lines = [line for line in lines[1:] if line]
    matches = [ITEM.fullmatch(line.strip()) for line in lines]
    items = [match.group(2).lower() for match in matches if match]
    if len(items) < len(lines):
        return "not a list"
    if len(items) != turn.facts["count"]:
        return f"{len(items)} items"
    return _check_items(turn, items) or _check_numbers(turn, [match.group(1) for match in matches if match])


def _check_items(turn: Turn, items: list[str]) -> str | None:
    group = turn.facts["group"]
    right = {*GROUPS[group], *ALSO_RIGHT.get(group, "").split()}
    if wrong := [item for item in items if item not in right]:
        return f"not of {group}: {wrong[0]}"
    if len(set(items)) < len(items):
        return "the same item twice"
    if turn.facts["same"] and items != turn.facts["items"]:
        return "another list"
    return None


def _check_numbers(turn: Turn, numbers: list[str | None]) -> str | None:
    if numbers == [str(i) for i in range(1, len(numbers) + 1)]:
        return None
    if turn.facts["numbered"] or any(numbers):
        return "not numbered from one"
    return None


LIST_TASK = Task("list", 14.0, sample, check, follow_up)
