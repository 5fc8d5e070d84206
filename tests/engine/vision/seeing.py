"""Tiny random checkpoints that can see, and images to show them."""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.engine.tiny import SPECS, _byte_level_tokenizer, _randomise, session_folder

IMAGE, BEGIN, END = "<|image|>", "<|image>", "<image|>"
# As that of the full model: an image is written between empty lines, and texts are trimmed.
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|turn>' }}{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] | trim }}"
    "{% elif part['type'] == 'image' %}{{ '\n\n<|image|>\n\n' }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<turn|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}"
)


def make_seeing_checkpoint(
    folder: Path, name: str = "base", both_ways: bool = True, standardize: bool = True, soft_tokens: int = 70
) -> Path:
    """Writes a random checkpoint of `SPECS[name]` with a vision tower, an image processor, a tokenizer and a template.

    Args:
        both_ways: whether image tokens see each other both ways.
        standardize: whether the tower ends in a bias and a scale, as the full model's.
        soft_tokens: the most that an image takes.
    """
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, Gemma4ImageProcessorPil

    tokenizer = _tokenizer()
    spec = replace(SPECS[name], vocab_size=len(tokenizer), max_position_embeddings=4096)
    text = spec.text_config() | {"use_bidirectional_attention": "vision" if both_ways else None}
    vision: dict[str, Any] = {
        "model_type": "gemma4_vision", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 1024,
        "standardize": standardize,
    }  # fmt: skip
    ids: dict[str, Any] = dict(zip(("image_token_id", "boi_token_id", "eoi_token_id"), _ids(tokenizer), strict=True))
    config = DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=spec.canvas_length, **ids)
    model = DiffusionGemmaForBlockDiffusion(config)
    model.eval()
    _randomise(model, 0)
    with torch.no_grad():
        for number, (_, buffer) in enumerate(sorted(model.model.encoder.vision_tower.named_buffers(recurse=False))):
            buffer.copy_(torch.linspace(0.5, 1.5 + number, buffer.shape[0]).to(torch.bfloat16))
    model.generation_config.eos_token_id = [1, 4]
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Gemma4ImageProcessorPil(max_soft_tokens=soft_tokens).save_pretrained(folder)
    return folder


@functools.cache
def seeing_checkpoint(name: str = "base", both_ways: bool = True, standardize: bool = True) -> Path:
    """A directory with such a checkpoint, made once per process."""
    return make_seeing_checkpoint(
        session_folder() / f"{name}-{both_ways}-{standardize}-seeing", name, both_ways, standardize
    )


def _ids(tokenizer: Any) -> list[int]:
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in (IMAGE, BEGIN, END)]


def _tokenizer() -> Any:
    import copy

    tokenizer = copy.deepcopy(_byte_level_tokenizer())
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, BEGIN, END]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def picture_bytes(width: int = 96, height: int = 64, seed: int = 0, form: str = "PNG", **options: Any) -> bytes:
    """A file with a random image that is not the same anywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, form, **options)
    return file.getvalue()


def picture_file(folder: Path, name: str = "picture.png", **options: Any) -> Path:
    """The same as a file in `folder`."""
    path = folder / name
    path.write_bytes(picture_bytes(**options))
    return path


def asking(text: str, *images: Path, before: str = "") -> dict[str, Any]:
    """A question about images, which stand before its text; `before`: a text in front of them."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": before}] if before else []
    parts += [{"type": "image", "path": str(path)} for path in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
