"""Tiny checkpoints in each public quantised layout, and what they say written out in plain floats.

Codes and scales are drawn at random, not made by the engine, and decoded here by the formats' definitions, in float64:
a mistake in the engine's codecs cannot hide in both. No two scales are alike, so that one in the wrong place shows.

As in `tests.engine.tiny`, directories are made once per test session; copy one before breaking it.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.engine.tiny import TinySpec, make_checkpoint, session_folder

Layout: TypeAlias = Literal["modelopt-nvfp4", "compressed-nvfp4", "compressed-fp8", "plain-apart"]
Tensors: TypeAlias = dict[str, Tensor]
Coded: TypeAlias = tuple[Tensors, Tensor]
"""The tensors of a matrix as they are stored, by the last part of their names, and the matrix in float64."""

WEIGHTS = "model.safetensors"
LAYOUTS: tuple[Layout, ...] = ("modelopt-nvfp4", "compressed-nvfp4", "compressed-fp8", "plain-apart")

# Every width is a multiple of 16, no two of a spec are equal, and experts are more than twice those a token takes,
# but for "few", where a plain checkpoint has all experts computed.
SPECS = {
    "routed": TinySpec(
        vocab_size=96, hidden_size=64, intermediate_size=48, layer_types=("sliding", "sliding", "full"),
        num_experts=8, top_k_experts=3, moe_intermediate_size=32,
    ),
    "wide": TinySpec(
        vocab_size=130, hidden_size=128, intermediate_size=192, layer_types=("full", "sliding", "full"),
        num_experts=16, top_k_experts=2, moe_intermediate_size=64, canvas_length=12, num_attention_heads=8,
    ),
    "few": TinySpec(num_experts=4, top_k_experts=2),
}  # fmt: skip

_E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=torch.float64)
_EXPERTS = re.compile(r"(.+\.experts)\.(gate_up_proj|down_proj)")
_MLP = re.compile(r"(.+\.layers\.\d+\.mlp\.\w+_proj)\.weight")
_ATTENTION = re.compile(r"(.+\.self_attn\.[qkvo]_proj)\.weight")


@dataclass(frozen=True)
class Pair:
    """A checkpoint in a quantised layout, and the same weights in plain float32, which transformers can load."""

    coded: Path
    plain: Path


def checkpoint(layout: Layout, spec: str = "routed") -> Pair:
    """The checkpoint of a layout, made once per process."""
    return _made(layout, spec)


@functools.cache
def _made(layout: Layout, spec: str) -> Pair:
    root = session_folder() / f"{layout}-{spec}"
    plain = make_checkpoint(root / "plain", SPECS[spec])
    coded = root / "coded"
    coded.mkdir()
    tensors = load_file(plain / WEIGHTS)
    stored, decoded = _translated(tensors, layout)
    save_file(stored, coded / WEIGHTS)
    save_file(decoded, plain / WEIGHTS, metadata={"format": "pt"})
    shutil.copy(plain / "generation_config.json", coded)
    config = json.loads((plain / "config.json").read_text())
    (coded / "config.json").write_text(json.dumps(config | _quantization_config(layout)))
    return Pair(coded, plain)


def split(folder: Path, shards: int = 2) -> None:
    """Cuts a directory's one weight file into shards, tensors dealt out in turn, with an index."""
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    files = [f"model-{shard + 1:05}-of-{shards:05}.safetensors" for shard in range(shards)]
    for shard, file in enumerate(files):
        save_file({name: tensors[name] for name in names[shard::shards]}, folder / file)
    weight_map = {name: files[index % shards] for index, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / WEIGHTS).unlink()


def _translated(tensors: Tensors, layout: Layout) -> tuple[Tensors, Tensors]:
    """The tensors as the layout stores them, and decoded."""
    generator = torch.Generator().manual_seed(LAYOUTS.index(layout))
    code = functools.partial(_CODERS[layout], generator=generator)
    stored: Tensors = {}
    decoded: Tensors = {}
    for name, tensor in sorted(tensors.items()):
        if match := _EXPERTS.fullmatch(name):
            own, plain = _experts(match[1], match[2], tensor, code)
        elif match := _coded_dense(name, layout):
            parts, weight = code(tensor)
            own, plain = {f"{match[1]}.{part}": value for part, value in parts.items()}, weight
        else:
            own, plain = {name: tensor.to(torch.bfloat16)}, tensor
        stored |= own
        decoded[name] = plain.float().contiguous()
    return stored, decoded


