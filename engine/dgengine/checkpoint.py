"""Loads a model from a Hugging Face model directory.

Strict: every tensor of the file is either one that the model needs, with exactly the shape that the configuration
implies, or one that is known to be set aside. Nothing is left as it was allocated. Only safetensors files are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dgengine.config import ModelConfig, read_json
from dgengine.errors import CheckpointError
from dgengine.model import Model
from dgengine.weights import EMBEDDING, Shape, build, expected_shapes

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_VISION = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_NAMED = 5  # how many offenders an error lists

# Second names of tensors that the file holds under a first: the tied head, and what encoder and decoder share.
_ALIASES = (
    (re.compile(r"lm_head\.weight"), EMBEDDING),
    (re.compile(r"model\.encoder\.language_model\.(.+)"), r"model.decoder.\1"),
)


def load_model(path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """Loads the text model of a directory with config.json and safetensors, in one file or in shards with an index.

    Weights stored in another floating dtype are converted. The files are memory-mapped. Vision tensors are recognised
    and not loaded. Needs no tokenizer.

    Args:
        path: the model directory.
        device: where the weights go.
        dtype: of weights, activations and cache: float32 or bfloat16.

    Raises:
        ConfigError: another architecture, or something that the engine does not support.
        CheckpointError: a file or tensor that is missing, unexpected, misshapen, unreadable or corrupted.
        ValueError: another dtype.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"the engine computes in float32 or bfloat16, not in {dtype}")
    folder = Path(path)
    _refuse_other_forms(folder)
    config = ModelConfig.from_directory(folder)
    with ExitStack() as stack:
        tensors = TensorFiles(_weight_files(folder), torch.device(device), dtype, stack)
        _check(tensors, config, folder)
        return Model(config, build(config, tensors.take))


class TensorFiles:
    """The tensors of several open safetensors files, by name."""

    def __init__(self, files: list[Path], device: torch.device, dtype: torch.dtype, stack: ExitStack) -> None:
        """Opens `files`; `stack` closes them.

        Raises:
            CheckpointError: a file is unreadable or corrupted, or two hold a tensor of the same name.
        """
        self._device = device
        self._dtype = dtype
        self._homes: dict[str, tuple[Path, Any]] = {}
        for file in files:
            handle = stack.enter_context(_open(file, device))
            for name in handle.keys():  # noqa: SIM118 - not a mapping
                if name in self._homes:
                    raise CheckpointError(f"{file} and {self._homes[name][0]} both hold the tensor {name}.")
                self._homes[name] = (file, handle)

    @property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return set(self._homes)

    def describe(self, name: str) -> tuple[Shape, str]:
        """Shape and safetensors dtype of a tensor, without reading it."""
        _, handle = self._homes[name]
        view = handle.get_slice(name)
        return tuple(view.get_shape()), view.get_dtype()

    def take(self, name: str) -> Tensor:
        """Reads a tensor onto the device, in the model's dtype.

        Raises:
            CheckpointError: the file cannot be read there.
        """
        file, handle = self._homes[name]
        try:
            tensor: Tensor = handle.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"The tensor {name} cannot be read from {file}: {_reason(error)}.") from error
        return tensor.to(self._dtype)


def _open(file: Path, device: torch.device) -> Any:
    try:
        return safe_open(file, framework="pt", device=str(device))
    except SafetensorError as error:
        message = f"{file} is not a whole safetensors file (truncated or corrupted?): {_reason(error)}."
        raise CheckpointError(message) from error
    except FileNotFoundError as error:
        raise CheckpointError(f"The weight file {file} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _refuse_other_forms(folder: Path) -> None:
    if folder.suffix == ".gguf" or (folder.is_dir() and any(folder.glob("*.gguf")) and not _has_weights(folder)):
        raise CheckpointError(f"{folder} is in GGUF format, which is not supported; use a safetensors checkpoint.")
    if not folder.exists():
        raise CheckpointError(f"There is no model directory {folder}.")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; a model is a directory with config.json and safetensors in it.")


def _has_weights(folder: Path) -> bool:
    return (folder / _SINGLE).exists() or (folder / _INDEX).exists()


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _INDEX).exists():
        return _shards(folder)
    if (folder / _SINGLE).exists():
        return [folder / _SINGLE]
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise CheckpointError(
            f"{folder} holds its weights as pickle, which can run code and is never loaded; convert it to safetensors."
        )
    raise CheckpointError(f"{folder} holds no weights: neither {_SINGLE} nor {_INDEX}.")


def _shards(folder: Path) -> list[Path]:
    weight_map = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / _INDEX} has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{folder / _INDEX} names the file {name!r} outside the model directory.")
    return [folder / name for name in names]


def _check(tensors: TensorFiles, config: ModelConfig, folder: Path) -> None:
    """Raises CheckpointError unless the files hold exactly the tensors of `config`."""
    expected = expected_shapes(config)
    if missing := expected.keys() - tensors.names:
        raise CheckpointError(f"{folder} lacks {_listed(missing)}.")
    extra = {name for name in tensors.names - expected.keys() if not name.startswith(_VISION)}
    aliases = {name: first for name in extra if (first := _first_name(name)) in expected}
    if unexpected := extra - aliases.keys():
        raise CheckpointError(f"{folder} holds {_listed(unexpected)}, which this architecture does not have.")
    shapes = expected | {name: expected[first] for name, first in aliases.items()}
    for name, shape in sorted(shapes.items()):
        _check_form(name, shape, *tensors.describe(name))
    for name, first in sorted(aliases.items()):
        if not torch.equal(tensors.take(name), tensors.take(first)):
            raise CheckpointError(f"The tensor {name} differs from {first}, to which it should be tied.")


def _check_form(name: str, expected: Shape, shape: Shape, dtype: str) -> None:
    if shape != expected:
        raise CheckpointError(
            f"The tensor {name} has the shape {list(shape)}; the configuration asks for {list(expected)}."
        )
    if dtype not in _FLOATS:
        raise CheckpointError(f"The tensor {name} is stored as {dtype}; only plain floating-point weights are read.")


def _first_name(name: str) -> str:
    for pattern, first in _ALIASES:
        if match := pattern.fullmatch(name):
            return match.expand(first)
    return name


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return f"the tensor{'s' if len(ordered) > 1 else ''} {', '.join(ordered[:_NAMED])}{more}"
