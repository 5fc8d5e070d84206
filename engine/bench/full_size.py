"""A checkpoint of the full size, without its numbers: how it loads and converts, and which cards it is planned for.

    PYTHONPATH=engine python -m bench.full_size --out DIR                          # 47,067 tensors, 18.8 GB, NVFP4
    PYTHONPATH=engine python -m bench.full_size --out DIR --layout bf16 --layers 6 # written, and converted to NVFP4
    PYTHONPATH=engine python -m bench.full_size --plans                            # what fits which card

The files have every tensor of the published checkpoints in its shape and dtype, and are sparse: nothing but headers and
scales is really on the disk, so that the time is that of the program and not of the disk. The table goes to stderr, the
JSON to stdout. What is measured:

* Loading: every layer is built as `load_model` builds it, and dropped. Memory is anonymous memory, sampled, beyond what
  the process had before it opened the files: what is mapped from a file costs none. The bytes of what was built must be
  those that `dgengine.footprint` foretells.
* Converting: `dgengine.convert` of a bf16 directory, likewise. Its result is not sparse.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from bench.sparse import write_sparse
from dgengine import footprint, planner
from dgengine.full_model import FULL, VISION, VisionConfig, vision_shapes

if TYPE_CHECKING:
    from dgengine.config import ModelConfig
    from dgengine.conversion import Forms
    from dgengine.tensor_files import TensorFiles
    from dgengine.weights import Report

Layout: TypeAlias = Literal["nvfp4", "bf16"]

CARDS = (8, 12, 16, 18, 24, 32, 48, 80)  # GiB that are free
_SHARD = 10 * 10**9
_SAMPLED_EVERY = 0.005  # seconds
_MIB = 2**20


# writing


class FormsOnly:
    """Stands for open files of which only names, shapes and dtypes are known."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms

    def __contains__(self, name: object) -> bool:
        return name in self._forms

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        return self._forms[name]


def checkpoint_forms(config: ModelConfig, vision: VisionConfig, layout: Layout) -> Forms:
    """Name, shape and dtype of every tensor: of Google's checkpoint in bf16, or of NVIDIA's in NVFP4."""
    from dgengine.conversion import converted_forms
    from dgengine.layouts import detect
    from dgengine.weights import expected_shapes

    text = expected_shapes(config)
    plain = {name: (shape, "BF16") for name, shape in (text | vision_shapes(vision, config.hidden_size)).items()}
    if layout == "bf16":
        return plain
    return converted_forms(plain, detect(text, cast("TensorFiles", FormsOnly(plain))))


def write_checkpoint(folder: Path, config: ModelConfig, forms: Forms) -> None:
    """Makes the directory with config.json, generation_config.json, an index and shards of up to 10 GB."""
    from dgengine.tensor_files import INDEX

    folder.mkdir(parents=True)
    shards = list(_shards(forms))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_sparse(folder / file, {name: forms[name] for name in names})
        weight_map |= dict.fromkeys(names, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(config.eos_token_id)}))
    (folder / "config.json").write_text(json.dumps(config_json(config)))


def _shards(forms: Forms) -> Iterator[list[str]]:
    """Names in their order, as many to a shard as it may hold."""
    from dgengine.tensor_writer import tensor_bytes

    ends = itertools.accumulate(tensor_bytes(*forms[name]) for name in sorted(forms))
    numbered = [(end // _SHARD, name) for end, name in zip(ends, sorted(forms), strict=True)]
    for _, group in itertools.groupby(numbered, key=lambda pair: pair[0]):
        yield [name for _, name in group]


def config_json(config: ModelConfig) -> dict[str, Any]:
    """The contents of a config.json that `ModelConfig.from_dict` reads as this configuration."""
    text = {
        name: getattr(config, name)
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_attention_heads",
            "num_hidden_layers",
            "sliding_window",
            "max_position_embeddings",
            "num_experts",
            "top_k_experts",
            "moe_intermediate_size",
            "rms_norm_eps",
            "final_logit_softcapping",
            "pad_token_id",
            "bos_token_id",
        )
    }
    kinds = {layer.kind: layer for layer in config.layers}
    full = kinds["full"]
    sliding = kinds.get("sliding", full)
    text |= {
        "eos_token_id": list(config.eos_token_id),
        "hidden_activation": "gelu_pytorch_tanh",
        "use_bidirectional_attention": "vision",
        "layer_types": [f"{layer.kind}_attention" for layer in config.layers],
        "head_dim": sliding.head_dim,
        "num_key_value_heads": sliding.num_key_value_heads,
        "global_head_dim": full.head_dim,
        "num_global_key_value_heads": full.num_key_value_heads,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": config.rope_sliding.theta},
            "full_attention": {
                "rope_type": "proportional",
                "partial_rotary_factor": config.rope_full.rotated,
                "rope_theta": config.rope_full.theta,
            },
        },
    }
    return {"model_type": "diffusion_gemma", "text_config": text, "canvas_length": config.canvas_length}


