"""The full model's dimensions are those of the published checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

from dgengine.full_model import FULL, VISION, vision_shapes
from dgengine.weights import expected_shapes

# Read off the headers of google/diffusiongemma-26B-A4B-it's shards.
PUBLISHED_TENSORS = 1047
PUBLISHED_BYTES = 51.6e9
MANIFEST = json.loads((Path(__file__).parent / "quantized" / "nvidia_nvfp4.json").read_text())


def test_as_many_tensors_and_bytes_as_published() -> None:
    text, vision = expected_shapes(FULL), vision_shapes()
    assert not text.keys() & vision.keys()
    assert len(text) + len(vision) == PUBLISHED_TENSORS
    numbers = sum(math.prod(shape) for shape in (*text.values(), *vision.values()))
    assert abs(2 * numbers - PUBLISHED_BYTES) < 0.05e9


def test_vision_tensors_are_as_many_as_in_nvidias_checkpoint() -> None:
    shapes = vision_shapes()
    assert len(shapes) == MANIFEST["vision_tensors"]
    assert all(name.startswith(("model.encoder.vision_tower.", "model.encoder.embed_vision.")) for name in shapes)
    assert sum(name.endswith("mlp.down_proj.linear.weight") for name in shapes) == VISION.num_hidden_layers


def test_every_sixth_layer_sees_everything() -> None:
    assert [index for index, layer in enumerate(FULL.layers) if layer.kind == "full"] == [5, 11, 17, 23, 29]
