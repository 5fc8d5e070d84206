"""Experts in the host's memory: the same numbers, two buffers, and no copy over what is still being read."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.errors import CheckpointError
from dgengine.feed_forward import feed_forward
from dgengine.model import Model
from dgengine.quantized.forms import Recipe
from dgengine.streaming import BUFFERS, CudaCopier, ExpertStream, Rotation, spread
from dgengine.weights import SeparateBranches
from tests.engine.layouts import checkpoint
from tests.engine.tiny import SPECS, TinySpec, make_checkpoint, session_folder

DEEP = TinySpec(
    layer_types=("sliding", "sliding", "full", "sliding", "sliding", "full", "sliding"),
    hidden_size=64, intermediate_size=48, num_experts=8, top_k_experts=3, moe_intermediate_size=64,
)  # fmt: skip
LAYERS = len(DEEP.layer_types)
CPU = torch.device("cpu")


@functools.cache
def deep() -> Path:
    return make_checkpoint(session_folder() / "deep-routed", DEEP)


def answers(model: Model) -> Tensor:
    """Logits after encoding in two passes, of steps between them, and scores."""
    generator = torch.Generator().manual_seed(3)
    config = model.config
    ids = torch.randint(config.vocab_size, (30,), generator=generator)
    canvas = torch.randint(config.vocab_size, (config.canvas_length,), generator=generator)
    cache = model.new_cache()
    model.encode(ids[:20], cache)
    first = model.decode(canvas, cache)
    second = model.decode(canvas, cache, first.clone())
    model.encode(ids[20:], cache)
    third = model.decode(canvas, cache)
    return torch.cat((first.flatten(), second.flatten(), third.flatten(), model.score(ids[:7], cache)))


# which layers


@given(layers=st.integers(1, 64), data=st.data())
def test_streamed_layers_are_spread_evenly(layers: int, data: st.DataObject) -> None:
    streamed = data.draw(st.integers(0, layers))
    chosen = spread(layers, streamed)
    assert len(set(chosen)) == streamed and sorted(chosen) == list(chosen)
    if streamed:
        around = [*chosen, chosen[0] + layers]
        gaps = {after - before for before, after in itertools.pairwise(around)}
        assert gaps <= {layers // streamed, -(-layers // streamed)}
        assert (layers - 1 in chosen) == (streamed == layers)


@pytest.mark.parametrize("streamed", [-1, 8])
def test_there_are_only_so_many_layers(streamed: int) -> None:
    with pytest.raises(ValueError, match=f"experts of {streamed} of 7 layers"):
        load_model(deep(), streamed=streamed)


# the same numbers


@pytest.mark.parametrize("streamed", range(LAYERS + 1))
def test_the_outputs_are_those_of_a_model_that_is_not_streamed(streamed: int) -> None:
    model, resident = load_model(deep(), streamed=streamed), load_model(deep())
    for _ in range(2):
        assert torch.equal(answers(model), answers(resident))


@pytest.mark.parametrize("recipe", [Recipe("nvfp4"), Recipe("nf4"), Recipe("fp8", "fp8"), Recipe("nvfp4", "int8")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_so_are_those_of_quantised_experts(recipe: Recipe, dtype: torch.dtype) -> None:
    model = load_model(deep(), dtype=dtype, recipe=recipe, streamed=4)
    assert torch.equal(answers(model), answers(load_model(deep(), dtype=dtype, recipe=recipe)))
    assert model.expert_form == recipe.experts


@pytest.mark.parametrize("layout", ["modelopt-nvfp4", "compressed-nvfp4", "compressed-fp8", "plain-apart"])
def test_so_are_those_of_stored_codes(layout: str) -> None:
    folder = checkpoint(layout).coded  # type: ignore[arg-type]
    assert torch.equal(answers(load_model(folder, streamed=3)), answers(load_model(folder)))


def test_a_model_with_few_experts_keeps_them_apart_from_the_rest() -> None:
    folder = make_checkpoint(session_folder() / "few-streamed", SPECS["base"])
    torch.testing.assert_close(answers(load_model(folder, streamed=3)), answers(load_model(folder)))


def test_a_pass_that_broke_off_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, expected = load_model(deep(), streamed=5), answers(load_model(deep()))
    calls = 0

    def broken(*args: object) -> Tensor:
        nonlocal calls
        calls += 1
        if calls % 10 == 4:
            raise torch.OutOfMemoryError
        return feed_forward(*args)  # type: ignore[arg-type]

    for _ in range(6):
        with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
            patch.setattr("dgengine.stack.feed_forward", broken)
            answers(model)
        assert torch.equal(answers(model), expected)


# memory


@pytest.mark.parametrize("recipe", [Recipe(), Recipe("nvfp4")])
def test_two_layers_of_experts_are_on_the_device_and_the_others_in_the_host(recipe: Recipe) -> None:
    resident = load_model(deep(), recipe=recipe)
    branches = resident._weights.layers[0].branches
    assert isinstance(branches, SeparateBranches)
    experts = (*branches.experts_gate_up.tensors(), *branches.experts_down.tensors())
    one = sum(tensor.nbytes for tensor in experts)
    assert resident.host_bytes() == 0
    for streamed in range(1, LAYERS + 1):
        model = load_model(deep(), recipe=recipe, streamed=streamed)
        buffers = min(streamed, BUFFERS)
        assert model.host_bytes() == streamed * one
        assert model.weight_bytes() == resident.weight_bytes() - (streamed - buffers) * one


def test_a_copy_is_one_piece_of_memory() -> None:
    """The buffers are laid out as what is copied to them, transposed views as well."""
    stream = load_model(deep(), dtype=torch.bfloat16, streamed=3).stack.stream
    assert stream is not None
    for buffer in stream._buffers:
        assert [tensor.stride() for tensor in buffer] == [tensor.stride() for tensor in stream._sources[0]]
        assert not all(tensor.is_contiguous() for tensor in buffer)


def test_layers_in_several_forms_cannot_take_turns() -> None:
    plain, coded = load_model(deep()), load_model(deep(), recipe=Recipe("nvfp4"))
    layers = (*plain._weights.layers[:3], *coded._weights.layers[3:])
    with pytest.raises(CheckpointError, match="experts of layer 4 are stored in another form than those of layer 0"):
        ExpertStream(layers, (0, 2, 4), CPU)
    ExpertStream(layers, (3, 4), CPU)


# the order of copies and reads


class Recording:
    """A copier whose copies take time: what is begun arrives when it is waited for, or later reads would be wrong."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.holds: dict[int, int] = {}  # place by buffer, as the copies were begun
        self.reading: int | None = None
        self.copies = 0

    def copy(self, place: int, buffer: int) -> None:
        assert buffer != self.reading, "a buffer is written while it is read"
        self.holds[buffer] = place
        self.copies += 1
        self.log.append(("copy", place))

    def arrive(self, buffer: int) -> None:
        assert self.reading is None
        self.reading = buffer
        self.log.append(("arrive", self.holds[buffer]))

    def read(self, buffer: int) -> None:
        assert self.reading == buffer
        self.reading = None
        self.log.append(("read", self.holds[buffer]))


