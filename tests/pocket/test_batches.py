"""Rows, canvases and noise of the training batches."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket import tokenizer as tokenization
from pocket.batches import Plan, add_noise, choose, draw_batch, fill_row, holes, loss_weights
from pocket.conversations import Canvas, answer_canvases, draw_turns, encode_turns
from pocket.corpus import TASKS, Turn
from pocket.infill import cut, draw_hole, draw_infill, prompt_of
from pocket.tokenizer import BOS, EOS, TURN_END, ChatTokenizer

CANVAS = 64


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer(tokenization.train(tokenization.corpus_texts(1500, seed=0), vocab_size=768))


@given(st.text(max_size=80))
def test_the_tokenizer_gives_back_any_text(text: str) -> None:
    tokenizer = ChatTokenizer(BYTES)
    written = text if not any(token in text for token in tokenization.SPECIAL) else "plain"
    assert tokenizer.decode(tokenizer.encode(written)) == written


BYTES = tokenization.train(iter(["a few words 12 34"]), vocab_size=300)


def test_digits_are_tokens_of_their_own(tokenizer: ChatTokenizer) -> None:
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode("12 + 345 = 357.")]
    assert [piece for piece in pieces if piece.strip().isdigit()] == list("12345357")


def test_a_conversation_is_what_the_chat_template_renders(tokenizer: ChatTokenizer) -> None:
    from transformers import PreTrainedTokenizerFast

    reference = PreTrainedTokenizerFast(tokenizer_object=tokenizer.tokenizer, bos_token="<bos>", eos_token="<eos>")
    reference.chat_template = tokenization.CHAT_TEMPLATE
    turns = draw_turns(random.Random(4), 5)
    messages = [{"role": "system", "content": "Be kind."}]
    for turn in turns:
        messages += [{"role": "user", "content": turn.prompt}, {"role": "assistant", "content": turn.answer}]
    expected = reference.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert encode_turns(tokenizer, turns, CANVAS, "Be kind.").ids == expected


@given(answer=st.lists(st.integers(5, 300), min_size=1, max_size=200), start=st.integers(1, 50))
def test_canvases_tile_an_answer_and_are_filled_with_end_of_text(answer: list[int], start: int) -> None:
    whole = [*answer, TURN_END]
    canvases = answer_canvases(start, whole, CANVAS)
    assert [item.start for item in canvases] == [start + number * CANVAS for number in range(len(canvases))]
    joined = [token for item in canvases for token in item.target]
    assert joined[: len(whole)] == whole and set(joined[len(whole) :]) <= {EOS}
    assert all(len(item.target) == CANVAS for item in canvases)


@pytest.mark.parametrize("packed", [True, False])
def test_rows_are_full_and_their_canvases_stand_where_the_row_has_their_text(
    tokenizer: ChatTokenizer, packed: bool
) -> None:
    plan = Plan(rows=1, length=512, canvases=4, packed=packed)
    for seed in range(10):
        ids, documents, canvases = fill_row(random.Random(seed), tokenizer, plan, CANVAS)
        assert len(ids) == len(documents) == plan.length and ids[0] == BOS
        assert (len(set(documents)) == 1) == (not packed)
        for item in canvases:
            inside = ids[item.start : item.start + CANVAS]
            text = item.target[: item.target.index(EOS)] if EOS in item.target else item.target
            assert inside[: len(text)] == text[: len(inside)]


def test_what_the_prompt_settles_is_marked_in_a_row(tokenizer: ChatTokenizer) -> None:
    """A story is one of many; a sum has one answer."""
    story, total = (TASKS[name].sample(random.Random(3), False) for name in ("story", "sum"))
    sample = encode_turns(tokenizer, [story, total], CANVAS)
    marks = {tokenizer.decode(item.target).strip(): item.settled for item in sample.canvases}
    assert marks.pop(total.answer) is True and marks and not any(marks.values())
    plan = Plan(rows=1, length=512, canvases=4, packed=True)
    rows = [fill_row(random.Random(seed), tokenizer, plan, CANVAS)[2] for seed in range(8)]
    assert {item.settled for canvases in rows for item in canvases} == {True, False}


def test_choose_takes_each_canvas_once_before_any_twice() -> None:
    canvases = [Canvas(number, [0]) for number in range(3)]
    starts = [item.start for item in choose(random.Random(0), canvases, 7)]
    assert sorted(starts[:3]) == sorted(starts[3:6]) == [0, 1, 2] and len(starts) == 7


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_noise_falls_in_the_hole_only_and_the_noisier_canvas_holds_more_of_it(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.full((8, CANVAS), -1)  # no drawn id equals it
    free = torch.rand(8, CANVAS, generator=generator) < 0.5
    free[0] = True
    noisy, noisier = add_noise(target, free, 300, generator)
    assert (noisy[~free] == -1).all() and (noisier[~free] == -1).all()
    assert ((noisy != -1) <= (noisier != -1)).all()
    assert int(noisy.max()) < 300


def test_noise_levels_reach_from_nothing_to_everything() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.full((2000, CANVAS), -1)
    noisy, _ = add_noise(target, torch.ones_like(target, dtype=torch.bool), 300, generator)
    level = (noisy != -1).float().mean(1)
    assert 0.08 < float((level == 1).float().mean()) < 0.2
    assert float(level.min()) < 0.05 and 0.57 < float(level.mean()) < 0.67


def test_the_fill_behind_an_answer_weighs_little() -> None:
    target = torch.tensor([[9, TURN_END, EOS, EOS, EOS]])
    assert loss_weights(target).tolist() == [[1.0, 1.0, 1.0, *[pytest.approx(0.1)] * 2]]


@given(seed=st.integers(0, 10_000))
def test_spans_without_a_hole_of_their_own_are_inside_the_answer(seed: int) -> None:
    free = holes(random.Random(seed), Canvas(0, [7] * 10 + [TURN_END] + [EOS] * 53))
    assert all(free) or (any(free) and not any(free[36:]))


@given(seed=st.integers(0, 10_000), words=st.lists(st.text("abc\n", min_size=1), min_size=1).map(" ".join))
def test_a_cut_loses_nothing(seed: int, words: str) -> None:
    if not words.strip():
        return
    before, inside, after = cut(random.Random(seed), words)
    assert before + inside + after == words and inside.strip()


def test_an_infill_sample_shows_both_sides_clean_and_asks_for_the_hole(tokenizer: ChatTokenizer) -> None:
    for seed in range(50):
        sample = draw_infill(random.Random(seed), tokenizer, CANVAS)
        canvas = sample.canvases[0]
        assert canvas.free is not None and any(canvas.free)
        first, last = canvas.free.index(True), len(canvas.free) - canvas.free[::-1].index(True)
        assert all(canvas.free[first:last])
        row = sample.ids[canvas.start : canvas.start + CANVAS]
        assert canvas.target[: len(row)] == row
        assert first <= 16


def test_the_prompt_of_an_infill_marks_the_old_words() -> None:
    hole = draw_hole(random.Random(3), "One two three four.", "Five six seven.")
    prompt = prompt_of(hole, "shorter")
    assert f"{hole.before}\u27e6{hole.old}\u27e7{hole.after}" in prompt
    assert "Instruction: shorter\n" in prompt


def test_a_batch_has_the_shapes_of_its_plan(tokenizer: ChatTokenizer) -> None:
    plan = Plan(rows=2, length=192, canvases=3, packed=True)
    vocab = tokenizer.tokenizer.get_vocab_size()
    batch = draw_batch(random.Random(1), torch.Generator().manual_seed(1), tokenizer, plan, CANVAS, vocab)
    assert batch.ids.shape == batch.documents.shape == (2, 192)
    assert batch.target.shape == batch.noisy.shape == batch.noisier.shape == batch.weight.shape == (6, CANVAS)
    assert batch.rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert int(batch.starts.max()) <= 192 and int(batch.starts.min()) > 0
    assert isinstance(draw_turns(random.Random(0), 1)[0], Turn)
