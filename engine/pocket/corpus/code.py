"""Tasks with code: small Python functions, what they do, and how they are called."""

from __future__ import annotations

import ast
import functools
import random
import re
from dataclasses import dataclass

from pocket.corpus.base import Task, Turn, is_held_out
from pocket.corpus.phrasing import phrase, plain
from pocket.corpus.running import Refused, parse_restricted, run_function, same

FENCED = re.compile(r"```(?:python|py)?[ ]*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True)
class Kind:
    """A small function that people ask for. In every text, N stands for the kind's number, where it has one.

    Attributes:
        name: The kind's name, also the function's name in the answer.
        wishes: What the function should do, to go after "a function that".
        code: The function.
        explanation: One sentence that says what it does.
        inputs: Arguments for which another function must give the same results as `code`.
        example: Arguments of a call whose result is easy to tell, as source; empty where there is none.
    """

    name: str
    wishes: tuple[str, ...]
    code: str
    explanation: str
    inputs: tuple[tuple[object, ...], ...]
    example: str = ""

    @property
    def has_number(self) -> bool:
        """Whether the kind comes with a number from 2 to 99."""
        return "N" in self.name


NUMBERS = ((0,), (1,), (5,), (12,), (40,), (99,), (100,), (-3,))
LISTS = (([3, 1, 2],), ([5],), ([4, 9, 4, 7],), ([0, 2, 1, 8, 3, 5],))
TEXTS = (("fox",), ("banana",), ("a",), ("hello you",), ("level",))
PAIRS = ((1, 2), (7, 3), (4, 4), (0, 9), (12, 5))

KINDS = (
    Kind(
        "add_N",
        ("adds N to a number", "returns a number plus N", "adds N to its argument"),
        "def add_N(n):\n    return n + N",
        "It takes a number n and returns n plus N.",
        NUMBERS,
        "10",
    ),
    Kind(
        "subtract_N",
        ("subtracts N from a number", "takes N away from a number", "returns a number minus N"),
        "def subtract_N(n):\n    return n - N",
        "It takes a number n and returns n minus N.",
        NUMBERS,
    ),
    Kind(
        "multiply_by_N",
        ("multiplies a number by N", "returns N times a number", "multiplies by N"),
        "def multiply_by_N(n):\n    return n * N",
        "It takes a number n and returns n times N.",
        NUMBERS,
        "10",
    ),
    Kind(
        "divide_by_N",
        ("divides a number by N", "returns a number divided by N"),
        "def divide_by_N(n):\n    return n / N",
        "It takes a number n and returns n divided by N.",
        NUMBERS,
    ),
    Kind(
        "larger_than_N",
        ("checks whether a number is larger than N", "tells if a number is above N", "checks if n is larger than N"),
        "def larger_than_N(n):\n    return n > N",
        "It returns True if n is larger than N, else False.",
        NUMBERS,
        "100",
    ),
    Kind(
        "smaller_than_N",
        ("checks whether a number is smaller than N", "tells if a number is below N"),
        "def smaller_than_N(n):\n    return n < N",
        "It returns True if n is smaller than N, else False.",
        NUMBERS,
        "100",
    ),
    Kind(
        "repeat_N",
        ("repeats a word N times", "repeats a text N times", "returns a word N times"),
        "def repeat_N(word):\n    return word * N",
        "It takes a word and returns it N times in a row.",
        TEXTS,
    ),
    Kind(
        "remainder_N",
        ("returns the remainder after dividing by N", "gives the remainder of a number divided by N"),
        "def remainder_N(n):\n    return n % N",
        "It takes a number n and returns the remainder of n divided by N.",
        NUMBERS,
    ),
    Kind(
        "divisible_by_N",
        ("checks whether a number is divisible by N", "tells if a number can be divided by N"),
        "def divisible_by_N(n):\n    return n % N == 0",
        "It returns True if n can be divided by N, else False.",
        NUMBERS,
        "0",
    ),
    Kind(
        "first_N",
        ("returns the first N items of a list", "takes the first N items of a list"),
        "def first_N(items):\n    return items[:N]",
        "It takes a list and returns its first N items.",
        tuple((list(range(length)),) for length in (0, 3, 40, 120)),
    ),
    Kind(
        "double",
        ("doubles a number", "returns twice a number", "returns the double of a number"),
        "def double(n):\n    return n * 2",
        "It takes a number n and returns two times n.",
        NUMBERS,
        "5",
    ),
    Kind(
        "square",
        ("squares a number", "returns the square of a number"),
        "def square(n):\n    return n * n",
        "It takes a number n and returns n times n.",
        NUMBERS,
        "4",
    ),
    Kind(
        "is_even",
        ("checks whether a number is even", "tells if a number is even", "checks if n is even"),
        "def is_even(n):\n    return n % 2 == 0",
        "It returns True if n is even, else False.",
        NUMBERS,
        "4",
    ),
    Kind(
        "is_odd",
        ("checks whether a number is odd", "tells if a number is odd", "checks if n is odd"),
        "def is_odd(n):\n    return n % 2 == 1",
        "It returns True if n is odd, else False.",
        NUMBERS,
        "7",
    ),
    Kind(
        "larger",
        ("returns the larger of two numbers", "returns the bigger of two numbers", "gives the maximum of two numbers"),
        "def larger(a, b):\n    return a if a > b else b",
        "It takes two numbers and returns the larger one.",
        PAIRS,
        "3, 8",
    ),
    Kind(
        "smaller",
        ("returns the smaller of two numbers", "gives the minimum of two numbers"),
        "def smaller(a, b):\n    return a if a < b else b",
        "It takes two numbers and returns the smaller one.",
        PAIRS,
        "3, 8",
    ),
    Kind(
        "add",
        ("adds two numbers", "returns the sum of two numbers"),
        "def add(a, b):\n    return a + b",
        "It takes two numbers and returns their sum.",
        PAIRS,
        "2, 3",
    ),
    Kind(
        "area",
        ("returns the area of a rectangle", "computes the area of a rectangle"),
        "def area(width, height):\n    return width * height",
        "It multiplies the width by the height and returns the area.",
        PAIRS,
        "2, 3",
    ),
    Kind(
        "total",
        ("returns the sum of a list", "adds up a list of numbers", "sums a list"),
        "def total(numbers):\n    return sum(numbers)",
        "It takes a list of numbers and returns their sum.",
        LISTS,
        "[1, 2, 3]",
    ),
    Kind(
        "average",
        ("returns the average of a list", "computes the mean of a list of numbers"),
        "def average(numbers):\n    return sum(numbers) / len(numbers)",
        "It divides the sum of the numbers by how many there are.",
        LISTS,
    ),
    Kind(
        "largest",
        ("returns the largest number of a list", "finds the biggest number in a list"),
        "def largest(numbers):\n    return max(numbers)",
        "It takes a list of numbers and returns the largest one.",
        LISTS,
        "[1, 2, 3]",
    ),
    Kind(
        "first_item",
        ("returns the first element of a list", "returns the first item of a list"),
        "def first_item(items):\n    return items[0]",
        "It takes a list and returns its first item.",
        LISTS,
        "[1, 2, 3]",
    ),
    Kind(
        "last_item",
        ("returns the last element of a list", "returns the last item of a list"),
        "def last_item(items):\n    return items[-1]",
        "It takes a list and returns its last item.",
        LISTS,
        "[1, 2, 3]",
    ),
    Kind(
        "reverse",
        ("reverses a string", "turns a word around", "reverses a word"),
        "def reverse(text):\n    return text[::-1]",
        "It takes a text and returns it backwards.",
        TEXTS,
    ),
    Kind(
        "is_palindrome",
        ("checks whether a word is a palindrome", "tells if a word reads the same backwards"),
        "def is_palindrome(word):\n    return word == word[::-1]",
        "It returns True if the word reads the same backwards, else False.",
        TEXTS,
        '"fox"',
    ),
    Kind(
        "count_vowels",
        ("counts the vowels in a word", "counts vowels", "returns the number of vowels in a text"),
        'def count_vowels(text):\n    return sum(c in "aeiou" for c in text)',
        "It counts how many letters of the text are vowels.",
        TEXTS,
        '"fox"',
    ),
    Kind(
        "count_words",
        ("counts the words in a text", "returns the number of words in a text"),
        "def count_words(text):\n    return len(text.split())",
        "It splits the text into words and returns how many there are.",
        TEXTS,
        '"fox"',
    ),
    Kind(
        "longest_word",
        ("returns the longest word of a list", "finds the longest word in a list"),
        "def longest_word(words):\n    return max(words, key=len)",
        "It takes a list of words and returns the longest one.",
        ((["fox", "rabbit", "wolf"],), (["a"],), (["bear", "goats", "cat"],)),
    ),
    Kind(
        "greet",
        ("greets a person", "says hello to a person", "greets someone by name"),
        'def greet(name):\n    return "Hello, " + name + "!"',
        "It takes a name and returns a greeting for that person.",
        (("Mia",), ("Tom",)),
    ),
    Kind(
        "is_prime",
        ("checks whether a number is prime", "checks if a number is prime", "tells if n is a prime number"),
        "def is_prime(n):\n    return n > 1 and all(n % i for i in range(2, n))",
        "It takes a number and tells whether nothing but 1 and itself divides it.",
        NUMBERS,
    ),
    Kind(
        "fibonacci",
        ("returns the nth Fibonacci number", "computes Fibonacci numbers", "gives the n-th fibonacci number"),
        "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
        "It takes n and returns the n-th number of the Fibonacci sequence.",
        ((0,), (1,), (2,), (7,), (10,)),
    ),
    Kind(
        "factorial",
        ("returns the factorial of a number", "computes the factorial of n"),
        "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)",
        "It multiplies all the whole numbers from 1 to n.",
        ((1,), (2,), (5,), (7,)),
        "3",
    ),
    Kind(
        "to_fahrenheit",
        ("converts celsius to fahrenheit", "turns degrees celsius into fahrenheit"),
        "def to_fahrenheit(c):\n    return c * 9 / 5 + 32",
        "It takes degrees celsius and returns degrees fahrenheit.",
        NUMBERS,
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}

REQUEST = (
    "Write a Python function that {wish}.",
    "Write a function that {wish}.",
    "Can you write a Python function that {wish}?",
    "I need a function that {wish}.",
    "Give me a Python function that {wish}.",
    "Show me a function that {wish}.",
    "Please write a Python function that {wish}.",
    "python function that {wish}",
)
EXPLAIN = (
    "Explain it.",
    "What does it do?",
    "Can you explain it?",
    "Explain this function.",
    "What does this function do?",
    "Explain the code.",
    "How does it work?",
)
USE = (
    "Show me how to use it.",
    "How do I use it?",
    "How do I call it?",
    "Give me an example.",
    "Show me an example.",
    "Can you show me how to use it?",
)


def filled(text: str, number: int) -> str:
    """The text of a kind with the number in the place of N."""
    return re.sub(r"(?<![A-Za-z])N(?![A-Za-z])", str(number), text)


def fenced(code: str) -> str:
    """The code as a fenced block of Markdown."""
    return f"```python\n{code}\n```"


@functools.cache
def example_call(kind_name: str, number: int) -> str:
    """A line that prints the result of calling the kind's function, with that result as a comment."""
    kind = BY_NAME[kind_name]
    code = filled(kind.code, number)
    arguments = ast.literal_eval(f"({kind.example},)")
    name = code[len("def ") : code.index("(")]
    result = run_function(code, [arguments])[0]
    return f"print({name}({kind.example}))  # {result}"


def code_turn(kind: Kind, number: int, ask: str, prompt: str) -> Turn:
    """The turn that asks for the kind's function ("code"), its explanation ("explain") or a call ("use")."""
    facts = {"kind": kind.name, "number": number, "ask": ask}
    if ask == "explain":
        return Turn("code", prompt, filled(kind.explanation, number), facts)
    code = filled(kind.code, number) if ask == "code" else example_call(kind.name, number)
    return Turn("code", prompt, fenced(code), facts)


def sample_code(rng: random.Random, held_out: bool) -> Turn:
    """Held out are numbers of kinds with a number, and ways of asking for the others."""
    while True:
        kind, number = rng.choice(KINDS), rng.randint(2, 99)
        wish, template = rng.choice(kind.wishes), rng.choice(REQUEST)
        combination = (kind.name, number) if kind.has_number else (kind.name, wish, template)
        if is_held_out("code", *combination) == held_out:
            break
    prompt = phrase(rng, (template,), wish=filled(wish, number))
    return code_turn(kind, number if kind.has_number else 0, "code", prompt)


def follow_code(rng: random.Random, turn: Turn, held_out: bool) -> Turn:
    """Ask what the function does or, where there is an example, how it is used."""
    kind = BY_NAME[turn.facts["kind"]]
    ask = "use" if kind.example and rng.random() < 0.4 else "explain"
    return code_turn(kind, turn.facts["number"], ask, phrase(rng, EXPLAIN if ask == "explain" else USE))


def only_block(text: str) -> str | None:
    """The code of the one fenced block of a text that says little else; None where there is no such block."""
    blocks = FENCED.findall(text)
    around = FENCED.sub("", text)
    if len(blocks) != 1 or "```" in around or len(around.split()) > 20:
        return None
    return str(blocks[0])


def check_code(turn: Turn, text: str) -> str | None:
    """Whether the text is what the turn asks for: a function that works, an explanation, or a call with its result."""
    kind, number, ask = BY_NAME[turn.facts["kind"]], turn.facts["number"], turn.facts["ask"]
    if ask == "explain":
        given, right = (re.findall(r"\w+", part.lower()) for part in (text, filled(kind.explanation, number)))
        return None if given == right else "not the explanation"
    block = only_block(text)
    if block is None:
        return "not one fenced block"
    return check_function(kind, number, block) if ask == "code" else check_call(kind, number, block)


def greets(said: object, name: str) -> bool:
    """Whether something is a text that greets by name; with which words is left open."""
    return isinstance(said, str) and name in said and bool(re.search(r"(?i)hello|\bhi\b|hey|welcome|good", said))


def inputs_near(kind: Kind, number: int) -> tuple[tuple[object, ...], ...]:
    """The kind's inputs and, where they are numbers, some that tell functions for N and N + 1 apart."""
    if not kind.has_number or kind.inputs is not NUMBERS:
        return kind.inputs
    return (*kind.inputs, (number - 1,), (number,), (number + 1,), (2 * number + 1,))


def check_function(kind: Kind, number: int, block: str) -> str | None:
    """Whether the code's last function gives the results of the kind's own on its inputs."""
    inputs = inputs_near(kind, number)
    try:
        expected = run_function(filled(kind.code, number), inputs)
        got = run_function(block, inputs)
    except Refused as refused:
        return str(refused)
    if kind.name == "greet":
        right = all(greets(said, str(name)) for said, (name,) in zip(got, inputs, strict=True))
    else:
        right = all(map(same, got, expected))
    return None if right else "wrong results"


def check_call(kind: Kind, number: int, block: str) -> str | None:
    """Whether the code is one call of the kind's function, printed, with its true result in a comment."""
    code = filled(kind.code, number)
    line = re.fullmatch(r"print\((.*)\)\s*#\s*(.*)", plain(block))
    if line is None:
        return "not one printed call with its result"
    name = code[len("def ") : code.index("(")]
    try:
        call = parse_restricted(line[1]).body
        if len(call) != 1 or not line[1].startswith(name + "("):
            return "calls another function"
        result = run_function(f"{code}\ndef call():\n    return {line[1]}", [()])[0]
    except Refused as refused:
        return str(refused)
    return None if line[2] == str(result) else "wrong result in the comment"


TASKS: list[Task] = [Task("code", 8, sample_code, check_code, follow_code)]
