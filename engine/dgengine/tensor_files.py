"""The safetensors files of a model directory: which they are, what they hold, and their tensors as stored.

Nothing in a file is trusted. Names that lead out of the directory, what is no regular file, headers of absurd length,
and everything that the safetensors library finds wrong with a header (offsets that overlap, leave gaps or end beyond
the file, shapes that do not fit them) end in a CheckpointError, before any tensor is read.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dgengine.config import read_json
from dgengine.errors import CheckpointError

Shape: TypeAlias = tuple[int, ...]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_SUFFIX = ".safetensors"
# The header of 47,000 tensors takes 8 MB. Reading one takes several times its length in memory.
_LONGEST_HEADER = 32 * 2**20
_LENGTH_BYTES = 8
_LONGEST_NAME = 200


class TensorFiles:
    """The tensors of several open safetensors files, by name. They are memory-mapped."""

    def __init__(self, files: list[Path], stack: ExitStack) -> None:
        """Opens `files`; `stack` closes them.

        Raises:
            CheckpointError: a file is unreadable or corrupted, or two hold a tensor of the same name.
        """
        self._homes: dict[str, tuple[Path, Any]] = {}
        for file in files:
            handle = stack.enter_context(_open(file))
            for name in handle.keys():  # noqa: SIM118 - not a mapping
                if name in self._homes:
                    raise CheckpointError(f"{file} and {self._homes[name][0]} both hold the tensor {shown(name)}.")
                self._homes[name] = (file, handle)
        self._forms: dict[str, tuple[Shape, str]] = {}

    @property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return set(self._homes)

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def describe(self, name: str) -> tuple[Shape, str]:
        """Shape and safetensors dtype of a tensor, without reading it."""
        if name not in self._forms:
            view = self._homes[name][1].get_slice(name)
            self._forms[name] = (tuple(view.get_shape()), str(view.get_dtype()))
        return self._forms[name]

    def raw(self, name: str) -> Tensor:
        """A tensor as it is stored, on the CPU; nothing is copied before it is used.

        Raises:
            CheckpointError: the file cannot be read there.
        """
        file, handle = self._homes[name]
        try:
            tensor: Tensor = handle.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise CheckpointError(f"The tensor {name} cannot be read from {file}: {_reason(error)}.") from error
        return tensor


def shown(name: str) -> str:
    """A tensor's name as an error may print it: one line, without control characters, not too long."""
    plain = name if name.isprintable() else ascii(name)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}…"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model directory, by its index if it has one.

    Raises:
        CheckpointError: there are none, or the index is not one.
    """
    if (folder / INDEX).exists():
        return _shards(folder)
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise CheckpointError(
            f"{folder} holds its weights as pickle, which can run code and is never loaded; convert it to safetensors."
        )
    raise CheckpointError(f"{folder} holds no weights: neither {SINGLE} nor {INDEX}.")


def _shards(folder: Path) -> list[Path]:
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / INDEX} has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or "\\" in name or ":" in name:
            raise CheckpointError(f"{folder / INDEX} names the file {name!r} outside the model directory.")
        if not name.endswith(_SUFFIX) or "\0" in name:
            raise CheckpointError(f"{folder / INDEX} names the file {name!r}, which is no safetensors file.")
    return [folder / name for name in names]


def _open(file: Path) -> Any:
    try:
        _check_length(file)
        return safe_open(file, framework="pt", device="cpu")
    except SafetensorError as error:
        message = f"{file} is not a whole safetensors file (truncated or corrupted?): {_reason(error)}."
        raise CheckpointError(message) from error
    except FileNotFoundError as error:
        raise CheckpointError(f"The weight file {file} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {_reason(error)}.") from error


def _check_length(file: Path) -> None:
    """Raises CheckpointError for a file whose header would not be read in bounded memory and time."""
    if file.exists() and not file.is_file():  # a pipe would never end
        raise CheckpointError(f"{file} cannot be read: it is no regular file.")
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
    if length > min(_LONGEST_HEADER, file.stat().st_size):
        message = f"{file} is not a whole safetensors file (truncated or corrupted?)"
        raise CheckpointError(f"{message}: it announces a header of {length} bytes.")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
