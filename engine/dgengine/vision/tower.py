"""The vision tower: transformers' own Gemma 4 vision model, with a checkpoint's weights.

It is kept in the host's memory. On a GPU its weights are copied there for the time of one image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaMultimodalEmbedder
from transformers.models.gemma4.modeling_gemma4 import Gemma4VisionModel

from dgengine import memory, planner
from dgengine.errors import CheckpointError, InsufficientMemoryError, first_line
from dgengine.tensor_files import TensorFiles, weight_files

TOWER: Final = "model.encoder.vision_tower."
EMBEDDER: Final = "model.encoder.embed_vision."

_FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16})
# On a GPU, besides the weights: a layer's activations in float32, many times over.
_WORKSPACE = 512 * 2**20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """An image as the vision tower reads it.

    Attributes:
        pixels: float32 [1, P, 3 * patch size ** 2], zeros where there is no patch.
        positions: int64 [1, P, 2], column and row of each patch; -1 where there is none.
        count: soft tokens that come of it.
    """

    pixels: Tensor
    positions: Tensor
    count: int


class Tower(nn.Module):
    """Patches to soft tokens in the text model's width."""

    def __init__(self, vision_config: Any, text_config: Any) -> None:
        super().__init__()
        self.tower = Gemma4VisionModel(vision_config)
        self.embedder = DiffusionGemmaMultimodalEmbedder(vision_config, text_config)

    def forward(self, pixels: Tensor, positions: Tensor) -> Tensor:
        """`Patches` of one image -> [count, D]."""
        found = self.tower(pixel_values=pixels, pixel_position_ids=positions)
        embedded: Tensor = self.embedder(inputs_embeds=found.last_hidden_state)
        return embedded

    @torch.inference_mode()
    def look(self, patches: Patches, device: torch.device) -> Tensor:
        """The soft tokens of an image, [count, D], on `device`.

        Where a GPU has no room for the weights the processor computes them, which takes seconds to minutes.

        Raises:
            CheckpointError: the tower does not fit the image processor.
        """
        if int(patches.positions.max()) >= self.tower.config.position_embedding_size:
            raise CheckpointError("The image has more patches on a side than the vision tower has positions.")
        if device.type == "cpu":
            return _checked(self(patches.pixels, patches.positions), patches)
        if memory.free(device).free > self.nbytes() + _WORKSPACE:
            try:
                return _checked(self._look_on(patches, device), patches)
            except Exception as error:
                if not memory.is_exhausted(error):
                    raise
                memory.give_back(error, device)
        _log.info("the GPU has no room for the vision tower; the processor computes it")
        return _checked(self(patches.pixels, patches.positions), patches).to(device)

    def _look_on(self, patches: Patches, device: torch.device) -> Tensor:
        weights = {name: tensor.to(device) for name, tensor in self._named()}
        arguments = (patches.pixels.to(device), patches.positions.to(device))
        embedded: Tensor = functional_call(self, weights, arguments)
        return embedded

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        return chain(self.named_parameters(), self.named_buffers())

    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(tensor.nbytes for _, tensor in self._named())


def load(folder: Path, config: Any, dtype: torch.dtype) -> Tower:
    """The vision tower of a model directory, on the CPU.

    Args:
        folder: the directory.
        config: transformers' `DiffusionGemmaConfig` of it.
        dtype: of the weights.

    Raises:
        CheckpointError: a tensor is missing, unexpected, misshapen, or stored in codes.
        InsufficientMemoryError: the host has no room for it.
    """
    tower = _empty(config)
    _refuse_too_large(sum(tensor.numel() for tensor in tower.state_dict().values()) * dtype.itemsize)
    with ExitStack() as stack:
        files = TensorFiles(weight_files(folder), stack)
        tower.load_state_dict(_weights(files, tower, dtype), assign=True)
    # What is computed and not stored was made on the meta device, too.
    rotary = tower.tower.encoder.rotary_emb
    tower.tower.encoder.rotary_emb = type(rotary)(config.vision_config)
    return tower.eval().requires_grad_(False)


def _empty(config: Any) -> Tower:
    """A tower without weights.

    Raises:
        CheckpointError: the configuration is not one.
    """
    try:
        with torch.device("meta"):
            return Tower(config.vision_config, config.text_config)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"The vision tower's configuration is not valid: {first_line(error)}.") from error


def _weights(files: TensorFiles, tower: Tower, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of the tower, by their names in it; each is checked."""
    wanted = {_stored_name(name): (name, tuple(tensor.shape)) for name, tensor in tower.state_dict().items()}
    found = {name for name in files.names if name.startswith((TOWER, EMBEDDER))}
    for names, fault in ((wanted.keys() - found, "lacks"), (found - wanted.keys(), "has besides")):
        if names:
            raise CheckpointError(f"The checkpoint's vision tower {fault} {len(names)} tensors, such as {min(names)}.")
    weights = {}
    for stored, (name, shape) in wanted.items():
        tensor = files.raw(stored)
        if tuple(tensor.shape) != shape or tensor.dtype not in _FLOATS:
            raise CheckpointError(
                f"The tensor {stored} is {tensor.dtype} {list(tensor.shape)}; plain floats of {list(shape)} are read."
            )
        weights[name] = tensor.to(dtype)
    return weights


def _stored_name(name: str) -> str:
    part, _, rest = name.partition(".")
    return f"{TOWER if part == 'tower' else EMBEDDER}{rest}"


def _refuse_too_large(need: int) -> None:
    free = memory.host().free
    if need > free:
        raise InsufficientMemoryError(
            f"To see images takes {planner.gib(need)} of main memory, and {planner.gib(free)} are free: close other "
            "programs, or ask without the image."
        )


def _checked(embedded: Tensor, patches: Patches) -> Tensor:
    if embedded.shape[0] != patches.count:
        raise CheckpointError(
            f"The vision tower gives {embedded.shape[0]} tokens for an image that takes {patches.count}: its "
            "configuration does not fit that of the image processor."
        )
    return embedded