def test_the_next_copy_is_begun_before_the_present_experts_are_read() -> None:
    copier = Recording()
    rotation = Rotation(3, copier)
    for place in (0, 1, 2, 0):
        with rotation.reading(place):
            pass
    assert copier.log == [
        ("copy", 0), ("copy", 1), ("arrive", 0), ("read", 0),
        ("copy", 2), ("arrive", 1), ("read", 1),
        ("copy", 0), ("arrive", 2), ("read", 2),
        ("copy", 1), ("arrive", 0), ("read", 0),
        ("copy", 2),
    ]  # fmt: skip


@given(places=st.integers(1, 9), passes=st.integers(1, 4))
def test_in_turn_every_place_is_copied_once_a_pass(places: int, passes: int) -> None:
    copier = Recording()
    rotation = Rotation(places, copier)
    for place in [*range(places)] * passes:
        with rotation.reading(place) as buffer:
            assert copier.holds[buffer] == place
    ahead = BUFFERS if places > BUFFERS else 0
    assert copier.copies == (places * passes + ahead if places > BUFFERS else places)
    assert len(copier.holds) == min(BUFFERS, places)


@given(places=st.integers(1, 6), data=st.data())
def test_places_in_any_order_with_failures_between(places: int, data: st.DataObject) -> None:
    copier = Recording()
    rotation = Rotation(places, copier)
    for place, fails in data.draw(st.lists(st.tuples(st.integers(0, places - 1), st.booleans()), max_size=20)):
        try:
            with rotation.reading(place) as buffer:
                assert copier.holds[buffer] == place == copier.holds[copier.reading or 0]
                if fails:
                    raise RuntimeError
        except RuntimeError:
            assert fails


