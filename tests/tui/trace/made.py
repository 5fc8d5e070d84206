"""Traces to test with: of the fake engine, and large ones that settle as a real answer does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dgchat.trace.steps import About, BlockTrace, StepTrace, code_entropy
from dgengine import Sampling
from tests.tui.fakes import FakeEngine, FakeSession

STORY = "Once there was a quiet fox.\n\nIt found a lantern near the river, and the lantern was still warm. " * 2
_VOCABULARY = 262_144


def told(text: str = STORY, canvas: int = 32, steps: int = 6, prompt: str = "A story, please.") -> StepTrace:
    """How the fake engine comes to this text."""
    engine = FakeEngine(text, canvas=canvas, steps=steps)
    trace = StepTrace(about=About("fake", prompt, 7, engine.eos_ids))
    for event in FakeSession(engine).generate([1], Sampling()):
        trace.take(event)
    trace.learn(engine.spell)
    return trace


def realistic(blocks: int = 16, steps: int = 48, length: int = 256, seed: int = 0, candidates: int = 0) -> StepTrace:
    """An answer of `blocks` * `length` tokens: every position wavers, less and less, and then comes to its token."""
    rng = np.random.default_rng(seed)
    trace = StepTrace(about=About("realistic", "How?", seed))
    trace.blocks = [_block(rng, number, steps, length, candidates) for number in range(1, blocks + 1)]
    trace.learn(lambda ids: [_spelled(id_) for id_ in ids])
    return trace


def _spelled(id_: int) -> bytes:
    """A short word, a long one, or the end of a line."""
    return b".\n" if id_ % 40 == 39 else b" a%02x" % (id_ % 256) if id_ % 3 else b" word%05x" % id_


def _block(rng: np.random.Generator, number: int, steps: int, length: int, candidates: int) -> BlockTrace:
    due = np.sort(rng.uniform(0.1, 0.95, length)) * steps + rng.normal(0, steps / 10, length)
    draft = _words(rng, length)
    block = BlockTrace(number, length, converged=True)
    for step in range(1, steps + 1):
        undecided = due > step
        restless = undecided & (rng.random(length) < 0.35)
        draft = np.where(restless, _words(rng, length), draft).astype(np.int32)
        nats = np.where(undecided, rng.gamma(1.5, 1.0, length), rng.exponential(0.004, length)).astype(np.float32)
        block.drafts.append(draft)
        block.entropy.append(code_entropy(nats))
        block.accepted.append(np.packbits(~undecided))
        block.pinned.append(np.packbits(np.zeros(length, bool)))
        block.temperatures.append(0.8 - 0.4 * step / steps)
        block.seconds.append(0.03)
        if candidates:
            block.top_ids.append(np.stack([_words(rng, length) for _ in range(candidates)], axis=1))
            block.top_codes.append(rng.integers(0, 255, (length, candidates)).astype(np.uint8))
    block.tokens = draft.copy()
    return block


def _words(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
    """Tokens as frequent as words are: few often, most seldom."""
    return np.minimum(rng.zipf(1.3, count), _VOCABULARY - 1).astype(np.int32)
