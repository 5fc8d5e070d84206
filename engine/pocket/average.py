"""The weighted mean of checkpoints or exported models: `python -m pocket.average out/a:0.65 out/b:0.35 --out out/mean`.

Checkpoints that one training led to another from lie close enough together for their mean to be a model too, and often
one with fewer of either's faults. The result is a checkpoint as `train` writes it.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pocket.export import read_weights
from pocket.network import Network, Shape
from pocket.tokenizer import ChatTokenizer


def mean(parts: list[tuple[dict[str, Any], float]]) -> dict[str, Any]:
    """The mean of checkpoints by weight; what is told of how it came about is that of all of them.

    Raises:
        ValueError: checkpoints of different shapes, or weights that do not come to more than zero.
    """
    first, total = parts[0][0], sum(weight for _, weight in parts)
    if any(part["shape"] != first["shape"] for part, _ in parts):
        raise ValueError("checkpoints of different shapes have no mean")
    if total <= 0:
        raise ValueError("the weights must come to more than zero")
    weights = {
        name: sum(part["weights"][name].float() * (weight / total) for part, weight in parts).to(tensor.dtype)
        for name, tensor in first["weights"].items()
    }
    about = {
        # the guide that was learned last
        "guide_sha256": parts[-1][0]["about"]["guide_sha256"],
        "mean_of": [{"weight": weight / total, **part["about"]} for part, weight in parts],
    }
    return {"weights": weights, "shape": first["shape"], "about": about}


def read(folder: Path) -> dict[str, Any]:
    """The checkpoint of a training's output directory, or of an exported model."""
    if (folder / "checkpoint.pt").exists():
        checkpoint: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
        return checkpoint
    shape = Shape(vocab_size=ChatTokenizer.load(folder / "tokenizer.json").tokenizer.get_vocab_size())
    network = Network(shape)
    about = read_weights(network, folder)
    return {"weights": network.state_dict(), "shape": asdict(shape), "about": about}


def _part(text: str) -> tuple[Path, float]:
    folder, _, weight = text.rpartition(":")
    return Path(folder), float(weight)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="pocket.average", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="+", type=_part, metavar="DIR:WEIGHT", help="the latest one last")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    loaded = [(read(folder), weight) for folder, weight in options.parts]
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(mean(loaded), options.out / "checkpoint.pt")
    shutil.copy(options.parts[-1][0] / "tokenizer.json", options.out / "tokenizer.json")


if __name__ == "__main__":
    main()
