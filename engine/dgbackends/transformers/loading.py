"""A checkpoint's weights, through transformers, accelerate and bitsandbytes."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs
import torch

from dgengine import memory
from dgengine.engine import find_device
from dgengine.errors import CheckpointError, DeviceError, InsufficientMemoryError, described, first_line

PLAIN: Final = ("auto", "float32", "bfloat16")
QUANTISED: Final = ("int8", "nf4")
# Routers are small and decide which experts are heard; the vision tower is small beside the rest.
_KEPT_PLAIN: Final = ["lm_head", "router.proj", "model.encoder.vision_tower", "model.encoder.embed_vision"]
_LINEARS_ONLY: Final = (
    "bitsandbytes quantises the linear layers alone, and the experts are none: at full size int8 still takes about "
    "49.5 GB, and nf4 little less. dgchat's own engine quantises the experts."
)
_OFFLOADED: Final = (
    "Not all of the weights fit on the GPU: what lies in the host's memory or on the disk is moved at every step, "
    "which makes each step slow. dgchat's own engine needs less memory."
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of transformers, and where it went.

    Attributes:
        model: a `DiffusionGemmaForBlockDiffusion`.
        device: where its inputs go.
        precision: "float32", "bfloat16", "int8", "nf4", or how the checkpoint is quantised.
        notes: what is less than the model could do, in sentences.
        offload: the folder of the weights that went to the disk, emptied when this is forgotten; None where there is
            none.
    """

    model: Any
    device: torch.device
    precision: str
    notes: tuple[str, ...]
    offload: tempfile.TemporaryDirectory[str] | None


def load_model(path: Path, device: str, precision: str) -> Loaded:
    """The model of a directory.

    Raises:
        CheckpointError, DeviceError, InsufficientMemoryError.
    """
    if precision not in (*PLAIN, *QUANTISED):
        known = ", ".join((*PLAIN, *QUANTISED))
        raise DeviceError(f"transformers has no precision {precision!r} here: give one of {known}.")
    spread = device == "auto" and torch.cuda.is_available()
    place = find_device(device)
    offload = _offload_folder() if spread else None
    options: dict[str, Any] = {"dtype": _dtype(precision, place)}
    if place.type != "cpu":
        _require("accelerate", "put a model on a GPU")
        options["device_map"] = "auto" if spread else {"": place}
    if offload is not None:
        options["offload_folder"] = offload.name
    if precision in QUANTISED:
        _require("accelerate", f"load at precision {precision}")
        _require("bitsandbytes", f"load at precision {precision}")
        options["quantization_config"] = _bitsandbytes(precision, options["dtype"])
    model = _from_pretrained(path, options)
    stored = _stored_quantised(model)
    return Loaded(
        model=model.eval(),
        device=_input_device(model, place),
        precision=precision if precision in QUANTISED else stored or str(model.dtype).removeprefix("torch."),
        notes=_notes(model, precision),
        offload=offload,
    )


def _dtype(precision: str, place: torch.device) -> torch.dtype:
    if precision in ("float32", "bfloat16"):
        found: torch.dtype = getattr(torch, precision)
        return found
    return torch.bfloat16 if place.type == "cuda" else torch.float32


def _bitsandbytes(precision: str, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_KEPT_PLAIN)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_KEPT_PLAIN,
    )


def _from_pretrained(path: Path, options: Mapping[str, Any]) -> Any:
    """The model, quietly, with every weight that it needs.

    Raises:
        CheckpointError, DeviceError, InsufficientMemoryError.
    """
    try:
        from transformers import DiffusionGemmaForBlockDiffusion
    except ImportError as error:
        raise DeviceError(
            f'This transformers does not have the model: pip install "transformers>=5.15" ({first_line(error)}).'
        ) from error
    try:
        reader: Any = DiffusionGemmaForBlockDiffusion  # its types do not tell of the report
        with _quiet():
            model, report = reader.from_pretrained(path, local_files_only=True, output_loading_info=True, **options)
    except Exception as error:
        if memory.is_exhausted(error):
            raise InsufficientMemoryError(
                "Memory ran out while transformers loaded the model: close other programs, or use dgchat's own "
                "engine, which needs less."
            ) from error
        raise CheckpointError(f"transformers cannot load {path}: {described(error)}") from error
    lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise CheckpointError(f"{path} lacks {len(lacking)} weights that transformers needs, such as {lacking[0]}.")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and warnings, which would be drawn over the screen."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _offload_folder() -> tempfile.TemporaryDirectory[str]:
    """Beside the caches: a temporary folder's usual place may itself be memory."""
    base = platformdirs.user_cache_path("dgchat") / "offload"
    base.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True)


def _input_device(model: Any, place: torch.device) -> torch.device:
    """Where a model that is spread out takes its inputs: on the first device of its map that computes."""
    for where in getattr(model, "hf_device_map", {}).values():
        if str(where) not in ("cpu", "disk"):
            return torch.device("cuda", where) if isinstance(where, int) else torch.device(where)
    return place


def _stored_quantised(model: Any) -> str | None:
    """How the checkpoint itself is quantised; None where it is not."""
    found = getattr(model.config, "quantization_config", None)
    if found is None:
        return None
    settings = found if isinstance(found, Mapping) else found.to_dict()
    return str(settings.get("quant_method", "quantised"))


def _notes(model: Any, precision: str) -> tuple[str, ...]:
    places = {str(where) for where in getattr(model, "hf_device_map", {}).values()}
    split = bool(places & {"cpu", "disk"}) and len(places) > 1
    return (*((_LINEARS_ONLY,) if precision in QUANTISED else ()), *((_OFFLOADED,) if split else ()))


def _require(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise DeviceError(f"To {what}, transformers needs {package}: pip install {package}.")