# measuring


class AnonymousMemory:
    """The most anonymous memory of this process while it runs as a context, in bytes beyond what it had at first.

    Read from Linux' /proc; elsewhere NaN.
    """

    def __init__(self) -> None:
        self.peak = float("nan")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> AnonymousMemory:
        if Path("/proc/self/status").exists():
            self._first = _anonymous_bytes()
            self.peak = 0
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join()

    def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, _anonymous_bytes() - self._first)
            if self._ended.wait(_SAMPLED_EVERY):
                return


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@dataclass(frozen=True)
class Loaded:
    """What one pass over a checkpoint took, every layer dropped when the next was built.

    Attributes:
        tensors: in the files.
        bytes: of what was built.
        peak_bytes: of anonymous memory; NaN where it is not known.
        open_seconds: until all headers were read and checked.
        seconds: in all.
    """

    tensors: int
    bytes: int
    peak_bytes: float
    open_seconds: float
    seconds: float


def load_and_drop(folder: Path, device: str = "cpu", report: Report = lambda done: None) -> Loaded:
    """Builds the weights of a model directory in bfloat16, part by part, and keeps none.

    Raises:
        ConfigError, CheckpointError: as `load_model`.
    """
    import torch

    from dgengine.checkpoint import open_checkpoint
    from dgengine.quantized.forms import Recipe
    from dgengine.reading import Reader

    start = time.perf_counter()
    with AnonymousMemory() as memory, ExitStack() as stack:
        config, files, layout = open_checkpoint(folder, stack)
        opened = time.perf_counter()
        reader = Reader(files, layout, torch.device(device), torch.bfloat16, Recipe())
        total = 0
        for done, size in enumerate(_built(config, reader), 1):
            total += size
            report(done / (len(config.layers) + 1))
        tensors = len(files.names)
    return Loaded(tensors, total, memory.peak, opened - start, time.perf_counter() - start)


def _built(config: ModelConfig, reader: Any) -> Iterator[int]:
    """Bytes of one layer after the other, then of what belongs to none."""
    from dgengine.weights import EMBEDDING, NORM, build_conditioning, build_layers

    for layer in build_layers(config, reader):
        yield sum(tensor.nbytes for tensor in layer.tensors())
        del layer  # before the next is built
    rest = (*build_conditioning(config, reader).tensors(), reader.tensor(EMBEDDING), reader.tensor(NORM))
    yield sum(tensor.nbytes for tensor in rest)


def measure_loading(folder: Path, config: ModelConfig, layout: Layout, report: Report) -> dict[str, Any]:
    loaded = load_and_drop(folder, report=report)
    precision = footprint.precision_of("nvfp4" if layout == "nvfp4" else "bfloat16")
    return {
        "tensors": loaded.tensors,
        "file_bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        "disk_bytes": sum(getattr(file.stat(), "st_blocks", 0) * 512 for file in folder.glob("*.safetensors")),
        "weight_bytes": loaded.bytes,
        "weight_bytes_foretold": footprint.weight_bytes(config, precision, "cpu").total,
        "open_seconds": loaded.open_seconds,
        "seconds": loaded.seconds,
        "peak_anonymous_bytes": loaded.peak_bytes,
    }