def _coded_dense(name: str, layout: Layout) -> re.Match[str] | None:
    if layout == "compressed-fp8" and (match := _ATTENTION.fullmatch(name)):
        return match
    return _MLP.fullmatch(name) if layout in ("compressed-fp8", "compressed-nvfp4") else None


def _experts(prefix: str, projection: str, fused: Tensor, code: Callable[[Tensor], Coded]) -> Coded:
    """Every expert's matrices by themselves, and the fused tensor decoded."""
    names = ("gate_proj", "up_proj") if projection == "gate_up_proj" else ("down_proj",)
    stored: Tensors = {}
    decoded = []
    for expert, matrix in enumerate(fused):
        for name, part in zip(names, matrix.chunk(len(names)), strict=True):
            parts, weight = code(part)
            stored |= {f"{prefix}.{expert}.{name}.{key}": value for key, value in parts.items()}
            decoded.append(weight)
    return stored, torch.cat(decoded).view(fused.shape)


def _nvfp4(weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random codes, block scales and global scale of a matrix of this shape; and the matrix, of about this size."""
    rows, columns = weight.shape
    codes = torch.randint(256, (rows, columns // 2), generator=generator, dtype=torch.uint8)
    scales = torch.randint(0x68, 0x7F, (rows, columns // 16), generator=generator, dtype=torch.uint8)
    scales = scales.view(torch.float8_e4m3fn)
    global_scale = (torch.rand((), generator=generator) + 0.5) * columns**-0.5 / 600
    values = torch.stack((_E2M1[(codes & 15).long()], _E2M1[(codes >> 4).long()]), dim=-1).view(rows, -1, 16)
    decoded = values * scales.double().unsqueeze(-1) * global_scale.double()
    return codes, scales, global_scale, decoded.view(rows, columns)


def _modelopt(weight: Tensor, generator: torch.Generator) -> Coded:
    codes, scales, global_scale, decoded = _nvfp4(weight, generator)
    activations = torch.rand((), generator=generator)
    parts = {"weight": codes, "weight_scale": scales, "weight_scale_2": global_scale, "input_scale": activations}
    return parts, decoded


def _compressed_nvfp4(weight: Tensor, generator: torch.Generator) -> Coded:
    codes, scales, global_scale, decoded = _nvfp4(weight, generator)
    stored_scale = (1 / global_scale).view(1)
    decoded = decoded / global_scale.double() / stored_scale.double()
    activations = torch.rand(1, generator=generator)
    return {
        "weight_packed": codes, "weight_scale": scales, "weight_global_scale": stored_scale,
        "input_global_scale": activations,
    }, decoded  # fmt: skip


def _compressed_fp8(weight: Tensor, generator: torch.Generator) -> Coded:
    codes = (torch.randn(weight.shape, generator=generator) * 100).clamp(-448, 448).to(torch.float8_e4m3fn)
    scales = ((torch.rand(weight.shape[0], 1, generator=generator) + 0.5) * weight.shape[1] ** -0.5 / 100).bfloat16()
    return {"weight": codes, "weight_scale": scales}, codes.double() * scales.double()


def _plain_apart(weight: Tensor, generator: torch.Generator) -> Coded:
    return {"weight": weight.to(torch.bfloat16)}, weight.double()


_CODERS: dict[Layout, Callable[..., Coded]] = {
    "modelopt-nvfp4": _modelopt,
    "compressed-nvfp4": _compressed_nvfp4,
    "compressed-fp8": _compressed_fp8,
    "plain-apart": _plain_apart,
}


def _quantization_config(layout: Layout) -> dict[str, Any]:
    """What says in config.json that a checkpoint is quantised, cut down to what names it."""
    configs: dict[Layout, dict[str, Any]] = {
        "modelopt-nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]},
        "compressed-nvfp4": {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"},
        "compressed-fp8": {"quant_method": "compressed-tensors", "format": "float-quantized"},
    }
    return {"quantization_config": configs[layout]} if layout in configs else {}
