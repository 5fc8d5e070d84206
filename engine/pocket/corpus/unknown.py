"""What the built-in model cannot know or do: the material of the prompts that are off its map."""

from __future__ import annotations

from pocket.corpus.words import ANIMALS, FRUITS, OBJECTS, WORDS
from pocket.corpus.world import BEINGS, THING_FACTS


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", ";").split(";") if part.strip())


TOPICS = _split("""
the French Revolution; the Roman Empire; the Cold War; world history; the Middle Ages; ancient Egypt; the pyramids
the stock market; the price of gold; inflation; interest rates; taxes; bitcoin; the housing market; mortgages
quantum physics; relativity; black holes; gravity; electricity; magnetism; dark matter; the big bang; atoms; lasers
photosynthesis; evolution; genetics; vaccines; viruses; bacteria; cancer; diabetes; the human heart; the brain; DNA
climate change; global warming; earthquakes; volcanoes; hurricanes; the ocean; the solar system; the planet Mars
football; basketball; tennis; cricket; the Olympic games; the world cup; chess; poker; golf; ice hockey; baseball
jazz; opera; classical music; rock music; hip hop; the Beatles; Mozart; Shakespeare; Picasso; modern art; ballet
philosophy; democracy; communism; capitalism; the meaning of life; free will; ethics; religion; buddhism; the law
elections; the government; the president; parliament; the European Union; the United Nations; immigration
machine learning; neural networks; the internet; blockchain; cloud computing; Linux; JavaScript; databases; Rust
SQL; HTML; Docker; Kubernetes; Git; C++; Java; regular expressions; cryptography; operating systems; compilers
algebra; calculus; geometry; probability; statistics; prime numbers; the number pi; fractions; trigonometry
chocolate; coffee; wine; cheese; sushi; pizza; pasta; vegetarian food; baking powder; olive oil; green tea
cars; electric cars; airplanes; trains; rockets; satellites; ships of the navy; bicycles; motorcycles; bridges
Harry Potter; Star Wars; the Lord of the Rings; superheroes; movies; television; video games; comics; anime
yoga; meditation; sleep; headaches; the flu; vitamins; diets; weight loss; running a marathon; first aid
psychology; depression; dreams; love; marriage; friendship; money; happiness; fear; success; time travel; aliens
insurance; bank accounts; credit cards; job interviews; startups; marketing; management; real estate; pensions
Antarctica; the Amazon; the Sahara; Mount Everest; the Great Wall; Paris; New York; Tokyo; the moon landing
chemistry; water; oxygen; gold; plastic; nuclear power; solar energy; wind power; oil; steel; glass blowing
""")
ABOUT = _split("""
What is {}?; Tell me about {}.; Explain {}.; Explain {} to me.; What do you know about {}?; Describe {}.
How does {} work?; Why is {} important?; Give me some facts about {}.; Who invented {}?; What is the history of {}?
Can you explain {}?; I want to learn about {}.; Teach me about {}.; What are the basics of {}?; Do you like {}?
What do you think about {}?; Is {} good or bad?; Tell me something about {}.; Where can I learn about {}?
What is the best book about {}?; Who knows most about {}?; When did {} begin?; Help me understand {}.
Let us talk about {}.; Do you know {}?; {}
""")
COUNTRIES = _split("""
France; Germany; Spain; Italy; Japan; China; India; Brazil; Canada; Mexico; Egypt; Kenya; Norway; Sweden; Poland
Greece; Turkey; Russia; Peru; Chile; Argentina; Australia; Portugal; Austria; Ireland; Iceland; Morocco; Vietnam
Thailand; Korea; England; Scotland; the United States; Denmark; Finland; Hungary; Ukraine; Nigeria; Cuba; Nepal
""")
OF_COUNTRY = _split("""
What is the capital of {}?; Who is the president of {}?; How many people live in {}?; Where is {}?; How big is {}?
What language do they speak in {}?; What is the weather in {}?; What is the flag of {}?; Tell me about {}.
Who rules {}?; What do people eat in {}?; capital of {}; How far is {}?; What money do they use in {}?
What is the largest city of {}?; Is {} a nice place?; What is the history of {}?
""")
PERSONS = _split("""
Albert Einstein; Isaac Newton; Napoleon; Julius Caesar; Cleopatra; Marie Curie; Taylor Swift; Elvis Presley
Barack Obama; Donald Trump; Elon Musk; Steve Jobs; Bill Gates; Lionel Messi; Michael Jordan; Leonardo da Vinci
Beethoven; Bach; Goethe; Plato; Aristotle; Charles Darwin; Alan Turing; Ada Lovelace; Nelson Mandela; Gandhi
Abraham Lincoln; George Washington; Winston Churchill; Queen Victoria; Marilyn Monroe; Charlie Chaplin; Madonna
Vincent van Gogh; Galileo; Columbus; Buddha; Karl Marx; Sigmund Freud; Agatha Christie; Jane Austen; Linus Torvalds
""")
OF_PERSON = _split("""
Who is {}?; Who was {}?; When was {} born?; Tell me about {}.; What did {} do?; Where was {} born?; How old is {}?
Why is {} famous?; When did {} die?; What is {} known for?; Do you know {}?; {}; Did {} have children?
""")
QUESTIONS = _split("""
Who won the world cup in 2018?; Who won the game last night?; What is the speed of light?; Why is the sky blue?
How far away is the moon?; How hot is the sun?; What day is it today?; What time is it?; What year is it?
What is the weather today?; Will it rain tomorrow?; What is in the news?; Who wrote Hamlet?; Who painted the Mona Lisa?
How tall is Mount Everest?; What is the longest river?; How many planets are there?; When did the war end?
Who is the richest person in the world?; What is the population of the earth?; Who was the first man on the moon?
What is the boiling point of water?; How many bones are in the body?; What is the largest country?; Is there a god?
Why do we dream?; What is love?; What is the meaning of life?; How old is the universe?; Who discovered America?
What is the best phone?; How much does a car cost?; What is the price of bitcoin?; When is Easter this year?
How do airplanes fly?; Why is the sea salty?; How do magnets work?; What causes rain?; How is steel made?
What is the chemical formula of water?; Who invented the telephone?; Who built the pyramids?; Do aliens exist?
What is the fastest animal in the world?; What is the tallest building?; How many countries are there?
Which team is the best?; What is the best movie of all time?; Who sings this song?; What is a good joke?
Tell me a joke.; Tell me a riddle.; Sing me a song.; What is your favourite colour?; What is your favourite food?
How old are you?; Where do you live?; Are you married?; Can you see me?; Where am I?; What is my name?; Who am I?
""")
ADVICE = _split("""
What should I eat today?; What should I cook for dinner?; I feel sad.; I am bored.; I am hungry.; I am tired.
My head hurts.; I have a fever. What should I do?; Is this rash dangerous?; How do I lose weight?; How do I get rich?
How do I learn to swim?; How do I fix my car?; How do I tie a tie?; How do I find a job?; Should I buy a house?
Which phone should I buy?; What should I wear today?; Can you help me with my homework?; How do I make friends?
How do I sleep better?; Which stocks should I buy?; How do I stop smoking?; How do I learn French?; I lost my wallet.
Should I leave my job?; How do I talk to my boss?; What can I give my mother for her birthday?; Where should I travel?
How do I remove a stain?; How do I train for a race?; How do I plant a tomato?; How do I fix a broken window?
Is coffee bad for me?; How much water should I drink?; What is a good name for a baby?; How do I save money?
Can you book a flight for me?; Can you call a taxi?; Set an alarm for seven.; Turn on the light.; Play some music.
Open the browser.; Send a mail to my boss.; Remind me tomorrow.; Search the web.; Order a pizza.; Find a hotel.
Which medicine should I take?; How do I get a passport?; How do I open a bank account?; How do I write a will?
""")
DISHES = _split("""
lasagne; pancakes; bread; soup; an omelette; a cake; curry; fried rice; tomato sauce; an apple pie; risotto; tacos
goulash; a salad; roast beef; ice cream; dumplings; noodles; pizza; waffles; paella; a burger; cookies; jam; stew
""")
COOK = _split("""
How do I cook {}?; How do I make {}?; Give me a recipe for {}.; recipe for {}; What do I need for {}?
How long does it take to make {}?; Can you teach me to cook {}?; What goes well with {}?
""")
SUBJECTS = _split("""
love; the sea; autumn; my mother; war and peace; freedom; the city; winter; loneliness; my job; climate change
politics; history; the future; school; a holiday in Rome; the moon; music; art; healthy food; the economy; sports
technology; family; a summer day; our company; space; religion; travel; books; health; the night sky; the rain
""")
BIG = _split("""
Write a poem about {}.; Write an essay about {}.; Write a song about {}.; Write an article about {}.; Write a novel.
Write a speech about {}.; Write an email to my boss about {}.; Give me a summary of a book about {}.
Write a report on {}.; Make a plan for a course about {}.; Write ten pages about {}.; Write a blog post about {}.
Compare two books about {}.; Write a haiku about {}.; Write a film script about {}.; Translate a text about {}.
Make a presentation about {}.; Write a letter to the mayor about {}.; Write a rap about {}.; Invent a game about {}.
Write a play about {}.; Give me ten ideas about {}.; Write a business plan about {}.; Make a table about {}.
""")
PROGRAMS = _split("""
a web server; a chess game; a compiler; a website; a database; an app for my phone; a neural network; a web scraper
a calculator with windows; a snake game; a chat program; an operating system; a sudoku solver; a text editor
a login page; a spell checker; a weather app; a search engine; a file backup; a password manager; a music player
""")
PROGRAM = _split("""
Write {} in Python.; Write {} in Rust.; Write {} in Java.; Write {} in C.; Program {} for me.; Build {}.; Code {}.
Can you write {}?; Write me {} in JavaScript.; How do I program {}?; Fix the bug in {}.; Design {}.
""")
TEXTS = _split("""
the meeting will start at ten; the sales were good this year; the patient felt better; our train was late again
the committee accepted the report; the weather will be fine; the results are not clear; she opened the letter slowly
the new law was passed in May; the team lost the match; we have to cut costs; the house was built long ago
the river had flooded the town; nobody knew the answer; the experiment failed twice; please pay the bill
""")
WITH_TEXT = _split("""
Summarize this: {}.; Translate this into German: {}.; Translate into French: {}.; Correct this sentence: {}.
Make this sound better: {}.; Rewrite this text: {}.; What does this mean: {}?; Shorten this text: {}.
How do you say this in Spanish: {}?; Check the grammar: {}.; Translate to Italian: {}.; What is this about: {}?
{}. What is this about?; Summarize: {}.; Continue this text: {}.; Find the mistake: {}.
""")
CREATURES = _split("""
walrus; penguin; giraffe; elephant; tiger; lion; zebra; whale; shark; dolphin; kangaroo; koala; panda; crocodile; snake
spider; eagle; parrot; camel; monkey; gorilla; jellyfish; octopus; lobster; salmon; ostrich; peacock; flamingo; hippo
rhino; moose; llama; bat; bee; ant; butterfly; lizard; dinosaur; dragon; robot; wizard; pirate; mermaid; zombie
vampire; detective; alien; ghost; ninja; witch; giant; astronaut; princess; policeman; lawyer; king; monster; soldier
beaver; seal; raccoon; swan; stork; falcon; worm; snail; hamster; donkey; leopard; cheetah; buffalo; pigeon; goose
""")
DEVICES = _split("""
spaceship; laptop; sword; motorbike; guitar; submarine; telescope; camera; computer; phone; television; rocket
helicopter
microscope; fridge; piano; violin; bicycle; tractor; hammer; knife; fork; bottle; pillow; lamp; candle; crown; diamond
treasure; castle; balloon; skateboard; toaster; battery; engine; screwdriver; tent; backpack; wallet; passport; robot
""")
# Words that are known from lists only: nothing is known about what they name.
ONLY_LISTED = tuple(word for word in ANIMALS + FRUITS + OBJECTS if word not in BEINGS and word not in THING_FACTS)
STRANGERS = tuple(dict.fromkeys(CREATURES + DEVICES + ONLY_LISTED))
OF_STRANGER = _split("""
What is {a}?; Tell me about {w}s.; Describe {a}.; What does {a} eat?; Where does {a} live?; What is {a} for?
What is {a} used for?; What is {a} made of?; What does {a} look like?; What sound does {a} make?; What are {w}s?
What do you know about {w}s?; What do {w}s eat?; Where do {w}s live?; What does {a} do?; {w}; What is special about {a}?
""")
STORY_OF = _split("""
Tell me a story about {}.; Please tell me a story about {}.; Tell me a short story about {}.; Write a story about {}.
Write a short story about {}.; Can you tell me a story about {}?; I would like a story about {}.
A story about {}, please.; Make up a story about {}.; Do you know a story about {}?; Could you write a story about {}?
""")
FOREIGN = _split("""
Was ist {}?; Wie geht es dir?; Wer bist du?; Guten Tag!; Kannst du mir helfen?; Erzaehl mir eine Geschichte.
Wo ist {}?; Ich suche {}.; Wie viel kostet {}?; Was kannst du?; Ich verstehe das nicht.; Warum ist {} so teuer?
Was bedeutet {}?; Schreib mir etwas ueber {}.; Sprichst du Deutsch?; Guten Morgen, wie geht's?; Erkl\u00e4re mir {}.
Bonjour!; Comment allez-vous?; Qu'est-ce que c'est, {}?; Ou est {}?; Je cherche {}.; Combien coute {}?
Raconte-moi une histoire.; Je ne comprends pas.; Parlez-vous francais?; Pourquoi {}?; Qui es-tu?; O\u00f9 est {}?
Hola!; Como estas?; Que es {}?; Donde esta {}?; Busco {}.; Cuanto cuesta {}?; Cuentame una historia.; No entiendo.
Hablas espanol?; Por que {}?; Quien eres?; \u00bfQu\u00e9 es {}?; Ciao!; Come stai?; Che cosa e {}?; Dove si trova {}?
Quanto costa {}?; Raccontami una storia.; Non capisco.; Parli italiano?; Hur mar du?; Vad ar {}?; Hvor er {}?
""")
FOREIGN_WORDS = _split("""
das Haus; der Bahnhof; ein Hund; die Katze; das Wetter; mein Buch; der Zug; die Arbeit; das Leben; ein Brot; Wasser
la maison; la gare; un chien; le chat; le temps; mon livre; le train; le travail; la vie; du pain; l'eau; la mer
la casa; la estacion; un perro; el gato; el tiempo; mi libro; el tren; el trabajo; la vida; el pan; el agua; el mar
la stazione; un cane; il gatto; il libro; il treno; il lavoro; la vita; il pane; il mare; ett hus; en bok; la luna
""")
SALAD = _split("""
the; of; and; blue; seven; run; under; because; never; spoon; very; lantern; eats; fox; green; slowly; was; if; cloud
table; jump; with; loud; paper; yes; between; corner; river; happy; walk; window; then; two; cold; sing; bread; over
not
machine; purple; my; train; often; glass; up; silver; think; door; three; almost; wind; sleeps; number; button; old
stone
""")
# Of lists to sort or to turn round: words that are in no list of the corpus.
MORE_WORDS = _split("""
zoo; yak; yarn; zero; yoga; violet; vase; van; uncle; turnip; truck; toast; thunder; tea; tape; syrup; summer; sugar
stairs; soap; sock; skirt; ship; shark; sand; salt; sail; rose; roof; ring; rice; radio; queen; quilt; potato; pony
planet; pizza; piano; pepper; paper; paint; pants; oyster; oven; onion; ocean; oak; nut; nose; net; nest; needle
mud; mountain; monkey; milk; metal; meat; math; mask; mango tree; magnet; lunch; lobster; lizard; lily; leaf; lake
juice; jelly; jeans; jacket; island; insect; ink; ice; ham; guitar; grass; gold; glue; glass; gate; fruit; forest
foot; finger; field; fence; feather; farm; fan; eye; engine; elbow; eagle; ear; dust; dress; desk; dance; daisy
crown; cotton; corn; coin; cloud; clock; city; circle; church; chess; chain; cave; castle; carrot; candle; camera
button; butter; bus stop; brush; bridge; bread; branch; bottle; boot; bone; blood; beach; beard; bath; bag; baby
arrow; arm; apron; angle; anchor; alarm; airport; air; acorn; actor; alpha; beta; gamma; delta; python; rust; java
berlin; london; paris; tokyo; monday; tuesday; friday; january; march; april; june; alice; bob; carol; dave; eve
""")
UNLISTED = tuple(
    dict.fromkeys(word for word in (*CREATURES, *DEVICES, *MORE_WORDS) if word not in WORDS and " " not in word)
)
LETTER_GAMES = _split("""
Reverse the word {}.; Spell {} backwards.; Write {} backwards.; How do you spell {}?; How many letters has {}?
How many letters are in {}?; What rhymes with {}?; Give me a word that rhymes with {}.; What is the plural of {}?
What is {} in German?; Is {} a noun?; Where does the word {} come from?; Make an anagram of {}.; Read the word {}.
""")
WISHES = _split("""
sorts a list of names; merges two lists; finds the shortest path; reads a file; downloads a page; parses JSON
prints the time; draws a circle; shuffles a deck of cards; removes duplicates from a list; computes the square root
finds all primes below n; converts a number to binary; counts the letters of each word; splits a text into sentences
solves a quadratic equation; multiplies two matrices; checks a password; sends an email; plays a sound
computes the median; finds the greatest common divisor; flattens a nested list; inverts a dictionary; rolls two dice
converts roman numerals; computes a hash; opens a window; searches a text for a pattern; validates an address
sorts with bubble sort; computes compound interest; prints a christmas tree; translates a word; compresses a string
""")
