"""A training checkpoint to a Hugging Face directory: `python -m pocket.export out/pocket engine/dgengine/pocket`.

The directory holds bf16 safetensors, config, generation config, tokenizer and chat template, and `pocket.json`: how the
model came about and the checksum of the guide that it has learned. transformers loads it as it is. The smallest
possible vision tower is in it, because the architecture has one; it has learned nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pocket import tokenizer as tokenization
from pocket.network import Layer, Network, Shape
from pocket.provenance import rolled_up, unrolled

VISION = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "position_embedding_size": 16,
}
GENERATION = {  # more careful than the full model, whose temperatures are 0.8 to 0.4 and whose entropy bound is 0.1
    "max_new_tokens": 256,
    "max_denoising_steps": 48,
    "t_min": 0.3,
    "t_max": 0.6,
    "entropy_bound": 0.05,
    "confidence_threshold": 0.005,
    "stability_threshold": 1,
}


def layer_tensors(layer: Layer, prefix: str) -> dict[str, Tensor]:
    """A layer's weights under their public names."""
    tensors = {f"{prefix}{name}": value for name, value in layer.state_dict().items() if not name.startswith("experts")}
    experts = layer.experts
    tensors |= {
        f"{prefix}router.proj.weight": experts.router_proj.weight,
        f"{prefix}router.scale": experts.router_scale,
        f"{prefix}router.per_expert_scale": experts.per_expert_scale,
        f"{prefix}experts.gate_up_proj": experts.gate_up_proj,
        f"{prefix}experts.down_proj": experts.down_proj,
    }
    return tensors


def public_tensors(network: Network) -> dict[str, Tensor]:
    """Every trained weight under the name that public checkpoints give it; the rest of them is constant."""
    tensors = {
        "model.decoder.embed_tokens.weight": network.embed_tokens.weight,
        "model.decoder.norm.weight": network.norm.weight,
        "model.decoder.self_conditioning.pre_norm.weight": network.conditioning_norm.weight,
    }
    for name, value in network.conditioning.state_dict().items():
        tensors[f"model.decoder.self_conditioning.{name}"] = value
    for number, layer in enumerate(network.stack):
        tensors |= layer_tensors(layer, f"model.decoder.layers.{number}.")
    return {name: value.detach() for name, value in tensors.items()}


def read_weights(network: Network, source: Path) -> dict[str, Any]:
    """Fills the network with the weights of an exported directory; returns what its pocket.json says.

    Raises:
        KeyError: A weight is missing there.
    """
    from safetensors.torch import load_file

    saved = load_file(source / "model.safetensors")
    for name, value in public_tensors(network).items():
        value.copy_(saved[name])
    return rolled_up(json.loads((source / "pocket.json").read_text())["stages"])


def config_of(shape: Shape) -> Any:
    """The reference's configuration of this shape."""
    from transformers import DiffusionGemmaConfig

    text = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.dense,
        "num_hidden_layers": len(shape.layer_types),
        "layer_types": list(shape.layer_types),
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "global_head_dim": shape.global_head_dim,
        "num_global_key_value_heads": shape.global_kv_heads,
        "sliding_window": shape.window,
        "num_experts": shape.experts,
        "top_k_experts": shape.top_k,
        "moe_intermediate_size": shape.expert_width,
        "max_position_embeddings": shape.max_positions,
        "final_logit_softcapping": shape.softcap,
        "rms_norm_eps": shape.eps,
        "use_bidirectional_attention": "vision",
        "pad_token_id": tokenization.PAD,
        "eos_token_id": tokenization.EOS,
        "bos_token_id": tokenization.BOS,
    }
    return DiffusionGemmaConfig(
        text_config=text,
        vision_config={"model_type": "gemma4_vision", **VISION},
        canvas_length=shape.canvas,
        # There is no image token: ids beyond the vocabulary never occur.
        image_token_id=shape.vocab_size,
        boi_token_id=shape.vocab_size + 1,
        eoi_token_id=shape.vocab_size + 2,
    )


def write_weights(network: Network, target: Path) -> None:
    """config.json and model.safetensors, written by transformers itself.

    Raises:
        ValueError: A weight of the reference has no counterpart here, or the other way round.
    """
    from transformers import DiffusionGemmaForBlockDiffusion

    torch.manual_seed(0)  # the untrained vision tower
    model: Any = DiffusionGemmaForBlockDiffusion(config_of(network.shape)).bfloat16()
    missing, unexpected = model.load_state_dict(public_tensors(network), strict=False)
    wanted = [name for name in missing if name.startswith("model.decoder") and "layer_scalar" not in name]
    if wanted or unexpected:
        raise ValueError(f"the network does not match the reference: missing {wanted}, unexpected {unexpected}")
    model.tie_weights()
    model.save_pretrained(target)


def write_generation_config(target: Path, changes: dict[str, float]) -> None:
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
        DiffusionGemmaGenerationConfig,
        EntropyBoundSamplerConfig,
    )

    values: dict[str, Any] = {**GENERATION, **changes}
    sampler = EntropyBoundSamplerConfig(entropy_bound=values.pop("entropy_bound"))
    config = DiffusionGemmaGenerationConfig(
        **values,
        sampler_config=sampler,
        eos_token_id=[tokenization.EOS, tokenization.TURN_END],
        pad_token_id=tokenization.PAD,
        bos_token_id=tokenization.BOS,
    )
    config.save_pretrained(target)


def write_tokenizer(source: Path, target: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(source), pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )
    tokenizer.chat_template = tokenization.CHAT_TEMPLATE
    tokenizer.save_pretrained(target)


def export(source: Path, target: Path, changes: dict[str, float] | None = None) -> None:
    """Writes the directory `target` from a training directory `source`, replacing what is there."""
    saved = torch.load(source / "checkpoint.pt", map_location="cpu", weights_only=True)
    shape = Shape(**{**saved["shape"], "layer_types": tuple(saved["shape"]["layer_types"])})
    network = Network(shape)
    network.load_state_dict(saved["weights"])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    write_weights(network, target)
    write_generation_config(target, changes or {})
    write_tokenizer(source / "tokenizer.json", target)
    write_provenance(target, saved["about"])


def write_provenance(target: Path, about: dict[str, Any]) -> None:
    story = {"guide_sha256": about["guide_sha256"], "stages": unrolled(about)}
    (target / "pocket.json").write_text(json.dumps(story, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="pocket.export")
    parser.add_argument("source", type=Path, help="the training's output directory")
    parser.add_argument("target", type=Path, help="the model directory to write")
    for name, value in GENERATION.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(value), help=f"sampler default to write (now {value})")
    options = vars(parser.parse_args())
    source, target = options.pop("source"), options.pop("target")
    export(source, target, {name: value for name, value in options.items() if value is not None})


if __name__ == "__main__":
    main()
