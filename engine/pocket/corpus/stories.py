"""Stories of the small world, and what one asks after a story: shorter, about what, who, another one."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.phrasing import careless
from pocket.corpus.plots import PLOTS
from pocket.corpus.story_check import (
    check_about,
    check_found,
    check_name,
    check_shorter,
    check_story,
    read_story,
    words_of,
)
from pocket.corpus.world import BEINGS, NAMES, capitalized, with_article

# How a story begins follows from how it was asked for. Where each of the three could come, the sampler spent a dozen
# steps on which of them it is: all that stands behind moves with it.
OPENINGS = {
    "tell": "Once there was {hero} named {N} who lived {home}.",
    "write": "Long ago, {hero} named {N} lived {home}.",
}
OTHER_OPENING = "{Hero} named {N} lived {home}."
MEETINGS = (
    "Soon {N} met {friend} named {M} who {trouble}.",
    "Then along came {friend} named {M} who {trouble}.",
)
THANKS = '"Thank you, {N}," said {M}.'
FRIENDS = "From that day on, {N} and {M} were the best of friends."

PROMPTS = (
    "Tell me a story about {}.",
    "Tell me a story about {}.",
    "Please tell me a story about {}.",
    "Tell me a short story about {}.",
    "Write a story about {}.",
    "Write a short story about {}.",
    "Can you tell me a story about {}?",
    "Could you write a story about {}?",
    "I would like a story about {}.",
    "I want to hear a story about {}.",
    "A story about {}, please.",
    "Make up a story about {}.",
    "Do you know a story about {}?",
    "Write me a little story about {}, please.",
)
FINDING_PROMPTS = ("Tell me a story about {} who finds {}.", "Write a story about {} who finds {}.")
OPEN_PROMPTS = (
    "Tell me a story.",
    "Tell me a story, please.",
    "Can you tell me a story?",
    "Write a short story.",
    "I would like to hear a story.",
)
SHORTER_PROMPTS = (
    "Make it shorter.",
    "Make it shorter, please.",
    "Can you make it shorter?",
    "Please make that shorter.",
    "Shorter, please.",
    "Tell it in two sentences.",
    "Make the story shorter.",
)
ABOUT_PROMPTS = (
    "What was it about?",
    "What was the story about?",
    "What was that about?",
    "What is the story about?",
    "Who was it about?",
)
NAME_PROMPTS = (
    "What was the {} called?",
    "What was the name of the {}?",
    "What is the name of the {}?",
    "What was the {}'s name?",
    "Who was the {}?",
)
FOUND_PROMPTS = ("What did {} find?", "And what did {} find?", "What was it that {} found?")
ANOTHER_PROMPTS = (
    "Another one.",
    "Another one, please.",
    "Tell me another one.",
    "Tell me another one, please.",
    "Tell me another story.",
    "One more, please.",
    "Another story, please.",
)
INSTEAD_PROMPTS = (
    "Make it about {} instead.",
    "Now make it about {}.",
    "Can you make it about {} instead?",
    "Tell it again with {} instead.",
)
OPEN_PAIRS = (("fox", "lantern"), ("girl", "kite"), ("bear", "drum"), ("mouse", "letter"), ("otter", "boat"))


@dataclass(frozen=True)
class Story:
    """What a story is made of: its beings by kind and name, the hero's adjective and the thing."""

    hero: str
    name: str
    mood: str
    thing: str
    friend: str
    friend_name: str


def _is_free(hero: str, thing: str, held_out: bool = False) -> bool:
    return is_held_out("story", hero, thing) is held_out


SEEN_PAIRS = [(h, t) for h in BEINGS for t in PLOTS if _is_free(h, t)]
HELD_OUT_PAIRS = [(h, t) for h in BEINGS for t in PLOTS if not _is_free(h, t)]
FAVOURITES = {h: [t for t in being.favourites if _is_free(h, t)] for h, being in BEINGS.items()}
OWNERS = {t: [h for h in plot.cast[:2] if _is_free(h, t)] or [plot.cast[2]] for t, plot in PLOTS.items()}


def cast_story(
    rng: random.Random,
    hero: str,
    thing: str,
    friend: str | None = None,
    name: str | None = None,
    taken: str = "",
) -> Story:
    """Chooses what is left open: the names (never `taken`), the adjective and the friend's kind."""
    being = BEINGS[hero]
    name = name or rng.choice([n for n in being.names if n != taken])
    friend = friend or rng.choice([kind for kind in PLOTS[thing].cast[2:] if kind != hero])
    friend_name = rng.choice([n for n in BEINGS[friend].names if n != name])
    return Story(hero, name, rng.choice(being.moods), thing, friend, friend_name)


