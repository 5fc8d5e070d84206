"""A canvas whose place is told in the device's memory is where, and sees what, it would be told by the host."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor

from dgengine.attention import attend
from dgengine.cache import KVCache
from dgengine.checkpoint import load_model
from dgengine.model import Model
from tests.engine.tiny import SPECS, tiny_checkpoint


def ids(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 60, (count,), generator=torch.Generator().manual_seed(seed))


def drawn(model: Model, layer: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Queries and keys [C, H + KV, d], and values [C, KV, d]."""
    own, config = model.config.layers[layer], model.config
    shape = (config.canvas_length, config.num_attention_heads + own.num_key_value_heads, own.head_dim)
    return (
        torch.randn(shape, generator=generator),
        torch.randn(shape[0], own.num_key_value_heads, own.head_dim, generator=generator),
    )


def seen_by_the_host(model: Model, cache: KVCache, layer: int, queries_keys: Tensor, values: Tensor) -> Tensor:
    """As a pass attends that knows the length."""
    from dgengine.attention import everything

    own, heads = model.config.layers[layer], model.config.num_attention_heads
    start, end = cache.length, cache.length + model.config.canvas_length
    visible = everything(start, model.config.sliding_window if own.kind == "sliding" else None)
    room = cache.room(layer, visible.first, start, end)
    room.new_keys.copy_(queries_keys[:, heads:])
    room.new_values.copy_(values)
    return attend(queries_keys[:, :heads].transpose(0, 1), room.keys, room.values, visible)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("slack", [0, 64])
def test_it_attends_to_what_a_pass_sees(spec: str, slack: int) -> None:
    """While buffers grow, and while the oldest tokens of sliding layers are dropped."""
    model = load_model(tiny_checkpoint(spec))
    cache, generator = model.new_cache(slack), torch.Generator().manual_seed(1)
    frames, start = set(), 0
    for count in (0, 1, 5, 30, 3, 200, 90, 300):
        model.encode(ids(count), cache) if count else None
        frame = model.frame(cache)
        assert frame is model.frame(cache)
        frames.add(frame)
        for layer in range(len(model.config.layers)):
            given = drawn(model, layer, generator)
            with torch.inference_mode():
                found, wanted = frame.attend(layer, *given), seen_by_the_host(model, cache, layer, *given)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
            factors = model.rotary[layer].range(cache.length, model.config.canvas_length)
            assert all(map(torch.equal, frame.rotary[layer], factors))
        start += count
    assert cache.length == start and 2 <= len(frames) <= 4


def test_what_was_never_written_does_not_show() -> None:
    """Buffers are finite everywhere, though memory that is given out anew may hold anything."""
    model = load_model(tiny_checkpoint("base"))
    cache = model.new_cache()
    for count in (20, 300):
        model.encode(ids(count), cache)
        for layer in range(len(model.config.layers)):
            own = cache.buffers(layer)
            assert own.keys.shape[1] > cache.length
            assert not own.keys[:, cache.length :].any() and not own.values[:, cache.length :].any()


def test_dropping_old_tokens_keeps_the_buffers() -> None:
    model = load_model(tiny_checkpoint("base"))  # whose first layer slides
    cache = model.new_cache(slack=0)
    model.encode(ids(200), cache)
    model.frame(cache)
    before = cache.buffers(0).keys.data_ptr()
    other = model.new_cache()
    model.encode(ids(200), other)
    for more in (40, 60, 50):
        model.encode(ids(more, more), cache)
        model.encode(ids(more, more), other)
        canvas = ids(model.config.canvas_length, 7)
        assert torch.equal(model.decode(canvas, cache), model.decode(canvas, other))
    assert cache.buffers(0).keys.data_ptr() == before and cache.buffers(0).start > 0


def test_a_buffer_that_grows_takes_the_place_of_the_old_one() -> None:
    """Nothing holds the old buffers of all layers while one after the other is copied."""
    model = load_model(tiny_checkpoint("base"))
    cache = model.new_cache(slack=0)
    model.encode(ids(20), cache)
    old = weakref.ref(model.frame(cache))
    cache.reserve(30)
    assert cache.frame is old() is not None, "they have not grown"
    cache.reserve(400)
    assert cache.frame is old() is None
    assert model.frame(cache) is cache.frame


@pytest.mark.parametrize("spec", SPECS)
def test_padding_is_neither_seen_nor_kept(spec: str) -> None:
    model = load_model(tiny_checkpoint(spec))
    plain, padded = model.new_cache(slack=0), model.new_cache(slack=0)
    for count in (3, 16, 1, 70, 33):
        model.encoded_lengths = ()
        model.encode(ids(count, count), plain)
        model.encoded_lengths = (16, 64)
        model.encode(ids(count, count), padded)
        assert padded.length == plain.length and torch.equal(padded.ids, plain.ids)
        canvas = ids(model.config.canvas_length, 7)
        found, wanted = model.decode(canvas, padded), model.decode(canvas, plain)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
