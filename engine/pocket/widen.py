"""Gives trained weights a larger vocabulary: `python -m pocket.widen engine/dgengine/pocket out/wider --vocab 2304`.

A corpus that has grown has words that its tokenizer, made when it was smaller, cuts into pieces. Here such words become
tokens (`tokenizer.important_words`); each begins as the mean of the pieces that it was cut into, and training goes on
from there: the result is a checkpoint as `train` writes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import Tokenizer
from torch import Tensor

from pocket import tokenizer as tokenization
from pocket.average import read

TEXTS = 20_000  # turns whose words are counted
EMBEDDING = "embed_tokens.weight"


def widened_rows(rows: Tensor, old: Tokenizer, new: Tokenizer) -> Tensor:
    """The embedding [V, hidden] of `old` with rows for the tokens that `new` has beside them: means of their pieces."""
    more = [
        rows[old.encode(new.decode([number]), add_special_tokens=False).ids].mean(0)
        for number in range(len(rows), new.get_vocab_size())
    ]
    return torch.cat((rows, torch.stack(more))) if more else rows


def widened(checkpoint: dict[str, Any], old: Tokenizer, new: Tokenizer, seed: int) -> dict[str, Any]:
    """The checkpoint for the tokenizer `new`, whose first tokens are those of `old`; `seed` drew the texts for it."""
    size = new.get_vocab_size()
    rows = widened_rows(checkpoint["weights"][EMBEDDING], old, new)
    about = {
        "guide_sha256": checkpoint["about"]["guide_sha256"],
        "vocab": size,
        "texts": TEXTS,
        "seed": seed,
        "tokenizers": tokenizers.__version__,
        "resumed_from": checkpoint["about"],
    }
    return {
        "weights": checkpoint["weights"] | {EMBEDDING: rows},
        "shape": checkpoint["shape"] | {"vocab_size": size},
        "about": about,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="pocket.widen", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path, help="a training's output directory, or an exported model")
    parser.add_argument("target", type=Path, help="the directory to write")
    parser.add_argument("--vocab", type=int, default=2304)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    old = Tokenizer.from_file(str(options.source / "tokenizer.json"))
    words = tokenization.important_words(tokenization.corpus_texts(TEXTS, options.seed))
    new = tokenization.with_words(old, words, options.vocab)
    if new.get_vocab_size() != options.vocab:
        parser.error(f"there are {old.get_vocab_size()} tokens, and words for {new.get_vocab_size()}")
    options.target.mkdir(parents=True, exist_ok=True)
    torch.save(widened(read(options.source), old, new, options.seed), options.target / "checkpoint.pt")
    new.save(str(options.target / "tokenizer.json"))


if __name__ == "__main__":
    main()
