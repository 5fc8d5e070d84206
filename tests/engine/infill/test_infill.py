"""An infill from request to candidates, on the built-in model and on a random one with its tokenizer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgengine import (
    Block,
    Candidate,
    ChatTemplateError,
    Control,
    Done,
    Engine,
    Event,
    Hole,
    InfillError,
    InfillRequest,
    NumericsError,
    Prefill,
    Sampling,
    Session,
    Step,
)
from dgengine.infill.layout import remaining
from dgengine.infill.request import Length, Method
from tests.amounts import examples
from tests.engine.fakes import FakeModel
from tests.engine.infill.test_passage import codec

BEFORE = "Once there was a brave mouse named Mimi who lived in a hole in the wall. One windy morning, Mimi found"
SPAN = " a kite on the hill."
AFTER = ' Then along came a mole named Monty who looked very sad. "I wish I could touch the clouds," said Monty.'


class RandomModel(FakeModel):
    """A fake with the built-in model's vocabulary: wants a token of its own at each place, and reads nothing."""

    def __init__(self, sharpness: float = 25.0, canvas_length: int = 64, context: int = 4096) -> None:
        super().__init__(
            sharpness, canvas_length=canvas_length, vocab_size=engine().info.vocab_size, max_position_embeddings=context
        )  # fmt: skip

    def decode(self, canvas: torch.Tensor, cache: Any, self_conditioning: torch.Tensor | None = None) -> torch.Tensor:
        if canvas.ndim == 1:
            return super().decode(canvas, cache, self_conditioning)
        rows = []
        for number, row in enumerate(canvas):
            conditioning = None if self_conditioning is None else self_conditioning[number]
            rows.append(super().decode(row, cache, conditioning))
        return torch.stack(rows)

    def score(self, ids: torch.Tensor, cache: Any) -> torch.Tensor:
        return -torch.ones(len(ids)) - (ids % 7).float() / 7


@functools.cache
def engine() -> Engine:
    return Engine.load("pocket", device="cpu")


def session(model: RandomModel | None = None) -> Session:
    return Session(model or RandomModel(), {"eos_token_id": [1, 4], "max_denoising_steps": 6}, codec)


def run(request: InfillRequest, on: Session | None = None, **sampling: Any) -> list[Event]:
    return list((on or session()).infill(request, Sampling(seed=1, **sampling)))


