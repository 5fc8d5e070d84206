"""How large everything is: as the full model has it, or so small that an interpreter can run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dgengine.config import LayerConfig, ModelConfig, RopeConfig
from dgengine.full_model import FULL


@dataclass(frozen=True)
class MoeSize:
    """A mixture of experts: D hidden, X wide, E experts of which a token takes K."""

    hidden: int
    width: int
    experts: int
    top_k: int


@dataclass(frozen=True)
class Sizes:
    """What is drawn and how often it is run.

    Attributes:
        config: the model's dimensions.
        contexts: tokens of prompts for the time to the first step, in ascending order.
        context: tokens of the prompt that steps are timed after.
        slow_context: the same where no kernels are used.
        canvases: of an answer that is timed, the first of which is not.
        steps: of a canvas.
        slow_steps: likewise without kernels.
        tokens: that a mixture of experts is given.
        odd: sizes that are no powers of two, by form.
        repeats: of what is timed.
        slow_repeats: of references and rivals that take long.
        reference_tokens: that the reference takes at once: it makes a copy of an expert for each.
        flushed: bytes that are read to empty the cache.
        copied: bytes of the copy that measures the bandwidth.
        product: rows and columns of the matrices that measure the rate.
        pocket_tokens: of the canvas that the built-in model is given.
        compiles: whether transformers' model is compiled as well.
    """

    config: ModelConfig
    contexts: tuple[int, ...]
    context: int
    slow_context: int
    canvases: int
    steps: int
    slow_steps: int
    tokens: int
    odd: dict[str, MoeSize]
    repeats: int
    slow_repeats: int
    reference_tokens: int
    flushed: int
    copied: int
    product: int
    pocket_tokens: int
    compiles: bool

    @property
    def moe(self) -> MoeSize:
        """The model's."""
        config = self.config
        return MoeSize(config.hidden_size, config.moe_intermediate_size, config.num_experts, config.top_k_experts)


FULL_SIZES: Final = Sizes(
    config=FULL,
    contexts=(512, 4096, 32_768),
    context=4096,
    slow_context=4096,
    canvases=3,
    steps=16,
    slow_steps=4,
    tokens=256,
    odd={"nvfp4": MoeSize(224, 96, 9, 3), "nf4": MoeSize(192, 320, 9, 3)},
    repeats=50,
    slow_repeats=5,
    reference_tokens=16,
    flushed=2**31,
    copied=2**32,
    product=8192,
    pocket_tokens=64,
    compiles=True,
)

_TINY_MODEL: Final = ModelConfig(
    vocab_size=128,
    hidden_size=64,
    intermediate_size=64,
    num_attention_heads=2,
    layers=(LayerConfig("full", head_dim=32, num_key_value_heads=1),),
    sliding_window=16,
    rope_sliding=RopeConfig(theta=10_000.0),
    rope_full=RopeConfig(theta=1_000_000.0, rotated=0.25),
    max_position_embeddings=1024,
    num_experts=5,
    top_k_experts=2,
    moe_intermediate_size=64,
    canvas_length=4,
)

TINY_SIZES: Final = Sizes(
    config=_TINY_MODEL,
    contexts=(4,),
    context=4,
    slow_context=4,
    canvases=2,
    steps=2,
    slow_steps=2,
    tokens=4,
    odd={"nvfp4": MoeSize(96, 32, 3, 2), "nf4": MoeSize(192, 64, 3, 2)},
    repeats=1,
    slow_repeats=1,
    reference_tokens=3,
    flushed=2**12,
    copied=2**16,
    product=64,
    pocket_tokens=3,
    compiles=False,
)
"""For a dry run: every line is run, and no figure means anything."""
