"""Chats to ids and ids to text, on two kinds of tokenizers."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgengine.chat import ChatTokenizer, EncodedChat
from dgengine.errors import ChatTemplateError, CheckpointError, EmptyPromptError, PromptTooLongError
from tests.engine.tiny import SPECIAL_TOKENS, tiny_chat_checkpoint, tiny_checkpoint

EOS = (1, 4)  # <eos> and <turn|>
STRIPPING_TEMPLATE = (
    "{% for m in messages %}{{ '<|turn>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{{ m['content'].split('<channel|>')[-1] | trim }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<turn|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>assistant\n' }}{% if enable_thinking %}{{ '<|channel>' }}{% endif %}"
    "{% endif %}"
)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(ids: list[int]) -> dict[str, Any]:
    return {"role": "assistant", "ids": ids}


@functools.cache
def byte_level() -> ChatTokenizer:
    return ChatTokenizer.load(tiny_chat_checkpoint(), EOS)


@functools.cache
def byte_fallback() -> ChatTokenizer:
    """Written like Gemma's: `▁` for a space, `<0xXX>` for bytes outside the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581", "a", "b", "ab", "\u2581ab"]
    words += ["<|turn>", "<turn|>", "<|channel>", "<channel|>", "<tool>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("\u2581", "ab")], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True) for t in ("<|turn>", "<turn|>", "<|channel>", "<channel|>")]
    )
    tokenizer.add_tokens([AddedToken("<tool>", special=False)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = STRIPPING_TEMPLATE
    return ChatTokenizer(fast, (1, vocabulary["<turn|>"]))


TOKENIZERS = pytest.mark.parametrize("make", [byte_level, byte_fallback], ids=["byte-level", "byte-fallback"])


# chats


@pytest.mark.parametrize("thinking", [False, True])
@TOKENIZERS
def test_a_chat_is_encoded_as_transformers_does(make: Any, thinking: bool) -> None:
    chat = make()
    messages = [user("ab a"), {"role": "assistant", "content": "b"}, user("is it 7?")]
    expected = chat._tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, enable_thinking=thinking, return_dict=False
    )
    assert chat.encode_chat(messages, thinking) == expected


def test_past_answers_keep_their_ids() -> None:
    """Ids that no tokenizer would give for their text, spliced where the template puts the answer."""
    chat = byte_level()
    odd = [chat._tokens(c)[0] for c in "The fox"]
    assert chat._tokens("The fox") != odd
    first = [user("one")]
    prompt = chat.encode_chat(first)
    second = chat.encode_chat([*first, assistant([*odd, 4]), user("two")])
    assert second[: len(prompt) + len(odd)] == prompt + odd
    assert chat.decode(second) == chat.decode(
        chat.encode_chat([*first, {"role": "assistant", "content": "The fox"}, user("two")])
    )


@given(ids=st.lists(st.integers(5, 300), max_size=20), end=st.sampled_from([[], [1], [4], [4, 1]]))
def test_what_ends_an_answer_is_left_to_the_template(ids: list[int], end: list[int]) -> None:
    chat = byte_level()
    turn_end = chat._tokens("<turn|>\n")
    encoded = chat.encode_chat([user("one"), assistant(ids + end), user("two")])
    start = len(chat.encode_chat([user("one")]))
    assert encoded[start : start + len(ids) + len(turn_end)] == ids + turn_end


def test_an_answer_may_carry_text_beside_its_ids() -> None:
    chat = byte_level()
    with_text = [user("one"), {"role": "assistant", "content": "other", "ids": [40, 41]}, user("two")]
    assert chat.encode_chat(with_text) == chat.encode_chat([user("one"), assistant([40, 41]), user("two")])


def test_thoughts_are_cut_from_past_ids_where_the_template_cuts_them() -> None:
    chat = byte_fallback()
    vocabulary = chat._tokenizer.get_vocab()
    thought = [vocabulary["<|channel>"], *chat._tokens("a b"), vocabulary["<channel|>"]]
    with_thought = chat.encode_chat([user("a"), assistant([*thought, *chat._tokens("ab")]), user("b")])
    assert with_thought == chat.encode_chat([user("a"), assistant(chat._tokens("ab")), user("b")])


def test_thoughts_are_told_from_the_answer() -> None:
    chat = byte_fallback()
    vocabulary = chat._tokenizer.get_vocab()
    opening, closing = vocabulary["<|channel>"], vocabulary["<channel|>"]
    thought, answer = chat._tokens("a b"), chat._tokens("ab")
    assert chat.split_thinking([opening, *thought, closing, *answer]) == (chat.decode(thought), chat.decode(answer))
    assert chat.split_thinking([opening, *thought]) == (chat.decode(thought), "")
    assert chat.split_thinking(answer) == ("", chat.decode(answer))
    assert byte_level().split_thinking([40, 41]) == ("", byte_level().decode([40, 41]))


def test_thoughts_stay_where_the_template_keeps_them() -> None:
    chat = byte_fallback()
    keeping = ChatTokenizer(chat._tokenizer, chat._eos)
    original = chat._tokenizer.chat_template
    chat._tokenizer.chat_template = original.replace(".split('<channel|>')[-1]", "")
    try:
        vocabulary = chat._tokenizer.get_vocab()
        ids = [vocabulary["<|channel>"], *chat._tokens("a"), vocabulary["<channel|>"], *chat._tokens("b")]
        encoded = keeping.encode_chat([user("a"), assistant(ids), user("b")])
    finally:
        chat._tokenizer.chat_template = original
    assert vocabulary["<|channel>"] in encoded


def long_chat(turns: int) -> list[dict[str, Any]]:
    chat = [{"role": "system", "content": "Be brief."}]
    for number in range(turns):
        chat += [user(f"question {number}"), assistant([50 + number] * 10)]
    return [*chat, user("the last one")]


@pytest.mark.parametrize("room", [60, 90, 130, 170, 210, 5000])
def test_a_chat_that_outgrows_its_room_loses_its_oldest_exchanges(room: int) -> None:
    chat = byte_level()
    messages = long_chat(6)
    encoded = chat.encode_chat(messages, room=room)
    assert len(encoded) <= room
    assert encoded.dropped % 2 == 0
    assert encoded == chat.encode_chat([messages[0], *messages[1 + encoded.dropped :]])
    if encoded.dropped:
        one_more = chat.encode_chat([messages[0], *messages[1 + encoded.dropped - 2 :]])
        assert len(one_more) > room - room // 8, "little more is left out than must be"
    text = chat.decode(encoded)
    assert "Be brief." in text
    assert "the last one" in text
    assert (encoded.dropped > 0) == (room < 5000)


def test_the_cut_stands_still_for_some_turns() -> None:
    """So that the cache can be used again: over many turns far fewer cuts than turns, and never one that moves back."""
    chat = byte_level()
    messages = long_chat(60)
    cuts = [chat.encode_chat(messages[: 2 * turn + 2], room=1000).dropped for turn in range(61)]
    assert cuts == sorted(cuts)
    assert cuts[-1] > 0
    beyond = [cut for cut in cuts if cut]
    assert len(set(beyond)) < len(beyond) / 2


def test_a_single_message_too_long_is_an_error() -> None:
    with pytest.raises(PromptTooLongError, match="shorten"):
        byte_level().encode_chat([user("one"), assistant([40]), user("word " * 100)], room=60)
    with pytest.raises(PromptTooLongError, match="shorten"):
        byte_level().encode_chat([user("word " * 100)], room=60)


def test_encoded_chats_are_lists() -> None:
    encoded = byte_level().encode_chat([user("a")])
    assert isinstance(encoded, list)
    assert encoded.dropped == 0
    assert EncodedChat([1, 2], 3) == [1, 2]


def test_what_a_chat_needs() -> None:
    chat = byte_level()
    with pytest.raises(EmptyPromptError):
        chat.encode_chat([])
    with pytest.raises(ChatTemplateError, match="Message 2"):
        chat.encode_chat([user("a"), {"role": "assistant"}])
    with pytest.raises(ChatTemplateError, match="no tokenizer"):
        ChatTokenizer.load(tiny_checkpoint())


def test_a_missing_or_refusing_template(tmp_path: Path) -> None:
    fast = byte_level()._tokenizer
    template = fast.chat_template
    try:
        fast.chat_template = None
        with pytest.raises(ChatTemplateError, match="no chat template"):
            byte_level().encode_chat([user("a")])
        fast.chat_template = "{{ raise_exception('roles must alternate') }}"
        with pytest.raises(ChatTemplateError, match="roles must alternate"):
            byte_level().encode_chat([user("a")])
        fast.chat_template = "{{ messages[-1]['content'] }}"
        with pytest.raises(ChatTemplateError, match="leaves a past answer out"):
            byte_level().encode_chat([user("a"), assistant([40]), user("b")])
    finally:
        fast.chat_template = template


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{nonsense")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        ChatTokenizer.load(tmp_path)


def test_loading_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.WARNING):
        ChatTokenizer.load(tiny_chat_checkpoint())
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# text


@TOKENIZERS
@given(text=st.text())
def test_text_survives_the_round_trip(make: Any, text: str) -> None:
    chat = make()
    plain = text
    for special in (*SPECIAL_TOKENS, "<unk>", "<|channel>", "<channel|>", "\u2581"):
        plain = plain.replace(special, "")
    assert chat.decode(chat.encode(plain)) == plain


@TOKENIZERS
@given(data=st.data())
def test_pieces_join_to_the_text(make: Any, data: st.DataObject) -> None:
    chat = make()
    ids = data.draw(st.lists(st.integers(0, len(chat._tokenizer) - 1), max_size=30))
    pieces = chat.pieces(ids)
    assert len(pieces) == len(ids)
    whole = chat.decode(ids)
    assert whole.startswith("".join(pieces))
    assert set(whole[len("".join(pieces)) :]) <= {"\ufffd"}


@given(ids=st.lists(st.integers(0, 319), max_size=30))
def test_decode_is_the_tokenizers(ids: list[int]) -> None:
    chat = byte_level()
    ids = [i for i in ids if i < len(chat._tokenizer)]
    assert chat.decode(ids) == chat._tokenizer.decode(ids, skip_special_tokens=True)


def test_a_character_over_several_tokens_belongs_to_the_last() -> None:
    chat = byte_fallback()
    ids = chat.encode("a\u00e9\U0001f98ab")
    assert chat.pieces(ids) == ["a", "", "\u00e9", "", "", "", "\U0001f98a", "b"]
    assert chat.pieces(ids[:2]) == ["a", ""]
    assert chat.decode(ids[:2]) == "a\ufffd"


def test_broken_bytes_are_shown_as_such() -> None:
    chat = byte_fallback()
    byte = {b: 3 + b for b in range(256)}
    assert chat.pieces([byte[0xC3], byte[0x41]]) == ["", "\ufffdA"]
    assert chat.pieces([byte[0xFF]]) == ["\ufffd"]


def test_special_tokens_are_no_text_and_added_ones_are() -> None:
    chat = byte_fallback()
    vocabulary = chat._tokenizer.get_vocab()
    assert chat.pieces([0, 1, vocabulary["<turn|>"], vocabulary["<tool>"], 10_000]) == ["", "", "", "<tool>", ""]
    assert vocabulary["<|turn>"] in chat.special_ids
