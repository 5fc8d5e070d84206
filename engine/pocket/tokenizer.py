"""The built-in model's tokenizer: byte-level BPE that encodes anything, digits one by one."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>")
PAD, EOS, BOS, TURN, TURN_END = range(len(SPECIAL))
WORD_TOKENS = 256  # how many tokens are for important words, and what these are merged from

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' }}"
    "{{ m['content'] | trim }}{{ '<turn|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>model\\n' }}{% endif %}"
)


def blank() -> Tokenizer:
    """An untrained tokenizer; every digit is a token of its own, so that sums are learned by digits."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def made_for_corpus(turns: int, seed: int, vocab_size: int) -> Tokenizer:
    """A tokenizer trained on `turns` turns of the corpus, in which its important words are tokens (`WORD_TOKENS`)."""
    learned = train(corpus_texts(turns, seed), vocab_size - WORD_TOKENS)
    return with_words(learned, important_words(corpus_texts(turns, seed)), vocab_size)


def train(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of at most `vocab_size` tokens, all 256 bytes among them."""
    tokenizer = blank()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def corpus_texts(count: int, seed: int) -> Iterator[str]:
    """Prompts and answers of `count` turns."""
    from pocket.conversations import draw_turn

    rng = random.Random(seed)
    for _ in range(count):
        turn = draw_turn(rng)
        yield f"{turn.prompt}\n{turn.answer}"


def with_words(tokenizer: Tokenizer, words: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer that has the words as tokens of their own too, as many of them as `vocab_size` tokens leave room for.

    The new merges stand behind all others, so that a text is cut as before unless one of the words is in it.

    Args:
        tokenizer: The tokenizer to add to; it stays as it is.
        words: The most important first; " fox" and "fox" are two.
        vocab_size: How many tokens there may be in the end.

    Raises:
        ValueError: A word that no merge can make a token of: the pre-tokenizer cuts it, or its beginning is a token
            that another merge makes.
    """
    for word in words:
        if len(tokenizer.pre_tokenizer.pre_tokenize_str(word)) > 1:
            raise ValueError(f"{word!r} is more than one word to this tokenizer")
        while len(pieces := tokenizer.encode(word, add_special_tokens=False).tokens) > 1:
            if tokenizer.get_vocab_size() >= vocab_size:
                return tokenizer
            tokenizer = _with_merge(tokenizer, pieces[0], pieces[1])
    return tokenizer


def _with_merge(tokenizer: Tokenizer, left: str, right: str) -> Tokenizer:
    """A tokenizer with one token more, that of these two together."""
    layout = json.loads(tokenizer.to_str())
    vocabulary = layout["model"]["vocab"]
    if left + right in vocabulary:
        raise ValueError(f"{left + right!r} is a token already, by another merge")
    vocabulary[left + right] = len(vocabulary)
    layout["model"]["merges"].append([left, right])
    return Tokenizer.from_str(json.dumps(layout))


def important_words(texts: Iterable[str]) -> Iterator[str]:
    """The words that should be one token each: those of lists, then those of the texts, the most frequent first.

    Where a word of a list stands on a canvas depends on the lengths of all before it; of one token each, on how many
    stand before it. The first word of an answer has no blank before it.
    """
    from pocket.corpus.lists import GROUPS
    from pocket.corpus.words import WORDS

    yield from (f" {word}" for word in WORDS)
    yield from WORDS
    yield from (f" {item}" for items in GROUPS.values() for item in items if " " not in item)
    found = Counter(word for text in texts for word in re.findall(r" ?[A-Za-z]{3,}", text))
    yield from (word for word, _ in sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


class ChatTokenizer:
    """A tokenizer with the pieces of the chat template as ids. The same text gives the same ids, so they are kept."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.newline: list[int] = tokenizer.encode("\n").ids

    @classmethod
    def load(cls, path: Path) -> ChatTokenizer:
        return cls(Tokenizer.from_file(str(path)))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens written out in it stay text."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def turn(self, role: str, content: str) -> list[int]:
        """A whole turn: `<|turn>role\\ncontent<turn|>\\n`."""
        return [TURN, *self.encode(f"{role}\n{content}"), TURN_END, *self.newline]

    def opening(self) -> list[int]:
        """What precedes the model's answer: `<|turn>model\\n`."""
        return [TURN, *self.encode("model\n")]
