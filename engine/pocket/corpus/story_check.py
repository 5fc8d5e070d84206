"""Checkers for stories and for the questions that follow a story.

A story is judged as a reader would: the asked beings and the asked thing are there, everybody is introduced
once and keeps the name, nobody and nothing else walks in, sentences and quotes are whole, every word is one.
"""

from __future__ import annotations

import re
from functools import cache

from pocket.corpus.base import Turn
from pocket.corpus.plots import PLOTS
from pocket.corpus.world import BEINGS, NAMES

WORD = re.compile(r"[A-Za-z']+")
INTRODUCTION = re.compile(r"\b([Aa]n?) (?:[a-z]+ )?([a-z]+) (?:named|called) ([A-Z][a-z]+)")
SPOKEN_OF = re.compile(r"\b([A-Z][a-z]+) the ([a-z]+)")
DOUBLED = re.compile(r"\b([A-Za-z]+) \1\b", re.IGNORECASE)
UNFINISHED = re.compile(r'(?<=[.!?]) +[a-z]|\. ?[.,]|,,|,\.| [.,!?]|[.!?]"? *"[a-z]|[a-z][.!?][A-Za-z]')
ARTICLE = re.compile(r"\b([Aa]n?) ([a-z]+)")
PRINTABLE = re.compile(r"[\x20-\x7e]*")
SHORTEST, LONGEST = 30, 150  # words of a story
WORDS_OF_FORM = (
    "a about after ago all along also always and another any are around as asked at away be became "
    "because been began best both but by called came can could day did do each evening ever every "
    "everyone felt few find first for found friend friends from gave go good great had happy has have "
    "he heard helped her here him his home how i in into is it its just kind knew lived learned like "
    "little long made many met more morning most much named never next night no not now of old on once "
    "one only or other out over own said sat saw she smiled so some soon story take than that the their "
    "them then there they thing this thought time to together told too two under until up us very "
    "walked wanted was way we went were what when where which while who with would yes you your"
)


def words_of(text: str) -> list[str]:
    """The words of the text in lower case, without marks."""
    return [word.strip("'").lower() for word in WORD.findall(text)]


@cache
def vocabulary() -> frozenset[str]:
    """Every word that a story may use, in lower case."""
    texts = [
        WORDS_OF_FORM,
        *NAMES,
        *PLOTS,
        *BEINGS,
        "thank you very happy from that day on were the best of friends",
    ]
    for being in BEINGS.values():
        texts += [being.home, *being.moods, being.plural]
    for plot in PLOTS.values():
        texts += [plot.when, plot.place, plot.trouble, *plot.speeches, *plot.deeds, *plot.ends, plot.short]
    return frozenset(word for text in texts for word in words_of(text))


def _wrong_article(text: str) -> str | None:
    for article, word in ARTICLE.findall(text):
        if (word[0] in "aeiou") != (article.lower() == "an") and word not in ("one", "hour"):
            return f"article: {article} {word}"
    return None


def check_form(text: str) -> str | None:
    """Whether the text is whole sentences: capitals, ends, quotes, articles, no word doubled, ASCII."""
    if not PRINTABLE.fullmatch(text):
        return "not one paragraph of ASCII"
    if not text or not (text[0].isupper() or text[0] == '"'):
        return "does not begin with a capital"
    if not re.search(r'[.!?]"?$', text):
        return "does not end a sentence"
    if text.count('"') % 2:
        return "a quote is left open"
    if doubled := DOUBLED.search(re.sub(r"\b(\w+), \1\b", r"\1", text)):
        return f"doubled word: {doubled.group(1)}"
    if broken := UNFINISHED.search(text):
        return f"broken sentence near {text[max(0, broken.start() - 10) : broken.end() + 5]!r}"
    return _wrong_article(text)


def _introductions(text: str) -> dict[str, str] | str:
    """Names and their kinds as introduced ("a fox named Ruby"), or what is wrong with them."""
    known: dict[str, str] = {}
    for _, kind, name in INTRODUCTION.findall(text):
        if kind not in BEINGS:
            return f"introduces {name} as no being: {kind}"
        if name in known:
            return f"{name} is introduced twice"
        known[name] = kind
    return known


def _check_cast(text: str, known: dict[str, str]) -> str | None:
    """Whether everybody in the text is somebody that it introduced."""
    if len(set(known.values())) < len(known) and len(known) > 2:
        return "too many of one kind"
    capitals = set(re.findall(r"\b[A-Z][a-z]+\b", text))
    if strangers := (capitals & set(NAMES)) - set(known):
        return f"never introduced: {', '.join(sorted(strangers))}"
    words = words_of(text)
    kinds = {word for word in words if word in BEINGS}
    if unknown := kinds - set(known.values()):
        return f"no name for: {', '.join(sorted(unknown))}"
    for name, kind in SPOKEN_OF.findall(text):
        if name in NAMES and kind in BEINGS and known.get(name) != kind:
            return f"{name} is not the {kind}"
    return None