def test_a_copy_that_failed_is_made_again() -> None:
    copier = Recording()
    rotation = Rotation(4, copier)
    begin = copier.copy

    def failing(place: int, buffer: int) -> None:
        raise RuntimeError("the link is down")

    copier.copy = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="link"), rotation.reading(2):
        pass
    copier.copy = begin  # type: ignore[method-assign]
    with rotation.reading(2) as buffer:
        assert copier.holds[buffer] == 2


# streams and events, without a GPU: what each stream was asked for is done in every order that the events allow


class FakeStream:
    """A queue of work."""

    def __init__(self, device: object = None) -> None:
        self.work: deque[Callable[[], bool]] = deque()  # each tells whether it could be done

    def wait_event(self, event: FakeEvent) -> None:
        marks, mark = event.done, event.recorded
        self.work.append(lambda: mark in marks)

    def wait_stream(self, other: FakeStream) -> None:
        event = FakeEvent()
        event.record(other)
        self.wait_event(event)


class FakeEvent:
    """As CUDA's: waited for in the state of its last record; before the first, nothing is waited for."""

    def __init__(self) -> None:
        self.recorded = 0
        self.done = {0}

    def record(self, stream: FakeStream) -> None:
        self.recorded += 1
        stream.work.append(partial(self._pass, self.recorded))

    def _pass(self, mark: int) -> bool:
        self.done.add(mark)
        return True


class FakeBuffer:
    """A buffer that takes a while to fill."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.holds: int | None = None
        self.users: list[FakeStream] = []

    def copy_(self, source: int, non_blocking: bool) -> None:
        assert non_blocking
        self.cuda.now.work.extend((lambda: self._set(None), lambda: self._set(source)))

    def record_stream(self, stream: FakeStream) -> None:
        self.users.append(stream)

    def _set(self, value: int | None) -> bool:
        self.holds = value
        return True


class FakeCuda:
    """In the place of `torch.cuda`."""

    Stream, Event = FakeStream, FakeEvent

    def __init__(self) -> None:
        self.computing = self.now = FakeStream()

    def current_stream(self, device: object) -> FakeStream:
        return self.now

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.now, before = stream, self.now
        yield
        self.now = before


@given(
    places=st.integers(1, 5),
    order=st.one_of(st.none(), st.lists(st.integers(0, 4), max_size=12)),
    chance=st.randoms(use_true_random=False),
)
def test_events_keep_copies_and_reads_in_order(places: int, order: list[int] | None, chance: Random) -> None:
    cuda = FakeCuda()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgengine.streaming.torch.cuda", cuda)
        buffers = [(FakeBuffer(cuda),) for _ in range(min(BUFFERS, places))]
        sources: Any = [(place,) for place in range(places)]
        copier = CudaCopier(sources, buffers, CPU)  # type: ignore[arg-type]
        rotation = Rotation(places, copier)
        seen: list[int | None] = []
        wanted = [place % places for place in order] if order is not None else [*range(places)] * 3
        for place in wanted:
            with rotation.reading(place) as number:
                for _ in range(3):  # a read that takes a while
                    cuda.computing.work.append(partial(_look, buffers[number][0], seen))
    copying = copier._stream
    assert all(buffer.users == [copying] for (buffer,) in buffers)
    streams: Any = [cuda.computing, copying]
    while any(stream.work for stream in streams):
        ready = [stream for stream in streams if stream.work]
        chance.shuffle(ready)
        assert any(_advanced(stream) for stream in ready), "the streams wait for each other"
    assert seen == [place for place in wanted for _ in range(3)]


def _look(buffer: FakeBuffer, seen: list[int | None]) -> bool:
    seen.append(buffer.holds)
    return True


def _advanced(stream: FakeStream) -> bool:
    """Does the next piece of work of a stream, if it can be done."""
    if not stream.work[0]():
        return False
    stream.work.popleft()
    return True


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", [Recipe(), Recipe("nvfp4")])
def test_on_a_gpu(recipe: Recipe) -> None:
    resident = load_model(deep(), "cuda", torch.bfloat16, recipe)
    expected = answers(resident)
    for streamed in (1, 2, 3, 4, LAYERS):
        model = load_model(deep(), "cuda", torch.bfloat16, recipe, streamed=streamed)
        sources = [tensor for source in model.stack.stream._sources for tensor in source]  # type: ignore[union-attr]
        assert all(tensor.is_pinned() for tensor in sources)
        for _ in range(20):
            assert torch.equal(answers(model), expected)
