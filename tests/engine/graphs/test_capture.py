"""Graphs are tried before they are used: what fails, or is not the same, is not used, and a note says so."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.engine import Engine, built_in_path
from dgengine.errors import InsufficientMemoryError
from dgengine.graphs.capture import SWITCH, StepGraphs, _recorded, step_graphs, why_not
from dgengine.graphs.queue import CudaQueue, HostQueue, Landed, Ticket
from dgengine.graphs.state import BlockState
from dgengine.model import Model
from dgengine.quantized.forms import Recipe
from dgengine.sampling import Sampling
from dgengine.session import Session
from tests.engine.graphs.parts import ask, pocket, session, tiny_model, told

PROMPT = list(range(8, 29))
SAMPLING = Sampling(seed=1, max_new_tokens=16, max_denoising_steps=4, entropy_bound=4.0)


class Spoiling(HostQueue):
    """A device whose steps come out a little otherwise."""

    def __init__(self, spoil: Callable[[Tensor], None]) -> None:
        self._spoil = spoil

    def submit(self, work: Callable[[], None], record: Tensor) -> Ticket:
        def otherwise() -> None:
            work()
            self._spoil(record)

        return super().submit(otherwise, record)


def another_draft(record: Tensor) -> None:
    record[0] += 1


def another_canvas(record: Tensor) -> None:
    record[(record.shape[0] - 2) // 4] += 1


class LaterDraft:
    """Right until the second step, which is the first that one before it has a part in."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, record: Tensor) -> None:
        self.steps += 1
        record[0] += self.steps == 2


def not_finite(record: Tensor) -> None:
    record[-1] = 1


def failing(record: Tensor) -> None:
    raise RuntimeError("operation not permitted when stream is capturing\nand a page more")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (another_draft, "their first steps were not those of the operations one by one"),
        (LaterDraft(), "their first steps were not those of the operations one by one"),
        (another_canvas, "their first steps were not those of the operations one by one"),
        (not_finite, "their first steps were not those of the operations one by one"),
        (failing, "they fail here (RuntimeError: operation not permitted when stream is capturing)"),
    ],
)
def test_a_trial_that_fails_leaves_the_eager_steps(spoil: Callable[[Tensor], None], said: str) -> None:
    model = tiny_model("base")
    reasons: list[str] = []
    graphs = StepGraphs(model, Spoiling(spoil), False, reasons.append)
    found = ask(Session(model, graphs=graphs), PROMPT, SAMPLING)
    assert reasons == [said] == [graphs.refusal]
    assert told(found) == told(ask(Session(model), PROMPT, SAMPLING))
    ask(Session(model, graphs=graphs), PROMPT, SAMPLING)
    assert len(reasons) == 1, "it is not tried again"


def test_a_step_is_made_once_for_as_long_as_the_buffers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    model, begin = pocket(), BlockState.begin
    begun: list[int] = []

    def counted(own: BlockState, *of: Any) -> None:
        begun.append(1)
        begin(own, *of)

    monkeypatch.setattr(BlockState, "begin", counted)
    own = session(model, True)
    sampling = Sampling(seed=1, max_new_tokens=3 * model.config.canvas_length, max_denoising_steps=2)
    own._eos = own._eos[:0]
    ask(own, PROMPT, sampling)
    assert len(begun) == 3 + 1, "one trial"
    ask(own, PROMPT, sampling)
    assert len(begun) == 6 + 1
    ask(own, [9] * 300, sampling)  # which outgrows the first buffers
    assert len(begun) == 9 + 2


def test_steps_go_with_the_cache_that_they_write_to() -> None:
    own = session(tiny_model("base"), True)
    ask(own, PROMPT, SAMPLING)
    assert own._graphs is not None
    (bench,) = own._graphs._idle
    assert len(bench.runs) == 1
    own.reset()
    gc.collect()
    assert len(bench.runs) == 0