def _check_prose(text: str) -> str | None:
    words = words_of(text)
    if not SHORTEST <= len(words) <= LONGEST:
        return f"{len(words)} words"
    if strange := [word for word in words if word not in vocabulary()]:
        return f"not a word: {strange[0]}"
    sentences = re.split(r'(?<=[.!?]) |(?<=[.!?]") ', text)
    if len(sentences) < 4:
        return "fewer than four sentences"
    return "a sentence twice" if len(set(sentences)) < len(sentences) else None


def read_story(text: str) -> dict[str, str] | None:
    """What a story tells, as the facts of its turn hold it: hero, name, mood, thing, friend, friend_name.

    None when the text introduces fewer than two beings or finds nothing.
    """
    beings = [(kind, name) for _, kind, name in INTRODUCTION.findall(text) if kind in BEINGS]
    things = [word for word in words_of(text) if word in PLOTS]
    if len(beings) < 2 or not things:
        return None
    (hero, name), (friend, friend_name) = beings[:2]
    mood = re.search(rf"\b[Aa]n? ([a-z]+) {hero} (?:named|called) {name}\b", text)
    facts = {"hero": hero, "name": name, "mood": mood.group(1) if mood else "", "thing": things[0]}
    return facts | {"friend": friend, "friend_name": friend_name}


def check_story(turn: Turn, text: str) -> str | None:
    """Whether the text is a story with all that the prompt asks for."""
    text = text.strip()
    known = _introductions(text)
    if isinstance(known, str):
        return known
    asked = turn.facts["asked"]
    words = set(words_of(text))
    if missing := [word for word in asked if word not in words]:
        return f"missing: {', '.join(missing)}"
    heroes = [word for word in asked if word in BEINGS] or list(BEINGS)
    if not known or next(iter(known.values())) not in heroes:
        return "the hero is not the one asked for"
    if turn.facts["asked_name"] and known.get(turn.facts["asked_name"]) != turn.facts["story"]["hero"]:
        return f"the {turn.facts['story']['hero']} is not called {turn.facts['asked_name']}"
    things = {word for word in words if word in PLOTS}
    if len(things) != 1:
        return f"not one thing but: {', '.join(sorted(things)) or 'none'}"
    if turn.facts["unlike"] and turn.facts["unlike"].strip() == text:
        return "the same story again"
    return check_form(text) or _check_cast(text, known) or _check_prose(text)


def check_shorter(turn: Turn, text: str) -> str | None:
    """Whether the text tells the same story in at most 40 words and at most three sentences."""
    story, text = turn.facts["story"], text.strip()
    words = words_of(text)
    if len(words) > 40 or len(words) < 8:
        return f"{len(words)} words"
    if turn.facts.get("text") and len(text) >= len(turn.facts["text"]):
        return "not shorter"
    needed = [story[part] for part in ("hero", "name", "thing", "friend_name")]
    if missing := [word for word in needed if word.lower() not in words]:
        return f"missing: {', '.join(missing)}"
    return check_form(text) or _check_facts(story, text, words)


def _check_facts(story: dict[str, str], text: str, words: list[str]) -> str | None:
    """Whether an answer about a story names nobody and nothing from elsewhere, in words of the world."""
    names = set(re.findall(r"\b[A-Z][a-z]+\b", text)) & set(NAMES)
    if strangers := names - {story["name"], story["friend_name"]}:
        return f"not in the story: {', '.join(sorted(strangers))}"
    own = (story["hero"], story["friend"], story["thing"])
    if alien := {word for word in words if (word in BEINGS or word in PLOTS) and word not in own}:
        return f"not in the story: {', '.join(sorted(alien))}"
    for name, kind in SPOKEN_OF.findall(text):
        if name in NAMES and (name, kind) not in (
            (story["name"], story["hero"]),
            (story["friend_name"], story["friend"]),
        ):
            return f"{name} is not the {kind}"
    if strange := [word for word in words if word not in vocabulary()]:
        return f"not a word: {strange[0]}"
    return None


def _check_answer(turn: Turn, text: str, needed: list[str]) -> str | None:
    text, words = text.strip(), words_of(text)
    if missing := [word for word in needed if word.lower() not in words]:
        return f"missing: {', '.join(missing)}"
    if len(words) > 30:
        return f"{len(words)} words"
    return check_form(text) or _check_facts(turn.facts["story"], text, words)


def check_about(turn: Turn, text: str) -> str | None:
    """Whether the text says whom and what the story was about."""
    return _check_answer(turn, text, [turn.facts["story"]["hero"], turn.facts["story"]["thing"]])


def check_name(turn: Turn, text: str) -> str | None:
    """Whether the text gives the name asked for, and no other name."""
    others = {turn.facts["story"]["name"], turn.facts["story"]["friend_name"]} - {turn.facts["name"]}
    if others & set(WORD.findall(text)):
        return "the other's name"
    return _check_answer(turn, text, [turn.facts["name"]])


def check_found(turn: Turn, text: str) -> str | None:
    """Whether the text says what the hero found, and does not say it of the friend."""
    if turn.facts["story"]["friend_name"] in WORD.findall(text):
        return "the friend did not find it"
    return _check_answer(turn, text, [turn.facts["story"]["thing"]])