def measure_converting(folder: Path, target: Path, report: Report) -> dict[str, Any]:
    from dgengine.conversion import convert

    start = time.perf_counter()
    with AnonymousMemory() as memory:
        convert(folder, target, report=report)
    return {
        "converted_bytes": sum(file.stat().st_size for file in target.glob("*.safetensors")),
        "seconds": time.perf_counter() - start,
        "peak_anonymous_bytes": memory.peak,
    }


def measure(options: argparse.Namespace, config: ModelConfig, vision: VisionConfig) -> dict[str, Any]:
    """Writes the checkpoint, measures, and removes it unless it is to be kept."""
    import torch

    if options.layers:
        config = replace(config, layers=config.layers[-options.layers :])  # the last must be a full one
    folder, target = options.out / options.layout, options.out / "converted"
    forms = checkpoint_forms(config, vision, options.layout)
    try:
        write_checkpoint(folder, config, forms)
        result: dict[str, Any] = {"layers": len(config.layers), "threads": torch.get_num_threads()}
        with progress("loading") as report:
            result["loading"] = measure_loading(folder, config, options.layout, report)
        if options.layout == "bf16":
            with progress("converting") as report:
                result["converting"] = measure_converting(folder, target, report)
        return result
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(target, ignore_errors=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda done: bar.update(task, completed=done)


# planning


def plans_table(config: ModelConfig = FULL) -> str:
    """Markdown: what is planned for a card of which so much is free, in each precision; tokens of context."""
    names = planner.AUTOMATIC["cuda"]
    head = ["free", *names, "chosen", "with it"]
    rows = [head, ["---"] * len(head)]
    for size in CARDS:
        free = size * planner.GIB
        each = [planner.plan(config, free, free, name) for name in names]
        rows.append([f"{size} GiB", *map(_cell, each), *_chosen(planner.plan(config, free, free))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(plan: planner.Plan) -> str:
    if not plan.fits:
        return "no"
    streamed = f", {plan.offload.layers} layers streamed" if plan.offload else ""
    return f"{plan.context:,}{streamed}"


def _chosen(plan: planner.Plan) -> tuple[str, str]:
    if plan.offload:
        return plan.precision.name, f"{plan.offload.seconds_per_step:.2f} s of copying a step"
    parts = plan.parts
    reserve = parts.cuda_context + parts.fragmentation
    split = (parts.weights, parts.keys_and_values, parts.workspace, reserve)
    return plan.precision.name, " + ".join(f"{part / planner.GIB:.1f}" for part in split)


# the command


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{result['layers']} layers, {result['threads']} threads"]
    for what in ("loading", "converting"):
        if figures := result.get(what):
            lines += [what, *(f"  {name:<24} {_shown(name, value)}" for name, value in figures.items())]
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    if name.endswith("anonymous_bytes"):
        return f"{value / _MIB:,.0f} MiB"
    if "bytes" in name:
        return f"{value:,} = {value / 1e9:.2f} GB"
    return f"{value:.1f} s" if "seconds" in name else f"{value:,}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A checkpoint of the full size: how it loads, converts, and fits.")
    parser.add_argument("--out", type=Path, help="a directory for the checkpoint")
    parser.add_argument("--layout", choices=["nvfp4", "bf16"], default="nvfp4", help="NVIDIA's (default), or Google's")
    parser.add_argument("--layers", type=int, help="only so many of the last layers (default: all)")
    parser.add_argument("--keep", action="store_true", help="do not remove what was written")
    parser.add_argument("--plans", action="store_true", help="print what is planned for which card, and nothing else")
    options = parser.parse_args(arguments)
    if not options.plans and options.out is None:
        parser.error("give a directory for the checkpoint: --out DIR")
    return options


def main(arguments: Sequence[str] | None = None, config: ModelConfig = FULL, vision: VisionConfig = VISION) -> None:
    options = parse(arguments)
    if options.plans:
        print(plans_table(config))
        return
    result = measure(options, config, vision)
    print(table(result), file=sys.stderr)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
