"""The built-in model's tokenizer: byte-level BPE that encodes anything, digits one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>")
PAD, EOS, BOS, TURN, TURN_END = range(len(SPECIAL))

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
