"""The tokenizer: anything comes back as it went in, and words that become tokens change nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pocket import tokenizer as tokenization
from pocket.corpus.lists import GROUPS
from pocket.corpus.words import WORDS
from tests.pocket.test_built_in import TOKENIZER

WORDS_ADDED = (" star", "star", " kiwi", "kiwi")
PLAIN = tokenization.train(iter(["the start of a story about a star", "a kite and a kit", "stars"]), 290)
WIDER = tokenization.with_words(PLAIN, WORDS_ADDED, 400)

parts = st.one_of(st.sampled_from(["star", "kiwi", " star", "start", " kiwis"]), st.text())
text_with_words = st.lists(parts).map("".join)


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def test_each_word_is_one_token_of_the_wider_tokenizer() -> None:
    assert [len(ids(WIDER, word)) for word in WORDS_ADDED] == [1, 1, 1, 1]
    assert any(len(ids(PLAIN, word)) > 1 for word in WORDS_ADDED)


@given(text_with_words)
def test_the_new_tokens_are_what_the_old_ones_make_together(text: str) -> None:
    assert WIDER.decode(ids(WIDER, text)) == text
    cut = [ids(PLAIN, WIDER.decode([i])) if i >= PLAIN.get_vocab_size() else [i] for i in ids(WIDER, text)]
    assert [i for pieces in cut for i in pieces] == ids(PLAIN, text)


def test_the_vocabulary_ends_where_it_should() -> None:
    size = PLAIN.get_vocab_size() + 2
    small = tokenization.with_words(PLAIN, WORDS_ADDED, size)
    assert small.get_vocab_size() == size
    assert tokenization.with_words(small, WORDS_ADDED, size).to_str() == small.to_str()


def test_a_word_that_the_pre_tokenizer_cuts_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one word"):
        tokenization.with_words(PLAIN, ["a b"], 400)


def test_the_words_of_lists_are_the_most_important_ones() -> None:
    found = list(tokenization.important_words(["Hello there, there"]))
    listed = len(found) - 2
    assert found[listed:] == [" there", "Hello"]
    assert set(WORDS) | {f" {word}" for word in WORDS} <= set(found[:listed])


def test_every_word_of_a_list_is_one_token_of_the_shipped_tokenizer() -> None:
    items = [item for group in GROUPS.values() for item in group]
    texts = [*WORDS, *(f" {word}" for word in (*WORDS, *items) if " " not in word)]
    assert [text for text in texts if len(ids(TOKENIZER, text)) > 1] == []


def test_a_tokenizer_of_the_corpus_has_its_words() -> None:
    made = tokenization.made_for_corpus(300, seed=1, vocab_size=1024)
    assert made.get_vocab_size() == 1024
    assert [len(ids(made, word)) for word in (" fig", "fox", " kiwi")] == [1, 1, 1]
