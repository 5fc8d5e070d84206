"""Writes a plain checkpoint anew with its experts in NVFP4, in the layout of NVIDIA's ModelOpt.

Every expert's matrix is quantised by itself, read from a memory-mapped file and written to its place in the new one, so
memory holds one of them. Everything else is copied as it is. The new directory appears under its name only when all of
it is on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from dgengine.checkpoint import is_vision, open_checkpoint
from dgengine.config import read_json
from dgengine.errors import CheckpointError
from dgengine.layouts import Layout, ModelOptNvfp4, Stored, StoredExperts
from dgengine.quantized import nvfp4
from dgengine.tensor_files import INDEX, SINGLE, Shape, TensorFiles
from dgengine.tensor_writer import TensorWriter, tensor_bytes
from dgengine.weights import Report

Forms: TypeAlias = dict[str, tuple[Shape, str]]
"""Shape and safetensors dtype of tensors, by name."""

CONFIG = "config.json"
QUANTIZATION = "hf_quant_config.json"
_LARGEST_SHARD = 10 * 10**9
_OTHER_FILES = {".json", ".jinja", ".model", ".txt"}
_OWN_FILES = {CONFIG, QUANTIZATION, INDEX}
_LICENSES = {"LICENSE", "NOTICE"}
# Nobody has watched the activations. 1 maps those up to 2688 into the range of an engine that quantises them as well.
_ACTIVATION_SCALE = 1.0


def convert(
    source: str | Path,
    target: str | Path,
    device: str | torch.device = "cpu",
    report: Report = lambda done: None,
) -> Path:
    """Quantises the experts of the model directory `source` to NVFP4 and writes it all to the new directory `target`.

    Args:
        device: where the quantising is done.
        report: told the share that is done.

    Returns:
        The new directory.

    Raises:
        ConfigError, CheckpointError: `source` is no whole plain checkpoint, or its experts cannot be quantised;
            `target` is there already, or cannot be written.
    """
    source, target = Path(source), Path(target).resolve()
    if target.exists():
        _clear(target)
    with ExitStack() as stack:
        _, files, layout = open_checkpoint(source, stack)
        _refuse_quantized(source, layout)
        forms = converted_forms({name: files.describe(name) for name in files.names}, layout)
        conversion = _Conversion(source, files, layout, forms, torch.device(device), report)
        _write_whole(target, forms, conversion.write)
    return target


def _clear(target: Path) -> None:
    """Takes away an empty directory, in whose place the new one will be.

    Raises:
        CheckpointError: it is not empty, or cannot be taken away.
    """
    if not target.is_dir() or any(target.iterdir()):
        raise CheckpointError(f"{target} is there already; give a directory that is not.")
    try:
        target.rmdir()
    except OSError as error:
        raise CheckpointError(f"{target} is in use ({error.strerror}); give a directory that is not there.") from error


def converted_forms(forms: Mapping[str, tuple[Shape, str]], layout: Layout) -> Forms:
    """What the new checkpoint holds in place of `forms`: a pure function of names, shapes and dtypes."""
    kept = _copied(layout)
    converted = {name: form for name, form in forms.items() if name in kept or is_vision(name)}
    for experts in layout.experts.values():
        for matrix in _matrices(experts):
            for name, expected in (matrix.tensors() | matrix.optional()).items():
                converted[name] = (expected.shapes[0], next(iter(expected.dtypes)))
    return converted


def _copied(layout: Layout) -> set[str]:
    """The text tensors that stay as they are."""
    return {*layout.vectors, *(name for one in layout.matrices.values() for name in one.tensors())}


def quantization_config() -> dict[str, Any]:
    """What config.json says about the quantisation; experts only, so every other linear layer is listed as ignored."""
    weights = {"dynamic": False, "num_bits": 4, "type": "float", "group_size": nvfp4.BLOCK}
    return {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "config_groups": {"group_0": {"input_activations": weights, "weights": weights, "targets": ["Linear"]}},
        "ignore": list(_IGNORED),
        "producer": {"name": "dgchat"},
    }


_IGNORED = (
    "lm_head",
    "model.decoder.layers.*.mlp*",
    "model.decoder.layers.*.router*",
    "model.decoder.layers.*.self_attn*",
    "model.decoder.self_conditioning*",
    "model.encoder.embed_vision*",
    "model.encoder.vision_tower*",
)


def _refuse_quantized(source: Path, layout: Layout) -> None:
    coded: list[Stored | StoredExperts] = [*layout.experts.values(), *layout.matrices.values()]
    for one in coded:
        if one.form:
            raise CheckpointError(f"{source} is quantised already ({one.name} is {one.form}); convert a plain one.")


def _matrices(experts: StoredExperts) -> Iterator[ModelOptNvfp4]:
    """The matrices that a projection of all experts becomes, expert by expert."""
    prefix, _, projection = experts.name.rpartition(".")
    names = ("gate_proj", "up_proj") if projection == "gate_up_proj" else (projection,)
    count, rows, columns = experts.shape
    for expert in range(count):
        for name in names:
            yield ModelOptNvfp4(f"{prefix}.{expert}.{name}", (rows // len(names), columns))


def _plain_matrices(experts: StoredExperts, files: TensorFiles) -> Iterator[Tensor]:
    """The matrices of the source in the same order."""
    if experts.parts:
        for parts in experts.parts:
            yield from (files.raw(f"{part.name}.weight") for part in parts)
        return
    halves = 2 if experts.name.endswith("gate_up_proj") else 1
    for fused in files.raw(experts.name):
        yield from fused.chunk(halves)


def _write_whole(target: Path, forms: Forms, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a directory beside `target`, which takes its name at the end or is removed."""
    partial = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full_disk(target.parent, sum(tensor_bytes(*form) for form in forms.values()))
        partial.mkdir()
        write(partial)
        os.replace(partial, target)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(f"{folder} has room for {free / 1e9:.1f} GB, but {needed / 1e9:.1f} GB are needed.")


