"""The small world of the corpus: its animals, people and things, and what is true of them.

The vocabulary is small on purpose, and one choice settles others: an animal brings its own names, home and
food, a thing brings its own place and plot (see `plots`). A small model can then be right about all of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Being:
    """An animal or a person who can be in a story.

    Attributes:
        word: What it is, without article ("fox").
        plural: The plural ("foxes").
        names: Its typical names; no two kinds share one.
        moods: Adjectives that a story gives it.
        home: Where it lives in stories ("in a den under an old oak").
        favourites: Things that a story gives it when the prompt asks for none.
    """

    word: str
    plural: str
    names: tuple[str, ...]
    moods: tuple[str, ...]
    home: str
    favourites: tuple[str, ...]


@dataclass(frozen=True)
class AnimalFacts:
    """What is true of an animal: its look ("has a red coat"), food, where it lives, its voice as a verb."""

    look: str
    food: str
    lives: str
    voice: str


@dataclass(frozen=True)
class PersonFacts:
    """What a person with a trade does, as a verb phrase, and where."""

    does: str
    works: str


@dataclass(frozen=True)
class ThingFacts:
    """What a thing is for ("seeing in the dark") and what it is made of ("glass and metal")."""

    use: str
    made: str


def _being(line: str) -> Being:
    word, plural, names, moods, home, favourites = (part.strip() for part in line.split("|"))
    return Being(word, plural, tuple(names.split()), tuple(moods.split()), home, tuple(favourites.split()))


_ANIMAL_LINES = """
fox | foxes | Ruby Rusty Finn | clever young | in a den under an old oak | lantern key map hat
owl | owls | Olive Otto Luna | wise quiet | in a hollow tree | book clock lantern mirror
bear | bears | Bruno Berta Teddy | big gentle | in a cave behind the waterfall | blanket kettle drum basket
rabbit | rabbits | Poppy Pip Hazel | quick shy | in a burrow near the meadow | basket ribbon drum broom
cat | cats | Tilly Felix Misty | proud curious | in a yellow house | mirror kettle ribbon hat
dog | dogs | Rex Bella Max | loyal happy | in a small red house | whistle wagon hat rope
mouse | mice | Mimi Milo Dot | tiny brave | in a hole in the wall | key letter book clock
frog | frogs | Freddy Fern Ludo | green happy | by a quiet pond | boat umbrella drum whistle
duck | ducks | Daisy Dilly Quentin | cheerful kind | by the lake | umbrella boat bell letter
hedgehog | hedgehogs | Henry Hetty Spike | shy kind | under a pile of leaves | scarf blanket broom basket
squirrel | squirrels | Sally Sam Chip | quick busy | in a nest high up in a tree | kite ladder rope basket
turtle | turtles | Theo Tessa Toby | slow patient | on the bank of a river | clock boat map compass
wolf | wolves | Willa Wilbur Lobo | lonely grey | in the dark forest | drum compass lantern scarf
deer | deer | Dora Elsa Jasper | gentle quiet | at the edge of the forest | bell compass ribbon mirror
goat | goats | Gus Greta Billy | bold hungry | on a steep mountain | rope ladder wagon bell
robin | robins | Rosie Remy Scarlet | cheerful tiny | in a nest in the garden | scarf letter ribbon kite
badger | badgers | Bernard Bess Basil | old wise | in a house under the hill | kettle lantern broom blanket
otter | otters | Oscar Nell Ollie | playful young | in a cosy den by the river | boat whistle rope kite
crow | crows | Cora Carl Edgar | black clever | at the top of a tall tree | mirror key letter map
hen | hens | Hilda Martha Penny | busy kind | in a small wooden coop | broom basket clock kettle
pig | pigs | Percy Pearl Patch | hungry happy | in a sty on a farm | umbrella hat wagon kettle
cow | cows | Clara Molly Bonnie | gentle patient | in a field full of flowers | bell scarf drum blanket
horse | horses | Dusty Hugo Stella | strong proud | in a stable on a farm | wagon compass bell blanket
mole | moles | Monty Mabel Digby | small patient | in a tunnel under the garden | lantern map ladder key
"""

_PERSON_LINES = """
girl | girls | Mia Anna Zoe | brave curious | in a house on the hill | kite book boat map
boy | boys | Tom Ben Leo | small curious | in a house by the sea | kite whistle drum compass
baker | bakers | Rosa Emil Maria | cheerful kind | above a little bakery | basket kettle clock ladder
sailor | sailors | Jack Nora Pete | old brave | on a blue ship | compass bell map boat
farmer | farmers | George Ada Fred | strong busy | on a farm in the valley | wagon ladder rope basket
gardener | gardeners | Iris Alan Vera | patient quiet | in a house full of plants | ladder basket hat umbrella
painter | painters | Paul Frida Lea | young playful | in a house with big windows | mirror ribbon umbrella hat
teacher | teachers | Emma Noah Ruth | wise kind | in a house near the school | book bell letter clock
doctor | doctors | Ella Simon Ivy | gentle busy | in a white house | kettle blanket letter scarf
tailor | tailors | Tim Edith Alma | small patient | in a room above a shop | ribbon scarf hat mirror
queen | queens | Isabel Maud Sophia | proud lonely | in a castle on the hill | mirror key book drum
knight | knights | Arthur Joan Lance | bold loyal | in a stone tower | rope lantern key whistle
"""

ANIMALS: dict[str, Being] = {b.word: b for b in map(_being, _ANIMAL_LINES.strip().splitlines())}
PEOPLE: dict[str, Being] = {b.word: b for b in map(_being, _PERSON_LINES.strip().splitlines())}
BEINGS: dict[str, Being] = ANIMALS | PEOPLE
NAMES: tuple[str, ...] = tuple(name for being in BEINGS.values() for name in being.names)

ANIMAL_FACTS: dict[str, AnimalFacts] = {
    "fox": AnimalFacts("has a red coat and a bushy tail", "mice and berries", "in a den in the forest", "barks"),
    "owl": AnimalFacts("has big eyes and hunts at night", "mice", "in a hollow tree", "hoots"),
    "bear": AnimalFacts("is large and strong", "fish and honey", "in a cave", "growls"),
    "rabbit": AnimalFacts("has long ears and hops fast", "grass and clover", "in a burrow", "squeaks"),
    "cat": AnimalFacts("has soft paws and sharp claws", "fish and mice", "in a house", "meows"),
    "dog": AnimalFacts("is loyal and likes to run", "meat and biscuits", "in a house", "barks"),
    "mouse": AnimalFacts("is tiny and has a long tail", "seeds and cheese", "in a small hole", "squeaks"),
    "frog": AnimalFacts("is green and can jump far", "flies", "by a pond", "croaks"),
    "duck": AnimalFacts("has flat feet and swims well", "weeds and bread", "by a lake", "quacks"),
    "hedgehog": AnimalFacts("has sharp spines on its back", "beetles and worms", "under leaves", "snuffles"),
    "squirrel": AnimalFacts("has a fluffy tail and climbs trees", "nuts", "in a nest in a tree", "chatters"),
    "turtle": AnimalFacts("has a hard shell and walks slowly", "leaves", "on a river bank", "hisses"),
    "wolf": AnimalFacts("is grey and hunts with its family", "meat", "in a den in the forest", "howls"),
    "deer": AnimalFacts("has long legs and runs fast", "grass and leaves", "in the forest", "grunts"),
    "goat": AnimalFacts("has horns and climbs rocks", "grass and leaves", "on a farm", "bleats"),
    "robin": AnimalFacts("is a small bird with a red chest", "worms and seeds", "in a nest", "sings"),
    "badger": AnimalFacts("has a striped face and digs well", "worms and roots", "in a burrow", "growls"),
    "otter": AnimalFacts("has thick fur and swims well", "fish", "on a river bank", "whistles"),
    "crow": AnimalFacts("is a black bird and very clever", "seeds and worms", "in a tall tree", "caws"),
    "hen": AnimalFacts("is a bird that lays eggs", "grain", "in a coop", "clucks"),
    "pig": AnimalFacts("is round and likes mud", "roots and grain", "in a sty", "grunts"),
    "cow": AnimalFacts("is large and gives milk", "grass and hay", "on a farm", "moos"),
    "horse": AnimalFacts("has strong legs and runs fast", "grass and hay", "in a stable", "neighs"),
    "mole": AnimalFacts("has soft fur and digs tunnels", "worms and beetles", "in a tunnel", "squeaks"),
}

PERSON_FACTS: dict[str, PersonFacts] = {
    "baker": PersonFacts("bakes bread and cakes", "in a bakery"),
    "sailor": PersonFacts("sails ships across the sea", "on a ship"),
    "farmer": PersonFacts("grows food and keeps animals", "on a farm"),
    "gardener": PersonFacts("plants flowers and trees", "in a garden"),
    "painter": PersonFacts("paints pictures", "in a studio"),
    "teacher": PersonFacts("helps children to learn", "in a school"),
    "doctor": PersonFacts("helps people who are ill", "in a hospital"),
    "tailor": PersonFacts("makes and mends clothes", "in a shop"),
    "queen": PersonFacts("rules a country", "in a palace"),
    "knight": PersonFacts("fights to protect a castle", "in a castle"),
}

THING_FACTS: dict[str, ThingFacts] = {
    "lantern": ThingFacts("seeing in the dark", "glass and metal"),
    "kite": ThingFacts("flying in the wind", "paper and string"),
    "key": ThingFacts("opening a lock", "metal"),
    "map": ThingFacts("finding a place", "paper"),
    "boat": ThingFacts("crossing the water", "wood"),
    "bell": ThingFacts("calling people with its ring", "metal"),
    "book": ThingFacts("reading", "paper"),
    "drum": ThingFacts("making music", "wood and leather"),
    "ladder": ThingFacts("climbing up high", "wood"),
    "basket": ThingFacts("carrying food", "straw"),
    "mirror": ThingFacts("looking at yourself", "glass"),
    "ribbon": ThingFacts("tying a present", "silk"),
    "whistle": ThingFacts("calling somebody far away", "metal"),
    "compass": ThingFacts("finding north", "glass and metal"),
    "blanket": ThingFacts("keeping warm in bed", "wool"),
    "umbrella": ThingFacts("staying dry in the rain", "cloth and metal"),
    "clock": ThingFacts("telling the time", "wood and metal"),
    "broom": ThingFacts("sweeping the floor", "wood and straw"),
    "hat": ThingFacts("covering your head", "cloth"),
    "rope": ThingFacts("tying and pulling", "string"),
    "kettle": ThingFacts("boiling water", "metal"),
    "letter": ThingFacts("sending news to a friend", "paper"),
    "scarf": ThingFacts("keeping your neck warm", "wool"),
    "wagon": ThingFacts("carrying heavy loads", "wood"),
}


def with_article(words: str) -> str:
    """The words with "a" or "an" before them, by the first letter ("an owl", "a fox")."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def capitalized(text: str) -> str:
    """The text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]
