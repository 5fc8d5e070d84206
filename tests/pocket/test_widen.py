"""A larger vocabulary for trained weights: the old rows stay, and the model says what it said before."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pocket import export
from pocket import tokenizer as tokenization
from pocket.network import Network
from pocket.widen import EMBEDDING, main, widened, widened_rows
from tests.pocket.test_export import SHAPE

OLD = tokenization.train(iter(["a fox and an owl", "the star of the story"]), SHAPE.vocab_size)
SMALL = replace(SHAPE, vocab_size=OLD.get_vocab_size())


def test_a_new_token_begins_as_the_mean_of_its_pieces() -> None:
    new = tokenization.with_words(OLD, ["kiwi"], 400)
    rows = torch.randn(OLD.get_vocab_size(), 8)
    wider = widened_rows(rows, OLD, new)
    pieces = OLD.encode("kiwi", add_special_tokens=False).ids
    assert len(wider) == new.get_vocab_size() and torch.equal(wider[: len(rows)], rows)
    assert torch.allclose(wider[new.token_to_id("kiwi")], rows[pieces].mean(0))


def test_what_the_old_tokens_mean_has_not_changed() -> None:
    new = tokenization.with_words(OLD, ["kiwi"], 400)
    about = {"guide_sha256": "a", "steps": 3}
    checkpoint = {"weights": Network(SMALL).state_dict(), "shape": asdict(SMALL), "about": about}
    made = widened(checkpoint, OLD, new, seed=5)
    assert made["shape"]["vocab_size"] == new.get_vocab_size() == len(made["weights"][EMBEDDING])
    told = made["about"]
    assert (told["guide_sha256"], told["vocab"], told["seed"]) == ("a", new.get_vocab_size(), 5)
    assert told["resumed_from"] == about
    assert {name for name, value in made["weights"].items() if value is not checkpoint["weights"][name]} == {EMBEDDING}


def test_the_command_writes_what_training_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocket.widen.TEXTS", 300)
    source, target, exported = tmp_path / "source", tmp_path / "target", tmp_path / "exported"
    source.mkdir()
    torch.manual_seed(1)
    state = {"weights": Network(SMALL).state_dict(), "shape": asdict(SMALL), "about": {"guide_sha256": "a"}}
    torch.save(state, source / "checkpoint.pt")
    OLD.save(str(source / "tokenizer.json"))
    main([str(source), str(target), "--vocab", "448"])
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 448
    export.export(target, exported)
    assert json.loads((exported / "config.json").read_text())["text_config"]["vocab_size"] == 448
    stages = json.loads((exported / "pocket.json").read_text())["stages"]
    assert [stage.get("vocab") for stage in stages] == [None, 448] and stages[1]["resumed_from"] == 0


@pytest.mark.parametrize("vocab", ["64", "100000"])
def test_a_vocabulary_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], vocab: str
) -> None:
    monkeypatch.setattr("pocket.widen.TEXTS", 1)
    OLD.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "target"), "--vocab", vocab])
    assert f"there are {OLD.get_vocab_size()} tokens" in capsys.readouterr().err
    assert not (tmp_path / "target").exists()