def _fields(story: Story) -> dict[str, str]:
    hero = with_article(f"{story.mood} {story.hero}")
    return {
        "N": story.name,
        "M": story.friend_name,
        "F": story.friend,
        "hero": hero,
        "Hero": capitalized(hero),
        "friend": with_article(story.friend),
        "home": BEINGS[story.hero].home,
        "trouble": PLOTS[story.thing].trouble,
        "find": f"{story.name} found {with_article(story.thing)} {PLOTS[story.thing].place}.",
    }


def _opening(prompt: str) -> str:
    words = words_of(prompt)
    return next((OPENINGS[verb] for verb in OPENINGS if verb in words), OTHER_OPENING)


def tell(rng: random.Random, story: Story, prompt: str) -> str:
    """The story in six or seven sentences, about 75 words.

    Three choices are free: how the two meet with what is said, the deed with or without thanks, and the end.
    """
    plot = PLOTS[story.thing]
    meeting, deed = rng.randrange(2), rng.randrange(2)
    parts = [_opening(prompt), plot.when + ", {find}", MEETINGS[meeting], plot.speeches[meeting], plot.deeds[deed]]
    if deed:
        parts.append(THANKS)
    parts.append(rng.choice((*plot.ends, FRIENDS)))
    return " ".join(parts).format(**_fields(story))


def tell_shorter(story: Story) -> str:
    """The story in two sentences; the same story always gives the same two."""
    fields = _fields(story)
    return f"{fields['Hero']} named {fields['find']} {PLOTS[story.thing].short.format(**fields)}"


def _turn(
    rng: random.Random,
    prompt: str,
    story: Story,
    asked: Iterable[str] = (),
    asked_name: str | None = None,
    unlike: str | None = None,
) -> Turn:
    answer = tell(rng, story, prompt)
    facts = {"asked": list(asked), "asked_name": asked_name, "unlike": unlike, "story": asdict(story)}
    return Turn("story", careless(rng, prompt), answer, facts)


def _named(rng: random.Random, kind: str) -> tuple[str, str | None]:
    """How the prompt speaks of the hero, and the name that it asks for, if any (one in six)."""
    if rng.random() > 1 / 6:
        return with_article(kind), None
    name = rng.choice(NAMES)
    return f"{with_article(kind)} {rng.choice(('named', 'called'))} {name}", name


def _about_both(rng: random.Random, pairs: list[tuple[str, str]]) -> Turn:
    hero, thing = rng.choice(pairs)
    subject, name = _named(rng, hero)
    story = cast_story(rng, hero, thing, name=name)
    item = with_article(thing)
    if rng.random() < 0.15:
        prompt = rng.choice(FINDING_PROMPTS).format(subject, item)
    elif rng.random() < 0.2:
        prompt = rng.choice(PROMPTS).format(f"{item} and {subject}")
    else:
        prompt = rng.choice(PROMPTS).format(f"{subject} {rng.choice(('and', 'and', 'and', 'with'))} {item}")
    return _turn(rng, prompt, story, (hero, thing), name)


def _about_two(rng: random.Random) -> Turn:
    hero, friend = rng.sample(list(BEINGS), 2)
    subject, name = _named(rng, hero)
    story = cast_story(rng, hero, rng.choice(FAVOURITES[hero]), friend, name)
    prompt = rng.choice(PROMPTS).format(f"{subject} and {with_article(friend)}")
    return _turn(rng, prompt, story, (hero, friend), name)


def _about_one(rng: random.Random) -> Turn:
    hero = rng.choice(list(BEINGS))
    subject, name = _named(rng, hero)
    story = cast_story(rng, hero, rng.choice(FAVOURITES[hero]), name=name)
    return _turn(rng, rng.choice(PROMPTS).format(subject), story, (hero,), name)


def _about_thing(rng: random.Random) -> Turn:
    thing = rng.choice(list(PLOTS))
    story = cast_story(rng, rng.choice(OWNERS[thing]), thing)
    return _turn(rng, rng.choice(PROMPTS).format(with_article(thing)), story, (thing,))


def _about_anything(rng: random.Random) -> Turn:
    hero, thing = rng.choice([pair for pair in OPEN_PAIRS if _is_free(*pair)])
    return _turn(rng, rng.choice(OPEN_PROMPTS), cast_story(rng, hero, thing))


def sample_story(rng: random.Random, held_out: bool) -> Turn:
    """A story turn; held out means a pair of hero and thing that training never sees together."""
    if held_out:
        return _about_both(rng, HELD_OUT_PAIRS)
    chance = rng.random()
    if chance < 0.6:
        return _about_both(rng, SEEN_PAIRS)
    for share, maker in ((0.75, _about_two), (0.88, _about_one), (0.97, _about_thing)):
        if chance < share:
            return maker(rng)
    return _about_anything(rng)