def of(events: Sequence[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def request(**how: Any) -> InfillRequest:
    return InfillRequest.around(BEFORE, SPAN, AFTER, **how)


def test_events_come_in_order() -> None:
    events = run(request(method="pinned"))
    kinds = "".join(dict.fromkeys(type(event).__name__[0] for event in events))
    assert kinds == "PHSBCD" and isinstance(events[-1], Done)
    assert [c.rank for c in of(events, Candidate)] == list(range(1, len(of(events, Candidate)) + 1))
    assert len({c.replacements for c in of(events, Candidate)}) == len(of(events, Candidate)) <= 3
    holes = {hole.block: hole for hole in of(events, Hole)}
    for step in of(events, Step):
        (_, first, last) = holes[step.block].places[0]
        assert step.candidate == holes[step.block].candidate
        free = np.flatnonzero(~step.pinned)
        assert free.tolist() == list(range(first, last))
    assert {block.block for block in of(events, Block)} <= set(holes)


def test_both_sides_stand_on_every_canvas_that_the_model_reads() -> None:
    """Pinning, not splicing: whatever else is on a canvas, the text around the hole is, from the first pass on."""
    model = RandomModel(sharpness=3.0)
    events = run(request(method="pinned", length=6), session(model))
    assert of(events, Step) and len(model.canvases) == len(of(events, Step))
    before, after = codec().tokens(BEFORE), codec().tokens(AFTER)
    for canvas in model.canvases:
        assert canvas[:12] == before[-12:]
        assert canvas[18:][: len(after)] == after[: 64 - 18]
    read = [token for piece in model.encoded for token in piece]
    assert codec().decode(read).endswith(codec().decode(before[:-12]))
    for step in of(events, Step):
        assert step.canvas[:12].tolist() == before[-12:] == step.draft[:12].tolist()


def test_the_prompt_holds_both_sides_and_the_instruction() -> None:
    model = RandomModel()
    run(request(method="pinned", instruction="make it funny"), session(model))
    read = codec().decode(token for piece in model.encoded for token in piece)
    assert f"Instruction: make it funny\nText:\n{BEFORE}⟦{SPAN}⟧{AFTER}" in read


def test_without_sides_the_prompt_shows_the_span_alone() -> None:
    model = RandomModel()
    run(request(method="pinned", show_sides=False), session(model))
    read = codec().decode(token for piece in model.encoded for token in piece)
    assert f"Text:\n⟦{SPAN}⟧" in read


def test_no_control_token_ends_up_in_a_hole() -> None:
    model = RandomModel()
    events = run(request(method="pinned"), session(model))
    holes = {hole.block: hole.places[0] for hole in of(events, Hole)}
    for block in of(events, Block):
        _, first, last = holes[block.block]
        assert not set(block.tokens[first:last].tolist()) & codec().special_ids
    for candidate in of(events, Candidate):
        assert not any(ord(c) < 32 and c not in "\t\n" for c in candidate.replacements[0])


@given(st.sampled_from([0.3, 0.6, 1.0]), st.integers(1, 40), st.integers(0, 40))
def test_strength_is_the_share_that_starts_as_noise(strength: float, length: int, present: int) -> None:
    kept = remaining(list(range(100, 100 + present)), length, strength, lambda count: torch.randperm(count).tolist())
    count = min(length, present)
    assert len(kept) == count - round(strength * count)
    assert all(0 <= place < length for place in kept) and len(set(kept.values())) == len(kept)
    if length == present:
        assert all(token == 100 + place for place, token in kept.items())


def test_a_weak_rewrite_begins_with_most_of_what_stands() -> None:
    model = RandomModel(sharpness=3.0)
    run(request(method="pinned", strength=0.3, length="same", candidates=1), session(model))
    passage = codec().tokens(BEFORE + SPAN + AFTER)
    start = len(codec().tokens(BEFORE))
    span = passage[start : start + len(codec().tokens(SPAN))]
    same = [canvas[12 + at] == token for canvas in model.canvases[:1] for at, token in enumerate(span)]
    assert sum(same) >= len(span) - round(0.3 * len(span))


def test_all_lengths_are_tried_for_a_step_and_the_least_doubtful_ones_finished() -> None:
    events = run(request(method="pinned"), session(RandomModel(sharpness=3.0)))
    lengths = {last - first for hole in of(events, Hole) for _, first, last in hole.places}
    assert set(range(1, 9)) <= lengths and len(of(events, Hole)) == len(lengths)
    steps = of(events, Step)
    assert {step.block for step in steps if step.step == 1} == {hole.block for hole in of(events, Hole)}
    doubt = {step.block: float(step.entropy[~step.pinned].mean()) for step in steps if step.step == 1}
    went_on = {step.block for step in steps if step.step == 2}
    assert len(went_on) == 8 == len(of(events, Block))
    assert max(doubt[block] for block in went_on) <= min(doubt[block] for block in doubt.keys() - went_on) + 1e-6


def test_a_canvas_that_a_person_steers_is_not_given_up() -> None:
    control = Control()
    for block in range(1, 9):
        control.pin(12, 300, block)
    events = list(session(RandomModel(sharpness=3.0)).infill(request(method="pinned"), Sampling(seed=1), control))
    assert {block.block for block in of(events, Block)} >= set(range(1, 9))
    assert all(step.draft[12] == 300 and step.pinned[12] for step in of(events, Step) if step.block < 9)


def test_a_pin_outside_the_hole_is_not_taken() -> None:
    control = Control()
    control.pin(3, 300, 1)
    events = list(session().infill(request(method="pinned"), Sampling(seed=1), control))
    assert all(step.draft[3] == codec().tokens(BEFORE)[-9] for step in of(events, Step))


def test_cancelling_gives_no_candidate() -> None:
    control = Control()
    events: list[Event] = []
    for event in session(RandomModel(sharpness=3.0)).infill(request(), Sampling(seed=1), control):
        events.append(event)
        if isinstance(event, Step):
            control.cancel()
    done = events[-1]
    assert isinstance(done, Done) and done.reason == "cancelled" and not of(events, Candidate)


def test_committing_takes_the_drafts_as_they_are() -> None:
    control = Control()
    events: list[Event] = []
    for event in session(RandomModel(sharpness=3.0)).infill(request(method="pinned"), Sampling(seed=1), control):
        events.append(event)
        if isinstance(event, Step):
            control.commit()
    assert max(step.step for step in of(events, Step)) == 1 and of(events, Candidate)


def test_pausing_holds_it() -> None:
    control = Control()
    control.pause()
    seen: list[Event] = []
    worker = threading.Thread(target=lambda: seen.extend(session().infill(request(), Sampling(seed=1), control)))
    worker.start()
    worker.join(0.3)
    assert worker.is_alive() and not of(seen, Step)
    control.resume()
    worker.join(60)
    assert of(seen, Candidate)


def test_the_same_seed_gives_the_same() -> None:
    first, second, other = (
        [c.text for c in of(list(session().infill(request(), Sampling(seed=seed))), Candidate)] for seed in (1, 1, 2)
    )
    assert first == second
    assert first and other


def test_the_text_as_it_was_is_no_rewrite() -> None:
    """The model likes it best, and says so; whoever asks for a rewrite wants another one."""
    text = BEFORE + SPAN + AFTER
    start = text.index("windy")
    asked = InfillRequest(text, ((start, start + 5),), length="same", candidates=3)
    found = of(list(engine().session().infill(asked, Sampling(seed=3))), Candidate)
    assert "windy" not in [c.replacements[0] for c in found] or len(found) == 1


def test_what_follows_the_span_starts_over_in_the_cache() -> None:
    """A session may be used for a chat, for an infill, and for the chat again."""
    one = session()
    list(one.generate([2, 5, 6], Sampling(seed=1, max_new_tokens=64)))
    run(request(), one)
    assert of(list(one.generate([2, 5, 6], Sampling(seed=1, max_new_tokens=64))), Done)


@st.composite
def documents(draw: st.DrawFn) -> InfillRequest:
    """Any Unicode text with one or two spans."""
    alphabet = st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("ab \n\r\t\u0301é🦊<"))
    text = draw(st.one_of(st.text(alphabet), st.text(alphabet).map(lambda t: t.replace("\n", "\r\n"))))
    places = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4)))
    spans = [(places[0], places[1])]
    if len(places) == 4 and places[2] > places[1] + 8:
        spans.append((places[2], places[3]))
    length: Length = draw(st.sampled_from(["search", "same", 3, 100]))
    method: Method = draw(st.sampled_from(["ladder", "pinned", "splice"]))
    return InfillRequest(text, tuple(spans), length=length, method=method, strength=draw(st.sampled_from([0.3, 1.0])))


