"""What lets a model see: a checkpoint's image processor and vision tower, each read when first needed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dgengine.config import ModelConfig, read_json
from dgengine.errors import CheckpointError, EngineError, ImageError
from dgengine.vision import opening
from dgengine.vision.spans import ImageTokens, Picture, has_images, parts_of

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from dgengine.vision.tower import Patches, Tower

_PROCESSORS: Final = ("processor_config.json", "preprocessor_config.json")
_REMEMBERED = 16  # images whose soft tokens are kept: 25 MB of the full model's
_TOKENS: Final = {"image_token_id": 258_880, "boi_token_id": 255_999, "eoi_token_id": 258_882}  # transformers' defaults


class Sight:
    """The images of one model's chats.

    Attributes:
        tokens: that images are written with; their `text` is the tokenizer's to say.
        both_ways: whether an image's tokens see each other both ways when they are encoded, or only those before.
    """

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        """Of a model directory for which `why_blind` finds no reason; the model runs on `device` in `dtype`.

        Raises:
            CheckpointError: its configuration cannot be read.
        """
        from transformers import DiffusionGemmaConfig

        data = read_json(folder / "config.json")
        data.pop("quantization_config", None)
        self._config: Any = DiffusionGemmaConfig.from_dict(data)
        self._folder, self._device, self._dtype = folder, device, dtype
        self.tokens = ImageTokens(*(getattr(self._config, name) for name in _TOKENS))
        text: Any = self._config.text_config
        self.both_ways = text.use_bidirectional_attention == "vision"
        self._counts: dict[str, int] = {}
        self._seen: OrderedDict[str, torch.Tensor] = OrderedDict()

    def shown(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The messages with a `Picture` in each of their image parts, in the place of its path.

        Raises:
            ImageError: a file cannot be read as an image, or is none; or a part names no file.
        """
        return [self._message(message) if has_images([message]) else message for message in messages]

    def _message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**message, "content": [self._part(part) for part in parts_of(message)]}

    def _part(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if part.get("type") != "image":
            return part
        if not isinstance(part.get("path"), str | Path):
            raise ImageError("An image in a message needs the path of its file.")
        return {"type": "image", "picture": self.picture(Path(part["path"]))}

    def picture(self, path: Path) -> Picture:
        """The image in a file; one that has been read before is known by its bytes, and not decoded again.

        Raises:
            ImageError: see `opening`; or its sides are too far apart for the vision tower.
        """
        data = opening.read_file(path)
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._counts:
            return Picture(digest, self._counts[digest], data, path.name)
        patches = self._patches(data, path.name)
        self._counts[digest] = patches.count
        return Picture(digest, patches.count, data, path.name, patches)

    def features(self, picture: Picture) -> torch.Tensor:
        """An image's soft tokens [count, D], on the model's device and in its dtype. The caller does not change them.

        Raises:
            CheckpointError: the vision tower cannot be read. InsufficientMemoryError: nor held.
        """
        if picture.digest not in self._seen:
            patches = picture.patches or self._patches(picture.data, picture.name)
            self._seen[picture.digest] = self.tower.look(patches, self._device).to(self._dtype)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        picture.patches = None
        self._seen.move_to_end(picture.digest)
        return self._seen[picture.digest]

    @cached_property
    def tower(self) -> Tower:
        """The vision tower, in the host's memory.

        Raises:
            CheckpointError: it cannot be read. InsufficientMemoryError: it does not fit.
        """
        from dgengine.vision.tower import load

        return load(self._folder, self._config, self._dtype)

    @cached_property
    def _processor(self) -> Any:
        """transformers' image processor, as the checkpoint sets it up; without such a file, as its towers are made."""
        from transformers import Gemma4ImageProcessorPil

        vision = self._config.vision_config
        if not any((self._folder / name).is_file() for name in _PROCESSORS):
            return Gemma4ImageProcessorPil(patch_size=vision.patch_size, pooling_kernel_size=vision.pooling_kernel_size)
        try:
            return Gemma4ImageProcessorPil.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise CheckpointError(f"The image processor's configuration cannot be read: {error}") from error

    def _patches(self, data: bytes, name: str) -> Patches:
        return self._prepared(opening.decode(data, name), name)

    def _prepared(self, image: Image, name: str) -> Patches:
        from dgengine.vision.tower import Patches

        try:
            found = self._processor(images=[image], return_tensors="pt")
        except ValueError as error:  # one side would be less than a soft token wide
            raise ImageError(
                f"{opening.shown(name)} cannot be seen at {image.width} by {image.height} pixels: cut out a part."
            ) from error
        return Patches(found["pixel_values"], found["image_position_ids"], int(found["num_soft_tokens_per_image"][0]))


def why_blind(folder: Path, config: ModelConfig, name: str) -> str | None:
    """Why a model cannot see images, in one sentence; None where it can.

    Args:
        folder: its directory.
        config: its dimensions.
        name: as it is called.
    """
    from dgengine.checkpoint import is_vision
    from dgengine.tensor_files import TensorFiles, weight_files

    blind = f"{name} cannot see images"
    try:
        data = read_json(folder / "config.json")
        ids = [data.get(token, default) for token, default in _TOKENS.items()]
        written = all(isinstance(token, int) and 0 <= token < config.vocab_size for token in ids)
        if not data.get("vision_config") or not written:
            return f"{blind}."
        with ExitStack() as stack:
            has_tower = any(is_vision(tensor) for tensor in TensorFiles(weight_files(folder), stack).names)
    except EngineError as error:
        return f"{blind}: {error}"
    return None if has_tower else f"{blind}: its files hold no vision tower."
