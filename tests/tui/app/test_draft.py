"""What is known of an answer while it is being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dgchat.app.draft import _HISTORY, Curve, Draft
from dgchat.trace.steps import StepTrace
from dgengine import Block, Control, Done, Event, Sampling, Step
from tests.tui.fakes import EOS, FakeEngine, fake_stats


def draft_of(engine: FakeEngine, head: Sequence[Sequence[int]] = (), thinking: bool = False) -> Draft:
    return Draft(engine, StepTrace(), head, thinking)  # type: ignore[arg-type]


def events(engine: FakeEngine) -> list[Event]:
    return list(engine.session().generate([1], Sampling(), Control()))


def step_of(ids: list[int], accepted: list[bool], block: int = 1, step: int = 1) -> Step:
    count = len(ids)
    return Step(
        block, step, 0.5, 0.01, draft=np.array(ids, np.int32), canvas=np.array(ids, np.int32),
        entropy=np.zeros(count, np.float32), accepted=np.array(accepted), pinned=np.zeros(count, bool),
    )  # fmt: skip


def test_an_answer_from_its_events() -> None:
    engine = FakeEngine("One two three four five six.", canvas=4, steps=3)
    draft = draft_of(engine)
    for event in events(engine):
        draft.take(event)
    assert draft.text == "One two three four five six." and draft.thought == ""
    assert draft.ids[-1] == EOS and draft.done is not None and draft.step is None
    assert draft.steps == 6
    assert draft.tokens_per_forward == pytest.approx(len(draft.ids) / 6)
    assert draft.tokens_per_second == pytest.approx(len(draft.ids) / 0.006)


def test_steps_that_did_not_come_count() -> None:
    engine = FakeEngine("One two three four five six.", canvas=4, steps=8)
    draft = draft_of(engine)
    for event in events(engine):
        if not isinstance(event, Step) or event.step in (1, 5):
            draft.take(event)
    assert draft.steps == 16
    assert draft.tokens_per_forward == pytest.approx(len(draft.ids) / 16)
    assert draft.tokens_per_second == pytest.approx(len(draft.ids) / 0.016)


def test_a_thought_is_no_part_of_the_text() -> None:
    engine = FakeEngine("<thought>Hm.</thought>Yes.")
    draft = draft_of(engine)
    for event in events(engine):
        draft.take(event)
    assert (draft.thought, draft.text) == ("Hm.", "Yes.")


def test_a_thought_that_goes_on_is_told_from_the_answer_across_canvases() -> None:
    engine = FakeEngine("<thought>One two three four five.</thought>Six seven.", canvas=4)
    draft = draft_of(engine, thinking=True)
    seen = []
    for event in events(engine):
        draft.take(event)
        if isinstance(event, Block):
            seen.append((draft.thinks, draft.thought, draft.text))
    assert seen == [
        (True, "One", ""),
        (True, "One two three four five", ""),
        (False, "One two three four five.", "Six seven"),
        (False, "One two three four five.", "Six seven."),
    ]


def test_a_channel_that_leaks_unasked_hides_no_answer() -> None:
    for thinking, told in ((False, ("", "Yes.")), (True, ("Yes.", ""))):
        engine = FakeEngine("<thought>Yes.")
        draft = draft_of(engine, thinking=thinking)
        for event in events(engine):
            draft.take(event)
        assert (draft.thought, draft.text) == told


@pytest.mark.parametrize(
    ("accepted", "kept"),
    [
        ([True, True, False, True], "One two"),
        ([False, True, True, True], ""),
        ([True, True, True, True], "One two three"),
    ],
)
def test_of_a_canvas_that_is_stopped_the_accepted_beginning_is_kept(accepted: list[bool], kept: str) -> None:
    engine = FakeEngine()
    draft = draft_of(engine)
    ids = [*engine.vocabulary.encode("One two three"), EOS]
    draft.take(step_of(ids, accepted))
    draft.keep_what_stands()
    draft.keep_what_stands()
    assert draft.text == kept
    assert draft.ids == ids[: len(draft.ids)]


def test_what_lies_behind_the_end_is_not_kept() -> None:
    engine = FakeEngine()
    draft = draft_of(engine)
    one, two = engine.vocabulary.encode("One two")
    draft.take(step_of([one, EOS, two, two], [True] * 4))
    draft.keep_what_stands()
    assert draft.ids == [one, EOS]


def test_a_block_that_waits_and_goes_on_counts_once() -> None:
    engine = FakeEngine()
    draft = draft_of(engine)
    ids = engine.vocabulary.encode("One two three four")
    draft.take(step_of(ids, [True] * 4, step=4))
    block = Block(1, np.array(ids, np.int32), 4, False, waiting=True)
    draft.take(block)
    assert (draft.waiting, draft.ids, draft.steps) == (block, ids, 4)
    draft.take(step_of(ids, [True, True, False, False], step=5))
    assert (draft.waiting, draft.ids, draft.steps) == (None, [], 5)
    assert draft.tokens_per_forward == pytest.approx(2 / 5)
    draft.keep_what_stands()
    assert draft.ids == ids[:2]


def test_a_block_that_goes_on_and_is_stopped_before_anything_is_accepted_stays() -> None:
    engine = FakeEngine()
    draft = draft_of(engine)
    ids = engine.vocabulary.encode("One two")
    draft.take(Block(1, np.array(ids, np.int32), 4, False, waiting=True))
    draft.take(step_of(ids, [False, False], step=5))
    draft.keep_what_stands()
    assert draft.ids == ids


def test_an_endless_answer_does_not_fill_the_memory() -> None:
    draft = draft_of(FakeEngine())
    for number in range(1, 200):
        draft.take(step_of([1] * 8, [True] * 8, step=number))
    assert draft.steps == 199
    assert len(draft.accepted.values) == len(draft.entropy.values) == _HISTORY


def test_what_stays_of_an_answer_that_forms_anew_is_its_beginning() -> None:
    engine = FakeEngine()
    one, two, three = engine.vocabulary.encode("One two three")
    draft = draft_of(engine, [[one], [two]])
    assert draft.ids == [one, two]
    draft.take(step_of([three], [True], block=2))
    draft.take(Block(2, np.array([three], np.int32), 1, True))
    assert draft.ids == [one, three]


def test_a_curve_keeps_the_newest() -> None:
    curve = Curve()
    for value in range(100):
        curve.add(float(value))
    assert curve.values == [float(value) for value in range(100 - _HISTORY, 100)]


def test_nothing_has_come_yet() -> None:
    draft: Any = draft_of(FakeEngine())
    draft.keep_what_stands()
    assert (draft.ids, draft.text, draft.tokens_per_forward, draft.tokens_per_second) == ([], "", 0.0, 0.0)
    draft.take(Done("cancelled", fake_stats(0, 0, 0)))
    assert draft.done.reason == "cancelled"