def outside(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    end = 0
    for start, stop in [*spans, (len(text), len(text))]:
        yield text[end:start].encode()
        end = stop


@examples(60)
@given(documents(), st.sampled_from([3.0, 25.0]))
def test_every_byte_outside_the_spans_stays(asked: InfillRequest, sharpness: float) -> None:
    candidates = of(run(asked, session(RandomModel(sharpness))), Candidate)
    assert candidates
    for candidate in candidates:
        kept = list(outside(asked.text, asked.spans))
        expected = b"".join(
            part + new.encode() for part, new in zip(kept, [*candidate.replacements, ""], strict=True)
        )  # fmt: skip
        assert candidate.text.encode() == expected


def test_a_long_span_goes_from_left_to_right() -> None:
    long = " ".join(f"word{number}" for number in range(60)) + "."
    model = RandomModel()
    asked = InfillRequest.around(BEFORE + " ", long, AFTER, method="pinned", candidates=2, length="same")
    events = run(asked, session(model))
    assert len(of(events, Candidate)) >= 1
    opened = [hole for hole in of(events, Hole) if hole.candidate == 0]
    assert len(opened) > 2 and opened[0].places == ((0, 0, 64),)
    (_, first, last) = opened[-1].places[0]
    assert first == 12 and last < 64
    after = codec().tokens(AFTER)
    final = next(step for step in of(events, Step) if step.block == opened[-1].block)
    assert final.draft[last:].tolist() == after[: 64 - last]


def test_spans_far_apart_are_rewritten_one_after_the_other() -> None:
    text = f"{BEFORE}{SPAN}{AFTER}" * 4
    spans = ((0, 4), (len(text) - 4, len(text)))
    events = run(InfillRequest(text, spans, candidates=2))
    assert {place[0] for hole in of(events, Hole) for place in hole.places} == {0, 1}
    assert all(len(hole.places) == 1 for hole in of(events, Hole))
    for candidate in of(events, Candidate):
        assert candidate.text == candidate.replacements[0] + text[4:-4] + candidate.replacements[1]


def test_spans_close_together_share_a_canvas() -> None:
    text = BEFORE + SPAN + AFTER
    words = [(text.index(word), text.index(word) + len(word)) for word in ("windy", "kite")]
    events = run(InfillRequest(text, tuple(words), method="pinned"))
    assert all([place[0] for place in hole.places] == [0, 1] for hole in of(events, Hole))


def test_kept_words_stay() -> None:
    text = BEFORE + SPAN + AFTER
    start = len(BEFORE)
    kite = text.index("kite")
    asked = InfillRequest(text, ((start, start + len(SPAN)),), keep=((kite, kite + 4),), method="pinned")
    for candidate in of(run(asked), Candidate):
        assert " kite" in candidate.replacements[0]


def test_line_ends_of_the_document_are_kept() -> None:
    text = "one\r\ntwo\r\nthree\r\n"

    class Newlines(RandomModel):
        def decode(self, canvas: torch.Tensor, cache: Any, conditioning: Any = None) -> torch.Tensor:
            logits = torch.zeros(*canvas.shape, self.config.vocab_size)
            logits[..., codec().tokens("\n")[0]] = 40.0
            return logits

    events = run(InfillRequest(text, ((5, 8),), method="pinned"), session(Newlines()))
    for candidate in of(events, Candidate):
        assert set(candidate.replacements[0]) == {"\r", "\n"} and "\n" not in candidate.text.replace("\r\n", "")


def test_a_session_without_a_tokenizer_says_so() -> None:
    with pytest.raises(ChatTemplateError, match="no tokenizer"):
        Session(RandomModel(), {}).infill(request())


def test_a_span_too_long_for_the_context_is_refused() -> None:
    with pytest.raises(InfillError, match="too long"):
        session(RandomModel(context=600)).infill(InfillRequest.around("", "many words " * 200, ""))


def test_broken_numbers_are_told() -> None:
    model = RandomModel(sharpness=3.0)
    model.poison[1] = float("nan")
    one = session(model)
    with pytest.raises(NumericsError, match="infill"):
        run(request(), one)
    assert one.held == ()


def test_everything_kept_is_refused() -> None:
    text = "Once there was"
    with pytest.raises(InfillError, match="nothing left"):
        session().infill(InfillRequest(text, ((4, 10),), keep=((4, 10),)))


def test_the_built_in_model_fills_a_name() -> None:
    """The real model: a name that stands elsewhere in the story comes back, with both sides as they were."""
    text = BEFORE + SPAN + AFTER
    start = text.rindex("Mimi")
    gap = text[:start] + text[start + 4 :]
    asked = InfillRequest(gap, ((start, start),), length=1)
    events = list(engine().session().infill(asked, Sampling(seed=3)))
    best = of(events, Candidate)[0]
    assert best.replacements == ("Mimi",) and best.text == text and best.joins
    assert of(events, Prefill)[-1].done == of(events, Prefill)[-1].total
