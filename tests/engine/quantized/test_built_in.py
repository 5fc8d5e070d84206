"""The built-in model with its experts quantised still says what it said. Its evaluation, on answers by the hundred:

python -c "import dgengine; dgengine.convert('engine/dgengine/pocket', 'DIR')"
PYTHONPATH=engine python -m pocket.evaluate --model DIR
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from dgengine.engine import Engine
from dgengine.session import Session

PROMPTS = ("Tell me a story about a fox and a lantern.", "What is seven plus five?", "Name an animal that can swim.")


@functools.cache
def engine(precision: str) -> Engine:
    return Engine.load("pocket", device="cpu", precision=precision)


def encoded(own: Engine, prompt: str) -> tuple[Tensor, Session]:
    return torch.tensor(own.encode_chat([{"role": "user", "content": prompt}])), own.session()


def log_probabilities(own: Engine, prompt: str) -> Tensor:
    """Of every position of a first canvas, which is the same for all: [C, V]."""
    cache = own.model.new_cache()
    own.model.encode(encoded(own, prompt)[0], cache)
    canvas = torch.randint(
        5, own.info.vocab_size, (own.info.canvas_length,), generator=torch.Generator().manual_seed(1)
    )
    logits: Tensor = own.model.decode(canvas, cache)
    return logits.log_softmax(-1)


# Nats of divergence a position. Measured: 0.002 to 0.021 for four bits, 0.001 to 0.008 for eight.
@pytest.mark.parametrize(("precision", "bound"), [("nvfp4", 0.1), ("nf4", 0.1), ("nvfp4+fp8", 0.1), ("fp8", 0.05)])
def test_a_first_step_is_nearly_the_same(precision: str, bound: float) -> None:
    for prompt in PROMPTS:
        exact, coded = log_probabilities(engine("float32"), prompt), log_probabilities(engine(precision), prompt)
        divergence = (exact.exp() * (exact - coded)).sum(-1).mean()
        assert divergence < bound, divergence


def test_it_takes_fewer_bytes() -> None:
    plain, coded = (engine(precision).info for precision in ("float32", "nvfp4"))
    assert (plain.precision, coded.precision) == ("float32", "nvfp4")
    assert coded.parameters == plain.parameters
    assert coded.weight_bytes < 0.75 * plain.weight_bytes