def _story_of(turn: Turn) -> Story:
    return Story(**turn.facts["story"])


def _last_story(turn: Turn) -> str | None:
    """The text of the story that the conversation is about."""
    text = turn.answer if turn.task == "story" else turn.facts.get("text")
    return text if isinstance(text, str) else None


def retell(turn: Turn, text: str) -> Turn | None:
    """The story turn with `text` as what was told, for follow-ups to refer to; None if it is no story."""
    told = read_story(text)
    return None if told is None else replace(turn, answer=text, facts=turn.facts | {"story": told})


def another(rng: random.Random, turn: Turn) -> Turn:
    """Another story: the same kind of hero and another thing, or the same thing if only a thing was asked."""
    before = _story_of(turn)
    if turn.facts.get("asked") == [before.thing]:
        owners = [*OWNERS[before.thing], PLOTS[before.thing].cast[3]]
        free = [h for h in owners if h != before.hero and _is_free(h, before.thing)]
        hero, thing = rng.choice(free or [before.hero]), before.thing
    else:
        hero, thing = before.hero, rng.choice([t for t in FAVOURITES[before.hero] if t != before.thing])
    story = cast_story(rng, hero, thing, taken=before.name)
    return _turn(rng, rng.choice(ANOTHER_PROMPTS), story, unlike=_last_story(turn))


def instead(rng: random.Random, turn: Turn) -> Turn:
    """A story about the same thing with another kind of hero."""
    before = _story_of(turn)
    others = [h for h in BEINGS if h not in (before.hero, before.friend)]
    hero = rng.choice([h for h in others if _is_free(h, before.thing)])
    prompt = rng.choice(INSTEAD_PROMPTS).format(with_article(hero))
    story = cast_story(rng, hero, before.thing)
    return _turn(rng, prompt, story, (hero, before.thing), unlike=_last_story(turn))


def _question(rng: random.Random, task: str, turn: Turn, prompt: str, answer: str, **facts: str) -> Turn:
    carried = {"story": turn.facts["story"], "asked": turn.facts.get("asked", []), "text": _last_story(turn)}
    return Turn(task, careless(rng, prompt), answer, carried | facts)


def shorter(rng: random.Random, turn: Turn) -> Turn:
    """Asks for the story in two sentences."""
    return _question(rng, "shorter", turn, rng.choice(SHORTER_PROMPTS), tell_shorter(_story_of(turn)))


def about(rng: random.Random, turn: Turn) -> Turn:
    """Asks what the story was about."""
    story = _story_of(turn)
    answer = f"It was about {with_article(story.hero)} named {story.name} and {with_article(story.thing)}."
    return _question(rng, "about", turn, rng.choice(ABOUT_PROMPTS), answer)


def name_of(rng: random.Random, turn: Turn) -> Turn:
    """Asks for the name of the hero or of the friend."""
    story = _story_of(turn)
    pairs = [(story.hero, story.name)]
    if story.friend != story.hero:
        pairs.append((story.friend, story.friend_name))
    kind, name = rng.choice(pairs)
    prompt = rng.choice(NAME_PROMPTS).format(kind)
    return _question(rng, "name_of", turn, prompt, f"The {kind} was called {name}.", kind=kind, name=name)


def found(rng: random.Random, turn: Turn) -> Turn:
    """Asks what the hero found."""
    story = _story_of(turn)
    prompt = rng.choice(FOUND_PROMPTS).format(rng.choice((story.name, f"the {story.hero}")))
    answer = f"{story.name} found {with_article(story.thing)} {PLOTS[story.thing].place}."
    return _question(rng, "found", turn, prompt, answer)


def follow_story(rng: random.Random, turn: Turn, held_out: bool) -> Turn | None:
    """A turn that refers to the story told before; None after a turn that carries no story."""
    del held_out  # the story before already is a held-out one or not
    if "story" not in turn.facts:
        return None
    choices = (shorter, shorter, about, name_of, name_of, found, another, another, instead)
    fresh = [make for make in choices if make.__name__ != turn.task]
    return rng.choice(fresh)(rng, turn)


def _sample_after(task: str) -> Task:
    """A task that exists only as a follow-up: sampled alone, it comes with its story in `facts["text"]`."""
    makers = {"shorter": shorter, "about": about, "name_of": name_of, "found": found}
    checks = {"shorter": check_shorter, "about": check_about, "name_of": check_name, "found": check_found}

    def sample(rng: random.Random, held_out: bool) -> Turn:
        return makers[task](rng, sample_story(rng, held_out))

    return Task(task, 0.0, sample, checks[task], follow_story, open=True)


TASKS: list[Task] = [
    Task("story", 40.0, sample_story, check_story, follow_story, open=True),
    *(_sample_after(task) for task in ("shorter", "about", "name_of", "found")),
]
