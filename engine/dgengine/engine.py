"""`Engine`: a model, its tokenizer and its settings, from a name."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dgengine import hub, memory
from dgengine.capabilities import Capabilities
from dgengine.errors import (
    CheckpointError,
    DeviceError,
    ImageError,
    InsufficientMemoryError,
    ModelNotFoundError,
)
from dgengine.sampling import GenerationConfig, Sampling, eos_ids
from dgengine.speech import Speech
from dgengine.vision.spans import has_images

if TYPE_CHECKING:
    import torch

    from dgengine.cache import KVCache
    from dgengine.chat import EncodedChat, Message
    from dgengine.model import Model
    from dgengine.placement import Placement
    from dgengine.planner import Plan
    from dgengine.quantized.forms import Recipe
    from dgengine.session import Session
    from dgengine.vision.sight import Sight
    from dgengine.vision.spans import ImageSpan

Progress: TypeAlias = Callable[[str, float], None]
"""Called with what is being done ("download", "load") and how much of it is done, 0 to 1."""

BUILT_IN = "pocket"
_PLAIN_PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a loaded model is.

    Attributes:
        name: as it was asked for.
        path: the directory it was read from.
        parameters: how many, tied ones counted once.
        canvas_length: tokens denoised at once.
        vocab_size: token ids go from 0 to one below.
        context_length: tokens that prompt and answer may come to: the model's, or as many as have room.
        device: "cpu", "cuda:0".
        precision: how the experts are held: "float32", "bfloat16", "nvfp4", "fp8", "nf4".
        weight_bytes: memory of the device that the weights take.
        host_bytes: memory of the host that experts take which are streamed to the device.
        plan: how the device's memory was shared out; None where nothing was planned.
        notes: what is less than the model could do, and why: sentences for whoever runs it.
    """

    name: str
    path: Path
    parameters: int
    canvas_length: int
    vocab_size: int
    context_length: int
    device: str
    precision: str
    weight_bytes: int
    host_bytes: int = 0
    plan: Plan | None = None
    notes: tuple[str, ...] = ()


