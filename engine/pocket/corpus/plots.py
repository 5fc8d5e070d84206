"""What happens in a story: each thing has its own time, place, trouble and way out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plot:
    """The parts of a story about one thing: `{N}` is the hero's name, `{M}` the friend's, `{F}` its kind.

    Attributes:
        when: When the hero finds the thing.
        place: Where the hero finds it.
        cast: Four kinds of beings: two heroes for a story that asks for none, two friends likewise.
        trouble: What the friend's trouble is, after "who".
        speeches, deeds, ends: Two of each; any of them fits any other.
        short: The second sentence of the story told in two.
    """

    when: str
    place: str
    cast: tuple[str, str, str, str]
    trouble: str
    speeches: tuple[str, str]
    deeds: tuple[str, str]
    ends: tuple[str, str]
    short: str


PLOTS: dict[str, Plot] = {
    "lantern": Plot(
        "One dark evening",
        "by the old mill",
        ("fox", "owl", "mouse", "rabbit"),
        "was lost in the dark",
        ('"I cannot find my way home," said {M}.', '"It is too dark to see the path," said {M}.'),
        (
            "{N} held the lantern high and led {M} safely home.",
            "{N} lit the lantern, and its warm light showed them the way.",
        ),
        (
            "Now the lantern hangs by the mill, so that nobody gets lost again.",
            "That night, one small light made two good friends.",
        ),
        "With its light, {N} led {M} the {F} safely home.",
    ),
    "kite": Plot(
        "One windy morning",
        "on the hill",
        ("girl", "boy", "hedgehog", "mole"),
        "looked very sad",
        ('"I wish I could touch the clouds," said {M}.', '"Nobody ever plays with me," said {M}.'),
        (
            "{N} gave {M} the string, and the kite danced high above the hill.",
            "They ran into the wind together, and the kite flew up to the clouds.",
        ),
        (
            "They could not fly, but the kite flew for both of them.",
            "Since then, they wait for the wind every morning.",
        ),
        "{N} and {M} the {F} ran with it until it danced in the sky.",
    ),
    "key": Plot(
        "One rainy day",
        "under a flat stone",
        ("mouse", "queen", "crow", "cat"),
        "was standing at a locked gate",
        ('"I cannot get in," said {M}.', '"This gate has been closed for years," said {M}.'),
        (
            "{N} turned the key, and the gate opened into a garden full of roses.",
            "The key fitted, and behind the gate they found a tree full of red apples.",
        ),
        (
            "They left the gate open, so that everyone could come in.",
            "Now they have tea there every Sunday.",
        ),
        "It opened an old gate for {N} and {M} the {F}.",
    ),
    "map": Plot(
        "One quiet afternoon",
        "in a hollow tree",
        ("sailor", "turtle", "squirrel", "dog"),
        "loved adventures",
        ('"I see a red cross by the river," said {M}.', '"The path begins right here," said {M}.'),
        (
            "They followed the map over the hill and found a chest full of golden pears.",
            "They followed the map to the river and found a box full of shiny stones.",
        ),
        (
            "They shared the treasure, half for {N} and half for {M}.",
            '"The best part was the walk," said {N}, and {M} agreed.',
        ),
        "{N} and {M} the {F} followed it and found a treasure.",
    ),
    "boat": Plot(
        "One sunny morning",
        "by the river",
        ("otter", "frog", "goat", "rabbit"),
        "wanted to cross the water",
        ('"My family lives on the other side," said {M}.', '"The bridge is broken," said {M}.'),
        (
            "{N} took the oars and rowed {M} across the river.",
            "They pushed the boat into the water, and {N} rowed to the other side.",
        ),
        (
            "Now the boat carries anyone who needs to cross.",
            "On the way back, they sang to the fish.",
        ),
        "{N} rowed {M} the {F} across the river.",
    ),
    "bell": Plot(
        "One foggy morning",
        "on the beach",
        ("deer", "teacher", "sailor", "duck"),
        "was looking out at the sea",
        ('"My brother is out there in the fog," said {M}.', '"Nobody can see the shore today," said {M}.'),
        (
            "{N} rang the bell all morning, until a small ship came out of the fog.",
            "{N} rang the bell as loud as thunder, and a ship found its way to the shore.",
        ),
        (
            "Since then, the bell rings whenever the fog comes in.",
            "The whole village heard the bell and cheered.",
        ),
        "In the fog, {N} and {M} the {F} rang it to guide a ship home.",
    ),
    "book": Plot(
        "One snowy day",
        "on a bench in the park",
        ("owl", "teacher", "mouse", "bear"),
        "could not read yet",
        ('"All these marks look like ants," said {M}.', '"What do the words say?" asked {M}.'),
        (
            "{N} read one page aloud every evening, and {M} listened with wide eyes.",
            "They opened the book by the fire, and {N} taught {M} the words, one by one.",
        ),
        (
            "By spring, {M} could read it alone.",
            "When the last page was done, they began again at the first.",
        ),
        "{N} used it to teach {M} the {F} how to read.",
    ),
    "drum": Plot(
        "One bright morning",
        "in the market",
        ("bear", "wolf", "rabbit", "cow"),
        "was too shy to dance",
        ('"I do not know the steps," said {M}.', '"Everyone will look at me," said {M}.'),
        (
            "{N} played the drum softly, and soon {M} began to dance.",
            "Boom, boom went the drum, and {M} danced from one foot to the other.",
        ),
        (
            "By the evening, the whole village was dancing.",
            "Since then, every market day begins with a dance.",
        ),
        "{N} played it until {M} the {F} forgot to be shy and danced.",
    ),
    "ladder": Plot(
        "One autumn day",
        "behind the barn",
        ("gardener", "goat", "hedgehog", "pig"),
        "was looking up at an apple tree",
        ('"The best apples are at the very top," said {M}.', '"I am too short to reach them," said {M}.'),
        (
            "{N} held the ladder while {M} climbed up and picked the apples.",
            "{N} climbed the ladder and threw the apples down, one by one.",
        ),
        (
            "That evening, they baked a big apple pie.",
            "They ate apples until they could not move.",
        ),
        "With it, {N} and {M} the {F} picked the apples at the very top.",
    ),
    "basket": Plot(
        "One warm day",
        "at the edge of a wood",
        ("rabbit", "baker", "bear", "squirrel"),
        "was tired and hungry",
        ('"I have not eaten since yesterday," said {M}.', '"I could eat a whole bush of berries," said {M}.'),
        (
            "Together they filled the basket with berries, nuts and mushrooms.",
            "{N} filled the basket with berries and gave {M} the biggest ones.",
        ),
        (
            "They had a picnic under a tree, and nobody was hungry any more.",
            "There was enough left to make jam for the winter.",
        ),
        "{N} filled it with berries and shared them with {M} the {F}.",
    ),
    "mirror": Plot(
        "One clear morning",
        "by the lake",
        ("cat", "crow", "mole", "pig"),
        "felt ugly and sad",
        ('"Nobody likes the way I look," said {M}.', '"I wish I were somebody else," said {M}.'),
        (
            '"I see a kind face in the mirror," said {N}.',
            "{N} made a funny face in the mirror, and {M} began to laugh.",
        ),
        (
            "From then on, {M} smiled at the mirror every morning.",
            "A smile, they learned, makes every face beautiful.",
        ),
        "With it, {N} made {M} the {F} smile again.",
    ),
    "ribbon": Plot(
        "One fine day",
        "on a rose bush",
        ("tailor", "deer", "robin", "cat"),
        "was going to a party",
        ('"I have nothing to bring," said {M}.', '"I have no present," said {M}.'),
        (
            "{N} tied the ribbon around some wild flowers, and they looked wonderful.",
            "{N} baked a small cake and tied the ribbon around it.",
        ),
        (
            "It was the prettiest present of the day.",
            "They danced at the party until the moon came up.",
        ),
        "{N} tied it around a present for {M} the {F} to take to a party.",
    ),
    "whistle": Plot(
        "One misty morning",
        "on the path to the hills",
        ("dog", "boy", "duck", "hen"),
        "had lost a little brother",
        ('"He went into the trees and got lost," said {M}.', '"I have called and called," said {M}.'),
        (
            "{N} blew the whistle three times, and a small voice answered from the trees.",
            "{N} blew the whistle again and again, until the little one came running.",
        ),
        (
            "They all walked home together, singing.",
            "Now the little one never goes out without the whistle.",
        ),
        "{N} blew it until the little brother of {M} the {F} came back.",
    ),
    "compass": Plot(
        "One cold morning",
        "in the snow",
        ("wolf", "sailor", "knight", "horse"),
        "was walking in circles",
        ('"Every tree looks the same," said {M}.', '"Which way is north?" asked {M}.'),
        (
            '"North is this way," said {N}, with the compass in front.',
            "The compass pointed north, and they followed it step by step.",
        ),
        (
            "Before dark, they saw the lights of the village.",
            "With a good compass and a good friend, nobody stays lost for long.",
        ),
        "It showed {N} and {M} the {F} the way to the village.",
    ),
    "blanket": Plot(
        "One cold night",
        "in the old barn",
        ("cow", "badger", "mouse", "hedgehog"),
        "was shivering",
        ('"The wind bites my ears," said {M}.', '"I cannot sleep when I am cold," said {M}.'),
        (
            "{N} put the blanket around both of them, and soon they were warm.",
            "They sat under the blanket and told stories until the stars came out.",
        ),
        (
            "They slept until the sun was high.",
            "A blanket is warmest when it is shared.",
        ),
        "{N} shared it with {M} the {F}, and both were warm.",
    ),
    "umbrella": Plot(
        "One rainy morning",
        "by the garden gate",
        ("duck", "frog", "cat", "hen"),
        "was wet from head to toe",
        ('"I forgot that it was going to rain," said {M}.', '"My house is far away," said {M}.'),
        (
            "There was room for two, so they walked home under the umbrella.",
            "{N} opened the umbrella, and they jumped over every puddle on the way.",
        ),
        (
            "When the sun came out, they were almost sorry.",
            "Now they both hope for rain.",
        ),
        "{N} walked home under it with {M} the {F}.",
    ),
    "clock": Plot(
        "One winter evening",
        "in an old chest",
        ("turtle", "hen", "fox", "pig"),
        "was always late",
        ('"I missed my breakfast again," said {M}.', '"I never know what time it is," said {M}.'),
        (
            "{N} taught {M} to read the clock, hour by hour.",
            "{N} cleaned the clock and gave it to {M} as a present.",
        ),
        (
            "The next day, {M} was the first to arrive.",
            "Tick, tock, it sang, and {M} was never late again.",
        ),
        "With it, {N} helped {M} the {F} to be on time.",
    ),
    "broom": Plot(
        "One spring morning",
        "behind a blue door",
        ("badger", "hen", "owl", "bear"),
        "had a very dusty house",
        ('"I sneeze all day long," said {M}.', '"My visitors never stay," said {M}.'),
        (
            "{N} swept with the broom until every corner was clean.",
            "They took turns with the broom and sang while they worked.",
        ),
        (
            "Then they opened the windows and had tea in the sun.",
            "That evening, the house was as bright as a new coin.",
        ),
        "{N} used it to clean the house of {M} the {F}.",
    ),
    "hat": Plot(
        "One hot day",
        "on a fence",
        ("painter", "pig", "fox", "frog"),
        "wanted to do magic",
        ('"I only know one trick," said {M}.', '"But nobody comes to my show," said {M}.'),
        (
            "{N} reached into the hat and pulled out a long row of flowers.",
            "{M} waved a stick over the hat, and out came a white flower.",
        ),
        (
            "Everyone clapped, and {M} bowed twice.",
            "From then on, they had a magic show every Friday.",
        ),
        "{N} and {M} the {F} used it to put on a magic show.",
    ),
    "rope": Plot(
        "One stormy day",
        "in the harbour",
        ("knight", "farmer", "dog", "goat"),
        "had fallen into a deep hole",
        ('"Please help me out," said {M}.', '"It is too steep to climb," said {M}.'),
        (
            "{N} tied the rope to a tree and pulled {M} up.",
            "{N} let the rope down and pulled until {M} was safe.",
        ),
        (
            "They put a fence around the hole, so that nobody else could fall.",
            "That night, they had hot soup by the fire.",
        ),
        "With it, {N} pulled {M} the {F} out of a deep hole.",
    ),
    "kettle": Plot(
        "One frosty morning",
        "in an empty house",
        ("doctor", "bear", "otter", "squirrel"),
        "had a bad cold",
        ('"My nose is red and my feet are cold," said {M}.', '"I need something warm," said {M}.'),
        (
            "{N} put the kettle on the fire and made tea with honey.",
            "{N} filled the kettle with water and mint, and soon it began to sing.",
        ),
        (
            "After three cups, {M} felt much better.",
            "Nothing is better than a warm cup and a good friend.",
        ),
        "{N} made hot tea with it, and {M} the {F} soon felt better.",
    ),
    "letter": Plot(
        "One bright day",
        "in the long grass",
        ("mouse", "robin", "turtle", "horse"),
        "was waiting for news",
        ('"My sister has not written for a year," said {M}.', '"Nobody ever writes to me," said {M}.'),
        (
            "{N} saw the name on the letter and gave it to {M}.",
            "{N} read the letter aloud, and it was for {M}.",
        ),
        (
            'It said, "I am coming home on Sunday."',
            "{M} read it ten times and smiled every time.",
        ),
        "It was for {M} the {F}, and {N} was glad to bring it.",
    ),
    "scarf": Plot(
        "One snowy morning",
        "on a branch",
        ("robin", "hedgehog", "girl", "boy"),
        "had built a snowman",
        ('"The snowman looks cold," said {M}.', '"Something is missing," said {M}.'),
        (
            "{N} put the scarf around the snowman, and it seemed to smile.",
            "They tied the scarf around the snowman and gave it a carrot for a nose.",
        ),
        (
            "The snowman wore the scarf until the first warm day.",
            "When spring came, the scarf hung on the branch again.",
        ),
        "{N} and {M} the {F} gave it to a snowman.",
    ),
    "wagon": Plot(
        "One autumn morning",
        "beside the road",
        ("farmer", "horse", "pig", "mole"),
        "had too much to carry",
        ('"These pumpkins are too heavy," said {M}.', '"The market is so far away," said {M}.'),
        (
            "They filled the wagon with pumpkins, and {N} pulled while {M} pushed.",
            "{N} pulled the wagon up the hill, and they rode down the other side.",
        ),
        (
            "At the market, they sold every pumpkin but one, and that one became soup.",
            "Everybody clapped when they rolled into the market.",
        ),
        "With it, {N} and {M} the {F} took pumpkins to the market.",
    ),
}
