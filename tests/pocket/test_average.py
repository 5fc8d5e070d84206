from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dgengine.engine import built_in_path
from pocket.average import main, mean, read


def checkpoint(value: float, guide: str = "a", width: int = 4) -> dict[str, Any]:
    weights = {"matrix": torch.full((2, width), value), "half": torch.full((3,), value, dtype=torch.bfloat16)}
    return {"weights": weights, "shape": {"hidden": width}, "about": {"guide_sha256": guide, "seed": value}}


def test_the_mean_goes_by_weight_and_keeps_dtypes() -> None:
    made = mean([(checkpoint(1.0), 3.0), (checkpoint(2.0, "b"), 1.0)])
    assert torch.equal(made["weights"]["matrix"], torch.full((2, 4), 1.25))
    assert made["weights"]["half"].dtype == torch.bfloat16
    assert made["about"]["guide_sha256"] == "b"
    assert [part["weight"] for part in made["about"]["mean_of"]] == [0.75, 0.25]


def test_other_shapes_and_empty_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        mean([(checkpoint(1.0), 1.0), (checkpoint(1.0, width=5), 1.0)])
    with pytest.raises(ValueError, match="more than zero"):
        mean([(checkpoint(1.0), 0.0)])


def test_an_exported_model_is_read_as_well() -> None:
    source = built_in_path()
    found = read(source)
    embedding = found["weights"]["embed_tokens.weight"]
    saved = load_file(source / "model.safetensors")
    assert torch.equal(embedding.bfloat16(), saved["model.decoder.embed_tokens.weight"])
    assert "guide_sha256" in found["about"] and found["shape"]["vocab_size"] == len(embedding)


def test_the_command_writes_what_training_goes_on_from(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 3.0)):
        (tmp_path / name).mkdir()
        torch.save(checkpoint(value), tmp_path / name / "checkpoint.pt")
        (tmp_path / name / "tokenizer.json").write_text(name)
    main([f"{tmp_path}/a:1", f"{tmp_path}/b:1", "--out", str(tmp_path / "mean")])
    saved = torch.load(tmp_path / "mean" / "checkpoint.pt", weights_only=True)
    assert torch.equal(saved["weights"]["matrix"], torch.full((2, 4), 2.0))
    assert (tmp_path / "mean" / "tokenizer.json").read_text() == "b"