def test_memory_is_given_back_before_logits_are_wanted() -> None:
    own = session(tiny_model("base"), True)
    ask(own, PROMPT, SAMPLING)
    graphs = own._graphs
    assert graphs is not None and len(graphs._idle) == 1
    ask(own, PROMPT, Sampling(seed=1, max_new_tokens=8, max_denoising_steps=2, trace_top_k=1))
    assert (list(graphs._idle), graphs.refusal) == ([], None)


def test_no_room_for_the_canvas_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a cache cannot grow, steps one by one would fail as well; once there is room, graphs are used again."""
    own = session(tiny_model("base"), True)

    def full(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr(Model, "frame", full)
        with pytest.raises(InsufficientMemoryError):
            ask(own, PROMPT, SAMPLING)
    assert own._graphs is not None and own._graphs.refusal is None
    ask(own, PROMPT, SAMPLING)
    assert own._graphs.refusal is None and len(own._graphs._idle) == 1


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "cannot be ended"])
def test_what_a_capture_does_not_allow_is_what_is_told(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it, ending the capture fails as well, and says nothing of why."""
    calls = []

    class FakeGraph:
        def capture_begin(self, capture_error_mode: str) -> None:
            calls.append(capture_error_mode)

        def capture_end(self) -> None:
            calls.append("end")
            if fails:
                raise RuntimeError("the capture was invalidated")

    def step() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    with pytest.raises(RuntimeError, match="not permitted"):
        _recorded(step)
    assert calls == ["thread_local", "end"]


# who has graphs


def test_an_engine_on_a_cpu_has_none_and_says_nothing() -> None:
    engine = Engine.load("pocket")
    assert not engine.info.notes
    assert engine.session()._graphs is None


def test_an_engine_that_was_asked_for_them_says_why_not() -> None:
    engine = Engine.load("pocket", graphs=True)
    assert engine.info.notes == (
        "Steps are not run as CUDA graphs, and may take longer: they are for NVIDIA GPUs.",
    )  # fmt: skip
    assert Engine.load("pocket", graphs=False).info.notes == ()


def test_a_refusal_at_the_first_step_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("base")

    def graphs(own: Model, wanted: bool | None, refused: Callable[[str], None]) -> tuple[StepGraphs, None]:
        return StepGraphs(own, Spoiling(another_draft), False, refused), None

    monkeypatch.setattr("dgengine.graphs.capture.step_graphs", graphs)
    engine = Engine(model, built_in_path(), "pocket")
    notes = [engine.info.notes]
    ask(engine.session(), PROMPT, SAMPLING)
    notes.append(engine.info.notes)
    why = "their first steps were not those of the operations one by one"
    assert notes == [(), (f"Steps are not run as CUDA graphs, and may take longer: {why}.",)]


def test_an_engine_is_let_go_of_while_a_session_lives() -> None:
    import weakref

    engine = Engine.load("pocket")
    own, gone = engine.session(), weakref.ref(engine.model)
    assert own.model is gone()
    del engine, own
    gc.collect()
    assert gone() is None


class _Placed:
    """Of a model, what decides about graphs."""

    def __init__(self, **others: Any) -> None:
        self.device, self.kernel_head, self.has_fixed_shapes = torch.device("cuda"), object(), True
        self.streamed = 0
        vars(self).update(others)

    def host_bytes(self) -> int:
        return self.streamed


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({}, None),
        ({"device": torch.device("cpu")}, "they are for NVIDIA GPUs"),
        ({"kernel_head": None}, "torch computes the logits"),
        ({"streamed": 7}, "experts are copied from the host's memory in every step"),
        ({"has_fixed_shapes": False}, "torch computes the experts, whose tokens it counts on the host"),
    ],
)
def test_why_not(others: dict[str, Any], said: str | None) -> None:
    assert why_not(_Placed(**others)) == said  # type: ignore[arg-type]


def test_the_switch_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = _Placed(streamed=7)
    reason = "experts are copied from the host's memory in every step"
    assert step_graphs(model, None) == (None, reason)
    monkeypatch.setenv(SWITCH, "0")
    assert step_graphs(model, None) == (None, None)
    assert step_graphs(model, True) == (None, reason)


