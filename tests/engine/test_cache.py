"""The K/V cache: what it keeps, what it drops, and what a roll-back may promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dgengine.cache import KVCache
from dgengine.checkpoint import load_model
from dgengine.config import LayerConfig, ModelConfig
from tests.engine.tiny import SPECS, tiny_checkpoint

WINDOW = SPECS["base"].sliding_window
SLIDING, FULL = 0, 2


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig.from_directory(tiny_checkpoint("base"))


def new_cache(config: ModelConfig, slack: int) -> KVCache:
    return KVCache(config, torch.device("cpu"), torch.float32, slack)


def fill(cache: KVCache, config: ModelConfig, count: int) -> None:
    """Commits tokens one by one; keys and values at each position hold that position, and the id too."""
    for position in range(cache.length, cache.length + count):
        cache.reserve(1)
        for index, layer in enumerate(config.layers):
            entry = torch.full((layer.num_key_value_heads, 1, layer.head_dim), float(position))
            cache.write(index, position, entry, -entry)
        cache.commit(torch.tensor([position]))


def assert_holds(cache: KVCache, layer: int, first: int) -> None:
    keys, values = cache.read(layer, first, cache.length)
    expected = torch.arange(first, cache.length, dtype=torch.float32)
    assert torch.equal(keys[0, :, 0], expected)
    assert torch.equal(values[-1, :, -1], -expected)


def test_full_layers_keep_everything_as_they_grow(config: ModelConfig) -> None:
    cache = new_cache(config, slack=0)
    fill(cache, config, 1000)
    assert cache.length == 1000
    assert_holds(cache, FULL, 0)
    assert torch.equal(cache.ids, torch.arange(1000))


def test_sliding_layers_keep_their_window_and_stay_small(config: ModelConfig) -> None:
    cache = new_cache(config, slack=5)
    sizes = set()
    for _ in range(40):
        fill(cache, config, 50)
        assert_holds(cache, SLIDING, cache.length - WINDOW - 5)
        sizes.add(cache.read(SLIDING, cache.length, cache.length)[0].untyped_storage().nbytes())
    assert len(sizes) == 1, "the buffer of a sliding layer must not grow with the text"


def test_rollback_within_the_slack_is_exact(config: ModelConfig) -> None:
    cache = new_cache(config, slack=300)
    fill(cache, config, 900)
    assert cache.rollback(650) == 650
    assert cache.length == 650
    assert_holds(cache, SLIDING, 650 - WINDOW)
    fill(cache, config, 400)
    assert_holds(cache, SLIDING, cache.length - WINDOW)
    assert_holds(cache, FULL, 0)


def test_rollback_past_what_is_kept_keeps_nothing(config: ModelConfig) -> None:
    cache = new_cache(config, slack=0)
    fill(cache, config, 900)
    assert cache.rollback(100) == 0
    assert cache.length == 0
    assert cache.ids.shape == (0,)
    fill(cache, config, 30)
    assert_holds(cache, SLIDING, 0)


def test_rollback_to_more_than_there_is_keeps_what_there_is(config: ModelConfig) -> None:
    cache = new_cache(config, slack=0)
    fill(cache, config, 10)
    assert cache.rollback(50) == 10
    assert cache.rollback(10) == 10


def test_a_short_text_rolls_back_anywhere(config: ModelConfig) -> None:
    cache = new_cache(config, slack=0)
    fill(cache, config, 200)
    for length in (150, 20, 3, 0):
        assert cache.rollback(length) == length


def test_a_negative_length_or_slack_is_refused(config: ModelConfig) -> None:
    with pytest.raises(ValueError, match="roll back"):
        new_cache(config, slack=0).rollback(-1)
    with pytest.raises(ValueError, match="slack"):
        new_cache(config, slack=-1)


def test_reserving_room_keeps_what_a_rollback_may_need(config: ModelConfig) -> None:
    cache = new_cache(config, slack=20)
    fill(cache, config, 240)
    cache.reserve(5000)
    assert_holds(cache, SLIDING, cache.length - WINDOW - 20)
    assert cache.rollback(220) == 220


def test_bytes_are_counted(config: ModelConfig) -> None:
    cache = new_cache(config, slack=0)
    assert cache.nbytes() == 0
    fill(cache, config, 1)
    heads = sum(layer.num_key_value_heads * layer.head_dim for layer in config.layers)
    assert cache.nbytes() == 256 * (2 * 4 * heads + 8)


def test_a_model_of_full_layers_only_always_rolls_back(config: ModelConfig) -> None:
    config = replace(config, layers=(LayerConfig("full", 24, 1),))
    cache = new_cache(config, slack=0)
    fill(cache, config, 2000)
    assert cache.rollback(1) == 1


def test_caches_of_one_model_are_apart() -> None:
    model = load_model(tiny_checkpoint("base"))
    one, other = model.new_cache(), model.new_cache()
    model.encode(torch.arange(20), one)
    model.encode(torch.arange(7), other)
    before = model.decode(torch.arange(8), one)
    model.encode(torch.arange(30), other)
    assert (one.length, other.length) == (20, 37)
    assert torch.equal(model.decode(torch.arange(8), one), before)
