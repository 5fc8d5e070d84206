"""What every engine must do, on the built-in model. A module of tests gives the engine, and takes the tests over:

    @pytest.fixture(scope="module")
    def backend() -> Backend:
        return Engine.load("pocket", device="cpu")

    class TestEmbedded(Conformance):
        pass

What an engine cannot do, by its own `capabilities`, is not asked of it: then it must say why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest

from dgbackends.protocol import Backend, BackendSession
from dgengine.capabilities import Capabilities
from dgengine.chat import Message
from dgengine.control import Control
from dgengine.errors import EmptyPromptError, EngineError, InfillError, PromptError, SamplingError
from dgengine.events import Block, Candidate, Done, Event, Hole, Notice, Prefill, Step
from dgengine.infill.request import InfillRequest, splice
from dgengine.sampling import Sampling

STORY = "Tell me a story about a fox and a lantern."
NAMES = [field.name for field in fields(Capabilities) if field.name != "why_not"]
SOON = 20.0  # seconds after which a cancelled answer must have ended, on the slowest machine


def question(text: str = STORY) -> list[Message]:
    """A chat of one turn."""
    return [{"role": "user", "content": text}]


def answer_of(events: Sequence[Event]) -> list[int]:
    """The tokens of an answer: those of its blocks in order, the last of each number."""
    blocks = {event.block: event.tokens.tolist() for event in events if isinstance(event, Block)}
    return [token for _, tokens in sorted(blocks.items()) for token in tokens]


def kinds(events: Sequence[Event]) -> list[type]:
    """The types of events, each run of one type once."""
    found: list[type] = []
    for event in events:
        if not found or found[-1] is not type(event):
            found.append(type(event))
    return found


class Conformance:
    """The tests. The fixture `backend` of the module that uses them has the built-in model."""

    @pytest.fixture
    def session(self, backend: Backend) -> BackendSession:
        """A new conversation."""
        return backend.session()

    @pytest.fixture
    def canvas(self, backend: Backend) -> int:
        """Tokens of a canvas."""
        return backend.info.canvas_length

    @pytest.fixture
    def sampling(self, backend: Backend) -> Sampling:
        """A short answer: one canvas; the same each time where the engine can do that."""
        seed = 5 if backend.capabilities.seeds else None
        return Sampling(max_new_tokens=backend.info.canvas_length, seed=seed)

    # ---- what it is

    def test_it_tells_what_it_is(self, backend: Backend) -> None:
        info = backend.info
        assert info.name and info.device
        assert info.canvas_length >= 1
        assert info.context_length > info.canvas_length
        assert all(note.strip() for note in info.notes)

    def test_it_says_why_for_all_that_is_not_there(self, backend: Backend) -> None:
        for name in NAMES:
            reason = backend.capabilities.reason(name)
            assert (reason is None) == getattr(backend.capabilities, name)
            if reason is not None:
                assert reason.endswith(".") and "\n" not in reason, (name, reason)

    # ---- text

    @pytest.mark.parametrize("text", ["Hello, fox.", "naïve café – 狐狸 🦊\n\ttab"])
    def test_text_survives_its_tokens(self, backend: Backend, text: str) -> None:
        ids = backend.encode(text)
        assert backend.decode(ids).strip() == text
        assert len(backend.pieces(ids)) == len(backend.spell(ids)) == len(ids)
        assert b"".join(backend.spell(ids)).decode().strip() == text
        assert "".join(backend.pieces(ids)).strip() == text

    def test_an_empty_chat_is_refused(self, backend: Backend) -> None:
        with pytest.raises(EmptyPromptError):
            backend.encode_chat([])

    def test_a_question_longer_than_the_context_is_refused(self, backend: Backend) -> None:
        with pytest.raises(PromptError):
            backend.encode_chat(question("lantern " * 20 * backend.info.context_length))

    def test_a_chat_that_outgrows_the_context_loses_its_oldest_turns(
        self, backend: Backend, session: BackendSession, sampling: Sampling
    ) -> None:
        turns: list[Message] = []
        for number in range(8):
            turns.append({"role": "user", "content": f"{number} " + "lantern " * (backend.info.context_length // 24)})
            turns.append({"role": "assistant", "content": "Yes. " * (backend.info.context_length // 24)})
        chat = backend.encode_chat([*turns, *question()], max_new_tokens=sampling.max_new_tokens)
        assert 0 < len(chat) <= backend.info.context_length
        notices = [event for event in session.generate(chat, sampling) if isinstance(event, Notice)]
        assert any(notice.kind == "dropped" and notice.count > 0 for notice in notices)

    # ---- an answer

    def test_events_come_in_their_order(
        self, backend: Backend, session: BackendSession, sampling: Sampling, canvas: int
    ) -> None:
        events = list(session.generate(backend.encode_chat(question()), sampling))
        order = [kind for kind in kinds(events) if kind is not Notice]
        assert order[0] is Prefill and order[-1] is Done
        inner = [Step, Block] if backend.capabilities.drafts else [Block]
        blocks = sum(isinstance(event, Block) for event in events)
        assert order[1:-1] == (inner * blocks if len(inner) > 1 else inner)
        assert sum(isinstance(event, Done) for event in events) == 1
        for event in events:
            if isinstance(event, Block):
                assert event.tokens.dtype == np.int32
                assert event.tokens.ndim == 1
                assert 1 <= len(event.tokens) <= canvas
                assert not event.waiting

    def test_blocks_are_numbered_and_their_tokens_are_the_answer(
        self, backend: Backend, session: BackendSession, canvas: int
    ) -> None:
        sampling = Sampling(max_new_tokens=3 * canvas, seed=5 if backend.capabilities.seeds else None)
        events = list(session.generate(backend.encode_chat(question()), sampling))
        blocks = [event for event in events if isinstance(event, Block)]
        assert [block.block for block in blocks] == list(range(1, len(blocks) + 1))
        done = events[-1]
        assert isinstance(done, Done)
        answer = answer_of(events)
        assert done.stats.tokens == len(answer) and done.stats.blocks == len(blocks)
        assert done.reason in ("eos", "length")
        ends = [place for place, token in enumerate(answer) if token in backend.eos_ids]
        if done.reason == "eos":
            assert ends in ([], [len(answer) - 1])  # a server may keep the id that ends an answer to itself
        else:
            assert not ends
        text = backend.decode(answer)
        assert text.strip() and "\ufffd" not in text
        assert backend.split_thinking(answer)[1].strip() == text.strip()

    def test_the_answer_is_no_longer_than_asked_for(
        self, backend: Backend, session: BackendSession, sampling: Sampling, canvas: int
    ) -> None:
        events = list(session.generate(backend.encode_chat(question("Tell me a long story.")), sampling))
        done = events[-1]
        assert isinstance(done, Done)
        assert len(answer_of(events)) <= canvas and done.stats.blocks == 1

    def test_steps_are_seen_where_it_has_drafts(
        self, backend: Backend, session: BackendSession, sampling: Sampling, canvas: int
    ) -> None:
        events = list(session.generate(backend.encode_chat(question()), sampling))
        steps = [event for event in events if isinstance(event, Step)]
        assert bool(steps) == backend.capabilities.drafts
        by_block: dict[int, list[int]] = {}
        for step in steps:
            by_block.setdefault(step.block, []).append(step.step)
            assert step.draft.shape == step.canvas.shape == step.entropy.shape == (canvas,)
            assert step.accepted.shape == step.pinned.shape == (canvas,)
            assert step.draft.dtype == np.int32 and not step.pinned.any()
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_block.values())
        if steps:
            block = next(event for event in events if isinstance(event, Block))
            last = [step for step in steps if step.block == block.block][-1]
            assert last.draft[: len(block.tokens)].tolist() == block.tokens.tolist()
            assert block.steps == last.step

    def test_the_longest_number_of_steps_can_be_chosen(
        self, backend: Backend, session: BackendSession, canvas: int
    ) -> None:
        wanted = Sampling(max_new_tokens=canvas, max_denoising_steps=2)
        chat = backend.encode_chat(question())
        if not backend.capabilities.steps:
            with pytest.raises(SamplingError):
                list(session.generate(chat, wanted))
            return
        block = next(event for event in session.generate(chat, wanted) if isinstance(event, Block))
        assert block.steps <= 2

    def test_the_same_seed_gives_the_same_answer(self, backend: Backend, sampling: Sampling, canvas: int) -> None:
        chat = backend.encode_chat(question())
        wanted = Sampling(max_new_tokens=canvas, seed=11)
        if backend.capabilities.seeds:
            first, second = (answer_of(list(backend.session().generate(chat, wanted))) for _ in range(2))
            assert first == second
            return
        try:  # refused, or said
            events = list(backend.session().generate(chat, wanted))
        except SamplingError as error:
            assert "seed" in str(error)
        else:
            assert any(isinstance(event, Notice) and "seed" in event.text for event in events)

    def test_unicode_goes_in(self, backend: Backend, session: BackendSession, sampling: Sampling) -> None:
        events = list(session.generate(backend.encode_chat(question("Où est le renard? 🦊 狐狸")), sampling))
        assert isinstance(events[-1], Done)

    def test_a_past_answer_may_be_given_by_its_ids(
        self, backend: Backend, session: BackendSession, sampling: Sampling
    ) -> None:
        ids = answer_of(list(session.generate(backend.encode_chat(question()), sampling)))
        with_ids: list[Message] = [*question(), {"role": "assistant", "ids": ids, "content": backend.decode(ids)}]
        chat = backend.encode_chat([*with_ids, *question("Another one.")])
        assert len(chat) > len(backend.encode_chat(question()))
        assert isinstance(list(session.generate(chat, sampling))[-1], Done)
        only_ids: list[Message] = [*question(), {"role": "assistant", "ids": ids}]
        assert len(backend.encode_chat([*only_ids, *question("Another one.")])) > len(backend.encode_chat(question()))

    def test_the_thinking_flag_does_not_hurt(
        self, backend: Backend, session: BackendSession, sampling: Sampling
    ) -> None:
        chat = backend.encode_chat(question(), thinking=True)
        events = list(session.generate(chat, sampling))
        assert isinstance(events[-1], Done)
        if not backend.capabilities.thinking:
            assert backend.split_thinking(answer_of(events))[0] == ""

    # ---- steering

    def test_a_cancel_ends_it_soon(self, backend: Backend, session: BackendSession, canvas: int) -> None:
        control = Control()
        events: list[Event] = []
        cancelled = 0.0
        wanted = Sampling(max_new_tokens=4 * canvas)
        for event in session.generate(backend.encode_chat(question("Tell me a long story.")), wanted, control):
            events.append(event)
            if isinstance(event, Step | Prefill) and not cancelled:
                control.cancel()
                cancelled = time.monotonic()
        done = events[-1]
        assert isinstance(done, Done) and done.reason == "cancelled"
        assert time.monotonic() - cancelled < SOON
        assert not any(isinstance(event, Block) for event in events)

    def test_a_cancel_from_another_thread(self, backend: Backend, session: BackendSession, canvas: int) -> None:
        control = Control()
        run = session.generate(backend.encode_chat(question()), Sampling(max_new_tokens=8 * canvas), control)
        timer = threading.Timer(0.02, control.cancel)
        timer.start()
        events = list(run)
        timer.join()
        assert sum(isinstance(event, Done) for event in events) == 1

    def test_an_answer_may_be_left_half_way(
        self, backend: Backend, session: BackendSession, sampling: Sampling
    ) -> None:
        chat = backend.encode_chat(question())
        run = session.generate(chat, sampling)
        next(run)
        run.close()
        left = session.generate(chat, sampling)
        next(left)
        assert isinstance(list(session.generate(chat, sampling))[-1], Done)
        assert list(left) == []  # the new answer has ended it

    def test_pins_hold(self, backend: Backend, session: BackendSession, sampling: Sampling) -> None:
        token = backend.encode(" lantern")[-1]
        control = Control()
        control.pin(3, token)
        chat = backend.encode_chat(question())
        if not backend.capabilities.pins:
            with pytest.raises(SamplingError):
                list(session.generate(chat, sampling, control))
            return
        events = list(session.generate(chat, sampling, control))
        assert answer_of(events)[3] == token
        for event in events:
            if isinstance(event, Step):
                assert event.pinned[3] and event.draft[3] == token and not event.accepted[3]

    def test_a_second_session_knows_nothing_of_the_first(self, backend: Backend, sampling: Sampling) -> None:
        chat = backend.encode_chat(question())
        first, second = backend.session(), backend.session()
        before = list(first.generate(chat, sampling))
        between = list(second.generate(backend.encode_chat(question("What is 12 plus 5?")), sampling))
        assert isinstance(between[-1], Done)
        after = list(first.generate(chat, sampling))
        if backend.capabilities.seeds:
            assert answer_of(before) == answer_of(after)

    def test_a_session_goes_on_after_an_error(
        self, backend: Backend, session: BackendSession, sampling: Sampling
    ) -> None:
        with pytest.raises(EngineError):
            list(session.generate([], sampling))
        with pytest.raises(SamplingError):
            Sampling(max_new_tokens=0)
        assert isinstance(list(session.generate(backend.encode_chat(question()), sampling))[-1], Done)

    # ---- rewriting

    def test_a_rewrite_changes_nothing_outside_the_span(self, backend: Backend, session: BackendSession) -> None:
        text = "Once there was a small fox.\r\nIt had a red kite\tand a café. 🦊\n"
        start = text.index("small")
        request = InfillRequest(text, ((start, start + len("small")),), candidates=2)
        if not backend.capabilities.infill:
            with pytest.raises(InfillError):
                list(session.infill(request, Sampling(seed=3)))
            return
        events = list(session.infill(request, Sampling(seed=3)))
        candidates = [event for event in events if isinstance(event, Candidate)]
        assert 1 <= len(candidates) <= 2
        assert [candidate.rank for candidate in candidates] == list(range(1, len(candidates) + 1))
        for candidate in candidates:
            assert candidate.text == splice(text, request.spans, candidate.replacements)
            assert candidate.text.startswith(text[:start]) and candidate.text.endswith(text[start + 5 :])
        assert isinstance(events[0], Notice | Prefill) and isinstance(events[-1], Done)
        assert any(isinstance(event, Hole) for event in events)
        assert any(isinstance(event, Step) for event in events) == backend.capabilities.drafts

    def test_a_rewrite_at_the_edges_of_a_text(self, backend: Backend, session: BackendSession) -> None:
        if not backend.capabilities.infill:
            return
        text = "A fox sat on a stone."
        for span in ((0, 5), (len(text) - 6, len(text)), (len(text), len(text))):
            request = InfillRequest(text, (span,), candidates=1, length="same")
            found = [event for event in session.infill(request) if isinstance(event, Candidate)]
            for candidate in found:
                assert candidate.text == splice(text, (span,), candidate.replacements)

    def test_a_rewrite_can_be_cancelled(self, backend: Backend, session: BackendSession) -> None:
        if not backend.capabilities.infill:
            return
        control = Control()
        control.cancel()
        events = list(session.infill(InfillRequest("A small fox.", ((2, 7),)), None, control))
        done = events[-1]
        assert isinstance(done, Done) and done.reason == "cancelled"
        assert not any(isinstance(event, Candidate) for event in events)