def test_nothing_is_said_where_kernels_were_not_wished() -> None:
    model: Any = _Placed(kernel_head=None)
    assert step_graphs(model, None) == (None, None)
    assert step_graphs(model, True) == (None, "torch computes the logits")


def test_which_shapes_are_fixed() -> None:
    assert pocket().has_fixed_shapes, "all experts are computed"
    assert not load_model(built_in_path(), recipe=Recipe("nvfp4")).has_fixed_shapes


# on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("stored", ["plain", "nvfp4"])
def test_a_graph_gives_the_tokens_of_the_eager_steps(stored: str) -> None:
    """Long answers, which outgrow the first buffers; pins; an extension."""
    recipe = Recipe("nvfp4") if stored == "nvfp4" else Recipe()
    model = load_model(built_in_path(), "cuda", torch.bfloat16, recipe, kernels=True)
    assert model.kernel_head is not None, model.kernel_note
    reasons: list[str] = []
    graphs = StepGraphs(model, CudaQueue(model.device), True, reasons.append)
    for seed in range(3):
        sampling = Sampling(seed=seed, max_new_tokens=512, max_denoising_steps=12)
        found, wanted = (ask(Session(model, graphs=own), PROMPT, sampling) for own in (graphs, None))
        assert not reasons, reasons
        assert told(found) == told(wanted)
    later = {2: lambda control: control.pin(3, 99), 5: lambda control: control.unpin(3)}
    sampling = Sampling(seed=9, max_new_tokens=64, max_denoising_steps=8, confidence_threshold=1e-9)
    found = ask(Session(model, graphs=graphs), PROMPT, sampling, after=later)
    wanted = ask(Session(model), PROMPT, sampling, after={step + 1: do for step, do in later.items()})
    assert told(found) == told(wanted)


@pytest.mark.gpu
def test_answers_side_by_side_on_one_gpu() -> None:
    """Each has a step ahead while the other submits its own."""
    model = load_model(built_in_path(), "cuda", torch.bfloat16, kernels=True)
    graphs = StepGraphs(model, CudaQueue(model.device), True)
    sampling = Sampling(seed=1, max_new_tokens=64, max_denoising_steps=8)
    prompts = (PROMPT, PROMPT[:9])
    running = [Session(model, graphs=graphs).generate(prompt, sampling) for prompt in prompts]
    pairs = list(itertools.zip_longest(*running))
    assert graphs.refusal is None
    for column, prompt in zip(zip(*pairs, strict=True), prompts, strict=True):
        found = [event for event in column if event is not None]
        assert told(found) == told(ask(Session(model), prompt, sampling))


@pytest.mark.gpu
def test_a_capture_that_is_not_allowed_leaves_the_eager_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(built_in_path(), "cuda", torch.bfloat16, kernels=True)
    advance = BlockState.advance

    def looking(own: BlockState, *of: Any) -> None:
        advance(own, *of)
        own.record.sum().item()  # the host may not wait within a graph

    monkeypatch.setattr(BlockState, "advance", looking)
    graphs = StepGraphs(model, CudaQueue(model.device), True)
    found = ask(Session(model, graphs=graphs), PROMPT, SAMPLING)
    assert graphs.refusal is not None and graphs.refusal.startswith("they fail here")
    monkeypatch.undo()
    assert told(found) == told(ask(Session(model), PROMPT, SAMPLING))


@pytest.mark.gpu
def test_a_record_comes_when_it_is_there() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    queue, record = CudaQueue(device), torch.zeros(6, dtype=torch.int32, device=device)
    tickets: list[Ticket] = []
    landed: list[Landed] = []
    for _ in range(6):
        tickets.append(queue.submit(lambda: record.add_(1), record))  # type: ignore[arg-type]
        if len(tickets) == 2:
            landed.append(tickets.pop(0).wait())
    assert [int(own.record[0]) for own in landed] == [1, 2, 3, 4, 5]
    assert all(own.seconds >= 0 for own in landed)
