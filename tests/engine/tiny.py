"""Makers of tiny random DiffusionGemma checkpoints, written by transformers itself.

Every weight is random and unlike every other: norms, router scales, per-expert scales and both sets of layer scalars
included, so that a mixed-up tensor shows. All values are exact in bfloat16, so that the float32 and the bfloat16 load
of one directory hold the same model.

Directories are made once per test session, under a temporary folder that goes away with the process. Treat them as
read-only: copy a directory before breaking it.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import DiffusionGemmaForBlockDiffusion, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|turn>' }}{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] }}{{ '<turn|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}"
)
_SENTENCES = (
    "The quick fox found a small lantern by the river.",
    "An owl eats mice, and sleeps through the day.",
    "What is seven plus five? Seven plus five is twelve.",
    "Tell me a story about a fox and a lantern, please.",
)


@dataclass(frozen=True)
class TinySpec:
    """The dimensions of one tiny checkpoint; the names are those of transformers' text config."""

    vocab_size: int = 96
    hidden_size: int = 32
    intermediate_size: int = 48
    layer_types: tuple[str, ...] = ("sliding", "sliding", "full")
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 16
    global_head_dim: int = 24
    num_global_key_value_heads: int | None = 1
    sliding_window: int = 8
    num_experts: int = 4
    top_k_experts: int = 2
    moe_intermediate_size: int = 16
    canvas_length: int = 8
    max_position_embeddings: int = 512
    final_logit_softcapping: float = 30.0
    rms_norm_eps: float = 1e-6
    sliding_theta: float = 10_000.0
    full_theta: float = 1_000_000.0
    partial_rotary_factor: float = 0.25

    def text_config(self) -> dict[str, Any]:
        """The keyword arguments of transformers' text config."""
        fields = dict(self.__dict__)
        for name in ("canvas_length", "sliding_theta", "full_theta", "partial_rotary_factor"):
            del fields[name]
        fields["layer_types"] = [f"{kind}_attention" for kind in self.layer_types]
        fields["num_hidden_layers"] = len(self.layer_types)
        fields["use_bidirectional_attention"] = "vision"
        fields["rope_parameters"] = {
            "sliding_attention": {"rope_type": "default", "rope_theta": self.sliding_theta},
            "full_attention": {
                "rope_type": "proportional",
                "partial_rotary_factor": self.partial_rotary_factor,
                "rope_theta": self.full_theta,
            },
        }
        return fields


# No two share a value in the dimensions that matter; windows are far shorter than the prompts of the parity tests.
# Expert widths are multiples of 8, which the reference's grouped product needs in bfloat16.
SPECS = {
    "base": TinySpec(),
    "deep": TinySpec(
        vocab_size=131, hidden_size=48, intermediate_size=64, layer_types=("sliding",) * 5 + ("full",),
        num_attention_heads=6, num_key_value_heads=3, head_dim=8, global_head_dim=16, num_global_key_value_heads=2,
        sliding_window=5, num_experts=8, top_k_experts=3, moe_intermediate_size=24, canvas_length=12,
    ),
    "ungrouped": TinySpec(
        vocab_size=200, hidden_size=64, intermediate_size=96, layer_types=("sliding", "full"),
        num_attention_heads=8, num_key_value_heads=8, head_dim=10, global_head_dim=32, num_global_key_value_heads=4,
        sliding_window=16, num_experts=3, top_k_experts=1, moe_intermediate_size=32, canvas_length=5,
        sliding_theta=500.0,
    ),
    "many-experts": TinySpec(
        vocab_size=77, hidden_size=40, intermediate_size=56, layer_types=("full", "sliding", "sliding", "full"),
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, global_head_dim=64, num_global_key_value_heads=2,
        sliding_window=3, num_experts=16, top_k_experts=8, moe_intermediate_size=8, canvas_length=16,
        final_logit_softcapping=5.0,
    ),
    "one-layer": TinySpec(
        vocab_size=64, hidden_size=24, intermediate_size=40, layer_types=("full",), num_attention_heads=3,
        num_key_value_heads=3, head_dim=12, global_head_dim=20, num_global_key_value_heads=1, sliding_window=7,
        num_experts=2, top_k_experts=2, moe_intermediate_size=40, canvas_length=9, partial_rotary_factor=0.5,
    ),
    "odd": TinySpec(
        vocab_size=109, hidden_size=56, intermediate_size=72,
        layer_types=("sliding", "full", "sliding", "sliding", "full"),
        num_attention_heads=5, num_key_value_heads=5, head_dim=14, global_head_dim=28, num_global_key_value_heads=None,
        sliding_window=11, num_experts=5, top_k_experts=4, moe_intermediate_size=48, canvas_length=7,
        rms_norm_eps=1e-5, full_theta=20_000.0, partial_rotary_factor=1.0,
    ),
    # of whole panels: the passes of these two are computed by dgengine.native where there is a compiler
    "panels": TinySpec(
        vocab_size=160, hidden_size=96, intermediate_size=64, layer_types=("sliding", "full", "sliding", "full"),
        head_dim=32, global_head_dim=64, sliding_window=13, moe_intermediate_size=32, canvas_length=24,
    ),
    "uneven-panels": TinySpec(
        vocab_size=224, hidden_size=128, intermediate_size=32, layer_types=("sliding", "sliding", "full"),
        num_attention_heads=3, num_key_value_heads=3, head_dim=64, global_head_dim=96, num_global_key_value_heads=1,
        sliding_window=6, num_experts=5, top_k_experts=3, moe_intermediate_size=64, canvas_length=37,
        final_logit_softcapping=8.0, rms_norm_eps=1e-5, partial_rotary_factor=0.5,
    ),
}  # fmt: skip


