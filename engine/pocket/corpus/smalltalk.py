"""Greetings, thanks and goodbyes; and what to say to everything that is off the map."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.offmap import OFFMAP_TASK
from pocket.corpus.phrasing import careless

INVITE = "Ask me for a story, a sum, a sorted list or about dgchat."
AGAIN = "You are welcome! Ask me for more whenever you like."
BYE = "Goodbye! Come back soon."
WELL = "I am well, thank you. Would you like a story, a sum or a sorted list?"

# Openings by the answer to them.
GREETINGS = {
    f"Hello! {INVITE}": tuple(
        "Hello;Hello there;Hello pocket;Hello dgchat;Greetings;Hello to you;Hello hello".split(";")
    ),
    f"Hi! {INVITE}": ("Hi", "Hi there", "Hey", "Hey there", "Hi pocket", "Hey pocket", "Hi dgchat", "Howdy", "Hiya"),
    f"Good morning! {INVITE}": ("Good morning", "Good morning pocket", "Morning", "A good morning to you"),
    f"Good day! {INVITE}": ("Good day", "Good afternoon", "Good day to you", "Good afternoon pocket"),
    f"Good evening! {INVITE}": ("Good evening", "Good evening pocket", "Evening", "A good evening to you"),
}
THANKS = {
    AGAIN: (
        "Thanks;Thank you;Thanks a lot;Thank you very much;Thank you so much;Many thanks;"
        "Great, thanks;thx;Nice, thank you;"
        "Thank you, pocket;Thanks for your help;Thank you for the answer;That was nice, thank you;Well done;Good job;"
        "Great;That is great;Very nice;Wonderful;Perfect, thanks;That helps, thank you;Cool, thanks;I like it;Very good"
    ).split(";")
}
GOODBYES = {
    BYE: (
        "Bye;Goodbye;Good bye;See you;See you later;Bye bye;See you soon;Good night;I have to go;"
        "Farewell;See you tomorrow;"
        "Bye, pocket;Goodbye, pocket;Until next time;I must go now;Take care;Good night, pocket;That is all for today"
    ).split(";")
}
HOW_ARE_YOU = {
    WELL: (
        "How are you?;How are you doing?;How do you do?;How is it going?;How are things?;Are you well?;Are you okay?;"
        "How are you today?;Hello, how are you?;Hi, how are you?;Hey, how are you?;How is your day?;"
        "How do you feel today?;"
        "What's up?;Hi, how are you doing?;Hey, how is it going?;Good morning, how are you?;How are you, pocket?"
    ).split(";")
}
ENDINGS = ("", "", ".", "!", "!!")


GREETING = r"^(?:hello|hi|hey|good \w+)\b.*\b(?:ask|try|tell)\b"


def _sampler(
    task: str, openings: dict[str, list[str]] | dict[str, tuple[str, ...]]
) -> Callable[[random.Random, bool], Turn]:
    """A sampler for a task whose answer is the key under which the prompt stands; held out are spellings."""
    pairs = [(said, answer) for answer, saids in openings.items() for said in saids]

    def sample(rng: random.Random, held_out: bool) -> Turn:
        while True:
            said, answer = rng.choice(pairs)
            prompt = careless(rng, said if said.endswith("?") else said + rng.choice(ENDINGS))
            if is_held_out(task, prompt) == held_out:
                return Turn(task, prompt, answer)

    return sample


def _checker(pattern: str, longest: int = 25) -> Callable[[Turn, str], str | None]:
    """A checker that wants the pattern, in any case, in an answer of at most `longest` words."""

    def check(turn: Turn, text: str) -> str | None:
        if not re.search(pattern, text.strip().lower(), re.DOTALL):
            return f"not an answer to {turn.task}"
        return None if len(text.split()) <= longest else "too long"

    return check


TASKS: list[Task] = [
    Task("greeting", 3, _sampler("greeting", GREETINGS), _checker(GREETING)),
    Task("thanks", 2, _sampler("thanks", THANKS), _checker(r"\b(?:welcome|glad|pleasure)\b")),
    Task("goodbye", 1, _sampler("goodbye", GOODBYES), _checker(r"\b(?:goodbye|bye|see you|farewell)\b", 10)),
    Task("how_are_you", 1, _sampler("how_are_you", HOW_ARE_YOU), _checker(r"\bi am (?:well|fine|good|ready)\b")),
    OFFMAP_TASK,
]