@dataclass(frozen=True)
class _Conversion:
    """What is converted, and into what."""

    source: Path
    files: TensorFiles
    layout: Layout
    forms: Forms
    device: torch.device
    report: Report

    def write(self, folder: Path) -> None:
        """Fills a new directory."""
        shards = _shards(self.forms)
        self._write_tensors(folder, shards)
        _copy_others(self.source, folder)
        _write_json(folder / QUANTIZATION, {"producer": {"name": "dgchat"}, "quantization": _old_style()})
        if len(shards) > 1:
            _write_json(folder / INDEX, _index(shards, self.forms))
        # last: without it, nothing takes the directory for a model
        config = read_json(self.source / CONFIG) | {"quantization_config": quantization_config()}
        _write_json(folder / CONFIG, config)

    def _write_tensors(self, folder: Path, shards: Mapping[str, list[str]]) -> None:
        with ExitStack() as stack:
            writers: dict[str, TensorWriter] = {}
            for file, names in shards.items():
                writer = stack.enter_context(TensorWriter(folder / file, {name: self.forms[name] for name in names}))
                writers |= dict.fromkeys(names, writer)
            for name, tensor in self._tensors():
                writers[name].write(name, tensor)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the new checkpoint."""
        kept = _copied(self.layout)
        yield from ((name, self.files.raw(name)) for name in self.forms if name in kept or is_vision(name))
        experts = list(self.layout.experts.values())
        for done, projection in enumerate(experts):
            self.report(done / len(experts))
            matrices = zip(_matrices(projection), _plain_matrices(projection, self.files), strict=True)
            for matrix, weight in matrices:
                yield from _quantized(matrix.name, weight.to(self.device))
        self.report(1.0)


def _shards(forms: Forms) -> dict[str, list[str]]:
    """Names by file, in their order, as many to a file as it may hold."""
    files: list[list[str]] = [[]]
    size = 0
    for name in sorted(forms):
        bytes_ = tensor_bytes(*forms[name])
        if files[-1] and size + bytes_ > _LARGEST_SHARD:
            files.append([])
            size = 0
        files[-1].append(name)
        size += bytes_
    if len(files) == 1:
        return {SINGLE: files[0]}
    return {f"model-{index + 1:05}-of-{len(files):05}.safetensors": names for index, names in enumerate(files)}


def _index(shards: Mapping[str, list[str]], forms: Forms) -> dict[str, Any]:
    weight_map = {name: file for file, names in shards.items() for name in names}
    size = sum(tensor_bytes(*form) for form in forms.values())
    return {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}


def _quantized(name: str, weight: Tensor) -> Iterable[tuple[str, Tensor]]:
    try:
        coded = nvfp4.encode(weight)
    except ValueError as error:
        raise CheckpointError(f"The matrix {name} cannot be quantised to nvfp4: {error}.") from error
    yield f"{name}.weight", coded.codes
    yield f"{name}.weight_scale", coded.scales
    yield f"{name}.weight_scale_2", coded.global_scales[0]
    yield f"{name}.input_scale", torch.tensor(_ACTIVATION_SCALE)


def _old_style() -> dict[str, Any]:
    """What ModelOpt's own file says, which some engines read in place of config.json."""
    return {
        "quant_algo": "NVFP4",
        "kv_cache_quant_algo": None,
        "group_size": nvfp4.BLOCK,
        "exclude_modules": list(_IGNORED),
    }


def _copy_others(source: Path, folder: Path) -> None:
    """Tokenizer, chat template, generation and processor settings, licence."""
    for file in sorted(source.iterdir()):
        wanted = file.suffix in _OTHER_FILES and file.name not in _OWN_FILES and not file.name.endswith(".index.json")
        if (wanted or file.stem in _LICENSES) and file.is_file():
            shutil.copyfile(file, folder / file.name)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