class Engine(Speech):
    """A loaded model. Make one with `Engine.load`."""

    def __init__(
        self, model: Any, path: Path, name: str, placement: Placement | None = None, graphs: bool | None = None
    ) -> None:
        """Wraps a model of `dgengine.checkpoint.load_model` that was read from `path`, placed as `placement` says.

        Args:
            graphs: as in `load`.
        """
        from dgengine.graphs.capture import step_graphs

        self.model = model
        self.path = path
        self.generation_config: GenerationConfig = read_generation_config(path)
        self.eos_ids = eos_ids(self.generation_config)
        Sampling().resolve(self.generation_config)  # what is wrong in the file shows at once
        self.info = EngineInfo(
            name=name,
            path=path,
            parameters=model.parameter_count(),
            canvas_length=model.config.canvas_length,
            vocab_size=model.config.vocab_size,
            context_length=placement.context if placement else model.config.max_position_embeddings,
            device=str(model.device),
            precision=model.expert_form or str(model.dtype).removeprefix("torch."),
            weight_bytes=model.weight_bytes(),
            host_bytes=model.host_bytes(),
            plan=placement.plan if placement else None,
            notes=(*(placement.notes if placement else ()), *_kernel_notes(model)),
        )
        own = weakref.ref(self)  # sessions may outlive it, and are not to keep it
        self._graphs, reason = step_graphs(model, graphs, lambda why: _note_no_graphs(own(), why))
        if reason is not None:
            self._note(reason)

    def _note(self, reason: str) -> None:
        """Notes why there are no graphs."""
        note = f"Steps are not run as CUDA graphs, and may take longer: {reason}."
        self.info = replace(self.info, notes=(*self.info.notes, note))

    @classmethod
    def load(
        cls,
        name: str | Path = BUILT_IN,
        device: str = "auto",
        precision: str = "auto",
        offline: bool = False,
        progress: Progress | None = None,
        context: int | None = None,
        kernels: bool | None = None,
        graphs: bool | None = None,
        fp8_head: bool = False,
    ) -> Engine:
        """Loads a model.

        On CUDA its weights, and the tokens of context, are made to fit the memory that is free, see `dgengine.planner`:
        `info.notes` says what is less than the model could do.

        Args:
            name: "pocket" (the built-in model), a directory in Hugging Face format, a known model's short name
                ("nvfp4"), or a hub id ("org/name", "org/name@revision"). What the hub's cache has nothing of is
                downloaded once, see `dgengine.hub.pull`; what it has a part of only is refused.
            device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1".
            precision: "auto" (on CUDA the most exact that fits, from bfloat16 down; float32 on the CPU), "float32",
                "bfloat16": of what is not stored quantised. "nvfp4" or "nf4" quantises plain experts while loading,
                "fp8" experts and dense projections, "nvfp4+fp8" experts and dense projections each to its own; the
                rest is bfloat16 on CUDA and float32 on the CPU.
            progress: told how far it is.
            context: tokens that prompt and answer may come to, at most the model's; None for as many as have room.
            kernels: whether quantised experts are computed by the kernels of `dgkernels`, where these run; None on a
                GPU only. Otherwise torch computes them; `info.notes` says why, if that was not wished.
            graphs: whether a denoising step is one CUDA graph, where it can be; None on a GPU only, unless the
                environment variable DGENGINE_GRAPHS is 0. Tokens are the same without, and `info.notes` says why, if
                that was not wished: some of the reasons show at the first step only.
            fp8_head: whether the kernels multiply with the vocabulary in FP8, on GPUs that have it; it takes a byte
                a number of the embedding more, and rounds the logits by some 1 %. `info.notes` says why, if not.

        Raises:
            ModelNotFoundError, CheckpointError, DeviceError: each says what to do. InsufficientMemoryError, a
                DeviceError, where it does not fit.
            ValueError: a context that is not positive.
        """
        if context is not None and context < 1:
            raise ValueError(f"a context of {context} tokens holds nothing")
        report = progress or (lambda stage, done: None)
        place = find_device(device)
        dtype, recipe = _dtype_and_recipe(precision, place)
        path = find_model(name, offline, report)
        report("load", 0.0)
        wanted = None if precision == "auto" else recipe
        model, placement = _placed(path, place, dtype, wanted, context, kernels, fp8_head, report)
        refusal = _use_fp8_head(model) if fp8_head else None
        engine = cls(model, path, str(name), placement, graphs)
        if refusal is not None:
            engine.info = replace(engine.info, notes=(*engine.info.notes, refusal))
        report("load", 1.0)
        return engine

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this engine can do with this model."""
        thinking = self.tokenizer.can_think
        reasons = {} if thinking else {"thinking": f"{self.info.name} was not made to think before it answers."}
        if self._why_blind:
            reasons["images"] = self._why_blind
        return Capabilities(thinking=thinking, images=self._why_blind is None, why_not=reasons)

    def encode_chat(
        self, messages: Sequence[Message], thinking: bool = False, max_new_tokens: int | None = None
    ) -> EncodedChat:
        """As `Speech.encode_chat`; messages may hold images, where the model can see.

        Raises:
            ImageError: it cannot, or one of the files is none that can be read.
        """
        if has_images(messages):
            if self._why_blind:
                raise ImageError(self._why_blind)
            messages = self._sight.shown(messages)
            self.tokenizer.image_tokens = self._sight.tokens
        return super().encode_chat(messages, thinking, max_new_tokens)

    @cached_property
    def _why_blind(self) -> str | None:
        from dgengine.vision.sight import why_blind

        return why_blind(self.path, self.model.config, self.info.name)

    @cached_property
    def _sight(self) -> Sight:
        from dgengine.vision.sight import Sight

        return Sight(self.path, self.model.device, self.model.dtype)

    def _read_image(self, ids: torch.Tensor, image: ImageSpan, cache: KVCache) -> None:
        self.model.encode_image(ids, self._sight.features(image.picture), cache, self._sight.both_ways)

    def session(self) -> Session:
        """A new conversation."""
        from dgengine.session import Session

        return Session(
            self.model,
            self.generation_config,
            lambda: self.tokenizer,
            self.info.context_length,
            self._read_image,
            self._graphs,
        )


def _note_no_graphs(engine: Engine | None, reason: str) -> None:
    if engine is not None:
        engine._note(reason)


def built_in_path() -> Path:
    """Where the built-in model lies in the installed package."""
    return Path(__file__).parent / BUILT_IN


def _use_fp8_head(model: Model) -> str | None:
    """Puts the head in FP8 where kernels compute it; where not, says why in a sentence."""
    from dgengine.kernels.vocabulary import kernel_head

    reason: str | None = "torch computes the logits"
    if model.kernel_head is not None:
        head, reason = kernel_head(model.embedding, model.config.final_logit_softcapping, fp8=True)
        model.kernel_head = head or model.kernel_head
    return None if reason is None else f"The head does not multiply in FP8: {reason}."


def _kernel_notes(model: Model) -> tuple[str, ...]:
    if model.kernel_note is None:
        return ()
    return (f"Not everything is computed by the fastest kernels: {model.kernel_note}.",)


def read_generation_config(path: Path) -> GenerationConfig:
    """generation_config.json of a model directory; empty where there is none.

    Raises:
        CheckpointError: it is no JSON object.
    """
    file = path / "generation_config.json"
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} must hold a JSON object, not a {type(config).__name__}.")
    return config


def find_model(name: str | Path, offline: bool = False, report: Progress = lambda stage, done: None) -> Path:
    """The directory of a model; what is on the hub is downloaded where the cache has nothing of it.

    Raises:
        ModelNotFoundError: nothing goes by that name, only a part of it is here, or (DownloadError) it cannot be
            fetched.
        CheckpointError: the name is that of a file.
    """
    if str(name) == BUILT_IN:
        return _built_in()
    path = Path(name).expanduser()
    if str(name) and path.is_dir():
        return path
    if path.is_file():
        raise CheckpointError(
            f"{path} is a file: give the directory of a Hugging Face checkpoint (GGUF is not supported)."
        )
    if isinstance(name, Path) or hub.parse(name) is None:
        raise ModelNotFoundError(_unknown(str(name)))
    return hub.locate(name, offline, lambda transfer: report("download", transfer.done / max(transfer.total, 1)))


def _built_in() -> Path:
    path = built_in_path()
    if not (path / "config.json").is_file():
        raise ModelNotFoundError(
            f"The built-in model is missing from this installation ({path}): install dgchat again, or give a directory."
        )
    return path


def _unknown(name: str) -> str:
    if name.startswith((".", "/", "~", "\\")) or name.count("/") > 1 or "\\" in name:
        return f"There is no directory {name}: check the path, or give 'pocket' for the built-in model."
    return f"No model is called {name!r}: give 'pocket' (built in), a directory, or a hub id such as org/name."


def find_device(device: str) -> torch.device:
    """The device of this name, "auto" being the GPU with the most memory, or the CPU where there is none.

    Raises:
        DeviceError: there is no such device.
    """
    import torch

    if device == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
        return torch.device("cuda", sizes.index(max(sizes)))
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"There is no device {device!r}: give auto, cpu or cuda.") from error
    if place.type not in ("cpu", "cuda"):
        raise DeviceError(f"The device {device!r} is not supported: give auto, cpu or cuda.")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"The device {device!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    return place


def _placed(
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    recipe: Recipe | None,
    context: int | None,
    kernels: bool | None,
    fp8_head: bool,
    report: Progress,
) -> tuple[Model, Placement]:
    """A model with as much as fits of what was asked for; a `recipe` of None leaves the precision to the plan.

    Raises:
        CheckpointError, InsufficientMemoryError: as `Engine.load`.
    """
    from dgengine.checkpoint import open_checkpoint, read_model
    from dgengine.footprint import fp8_head_bytes
    from dgengine.placement import place

    with ExitStack() as stack:
        config, files, layout = open_checkpoint(path, stack)
        besides = fp8_head_bytes(config) if fp8_head else 0
        found = place(config, layout, device, dtype, recipe, context, besides)
        try:
            model = read_model(
                config, files, layout, device, dtype, found.recipe, lambda done: report("load", done), found.streamed,
                kernels,
            )  # fmt: skip
        except Exception as error:
            if not memory.is_exhausted(error):
                raise
            memory.give_back(error, device)
            raise InsufficientMemoryError(
                "Memory ran out while the model was loaded: close other programs, or ask for a smaller precision, such "
                "as nvfp4+fp8."
            ) from error
    memory.release(device)  # what quantising took
    return model, found


def _dtype_and_recipe(precision: str, place: torch.device) -> tuple[torch.dtype, Recipe]:
    import torch

    from dgengine.quantized.forms import EXPERT_FORMS, Recipe, recipe_of

    recipe = Recipe() if precision in _PLAIN_PRECISIONS else recipe_of(precision)
    if recipe is None:
        known = ", ".join((*_PLAIN_PRECISIONS, *EXPERT_FORMS))
        raise DeviceError(f"There is no precision {precision!r}: give one of {known}.")
    if precision in ("float32", "bfloat16"):
        return getattr(torch, precision), recipe
    return torch.bfloat16 if place.type == "cuda" else torch.float32, recipe