def make_checkpoint(
    folder: Path, spec: TinySpec = SPECS["base"], seed: int = 0, dtype: torch.dtype = torch.float32,
    max_shard_size: str = "1GB",
) -> Path:  # fmt: skip
    """Writes a random checkpoint of `spec` into `folder` as transformers' `save_pretrained` does; returns `folder`."""
    model = _random_reference(spec, seed)
    torch.nn.Module.to(model, dtype)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


def make_chat_checkpoint(folder: Path, spec: TinySpec = SPECS["base"], seed: int = 0) -> Path:
    """Like `make_checkpoint`, with a byte-level tokenizer and a chat template; the vocabulary is the tokenizer's."""
    tokenizer = _byte_level_tokenizer()
    vocab_size = len(tokenizer)
    model = _random_reference(replace(spec, vocab_size=vocab_size), seed)
    model.generation_config.eos_token_id = [1, 4]
    model.generation_config.pad_token_id = 0
    model.generation_config.bos_token_id = 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@functools.cache
def tiny_checkpoint(name: str = "base", seed: int = 0) -> Path:
    """A directory with the checkpoint `SPECS[name]`, made once per process."""
    return make_checkpoint(session_folder() / f"{name}-{seed}", SPECS[name], seed)


@functools.cache
def tiny_chat_checkpoint(name: str = "base", seed: int = 0) -> Path:
    """A directory with the checkpoint `SPECS[name]` and a tokenizer with a chat template, made once per process."""
    return make_chat_checkpoint(session_folder() / f"{name}-{seed}-chat", SPECS[name], seed)


@functools.cache
def session_folder() -> Path:
    """A temporary folder that goes away with the process."""
    folder = Path(tempfile.mkdtemp(prefix="dgchat-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _random_reference(spec: TinySpec, seed: int) -> DiffusionGemmaForBlockDiffusion:
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

    vision = {
        "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 64,
    }  # fmt: skip
    config = DiffusionGemmaConfig(
        text_config=spec.text_config(), vision_config=vision, canvas_length=spec.canvas_length
    )
    model = DiffusionGemmaForBlockDiffusion(config)
    model.eval()
    _randomise(model, seed)
    return model


@torch.no_grad()
def _randomise(model: DiffusionGemmaForBlockDiffusion, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters())
    tensors.update({name: buffer for name, buffer in model.named_buffers() if name.endswith("layer_scalar")})
    for name, tensor in sorted(tensors.items()):
        low, high = _range(name, tensor)
        values = torch.rand(tensor.shape, generator=generator) * (high - low) + low
        tensor.copy_(values.to(torch.bfloat16))


def _range(name: str, tensor: torch.Tensor) -> tuple[float, float]:
    """The range that a tensor's values are drawn from: activations stay of order one, attention far from saturated."""
    if name.endswith("layer_scalar"):
        return (0.5, 0.9) if ".encoder." in name else (0.8, 1.2)
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return 0.5 * tensor.shape[0] ** -0.25, 1.5 * tensor.shape[0] ** -0.25
    if tensor.ndim == 1:
        return 0.5, 1.5
    scale = 3.0 if name.endswith(("embed_tokens.weight", "router.proj.weight")) else 1.7
    bound = scale * float(tensor.shape[-1]) ** -0.5
    return -bound, bound


@functools.cache
def _byte_level_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(SPECIAL_TOKENS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")
    fast.chat_template = CHAT_TEMPLATE
    return fast
