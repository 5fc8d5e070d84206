"""`dgchat convert`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from dgchat import cli
from dgchat.notes import Notes, bar
from dgchat.precisions import PRECISIONS, QUANTISED
from dgengine.quantized.forms import EXPERT_FORMS, recipe_of
from tests.tui.fakes import Pipe


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", Pipe())
    code = cli.run(args)
    return code, *capsys.readouterr()


def test_the_built_in_model_in_4_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "pocket-nvfp4"
    code, out, err = run(capsys, monkeypatch, "convert", "pocket", str(target))
    assert (code, out) == (0, f"{target}\n")
    assert err == f"dgchat: 14 MB became 11 MB; dgchat --model {target} runs it.\n"
    assert json.loads((target / "config.json").read_text())["quantization_config"]["quant_algo"] == "NVFP4"
    code, out, _ = run(capsys, monkeypatch, "--model", str(target), "--seed", "1", "Who are you?")
    assert code == 0 and out.startswith("I am pocket")
    code, out, err = run(capsys, monkeypatch, "convert", str(target), str(tmp_path / "again"))
    assert (code, out) == (3, "") and "is quantised already" in err and not (tmp_path / "again").exists()
    code, _, err = run(capsys, monkeypatch, "convert", "pocket", str(target))
    assert code == 3 and "is there already" in err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "takes SRC"),
        (["pocket"], 2, "takes SRC"),
        (["pocket", "a", "b"], 2, "takes SRC"),
        (["/no/such/model", "x"], 3, "There is no directory /no/such/model"),
        (["org/name", "x"], 3, "not in the hub's cache"),
        (["--device", "gpu", "pocket", "x"], 2, "There is no device 'gpu'"),
    ],
)
def test_what_cannot_be_converted(
    args: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, monkeypatch, "convert", *args)
    assert (found, out) == (code, "") and said in err and len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgengine.quantized import nvfp4

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nvfp4, "encode", interrupted)
    code, out, err = run(capsys, monkeypatch, "convert", "pocket", str(tmp_path / "x"))
    assert (code, out) == (130, "") and "nothing has been written" in err
    assert not list(tmp_path.iterdir())


def test_how_far_it_is() -> None:
    stream = io.StringIO()
    notes = Notes(stream, quiet=False, transient=True)
    notes.wait("quantising x", 0.5)
    assert f"quantising x {bar(0.5)} 50%" in stream.getvalue()
    assert bar(0.5, 4) == "━━──" and bar(-1, 2) == "──" and bar(7, 2) == "━━"


def test_every_precision_of_the_command_line_is_one_of_the_engine() -> None:
    assert all(recipe_of(name) is not None for name in QUANTISED) and set(EXPERT_FORMS) <= set(QUANTISED)
    assert len(set(PRECISIONS)) == len(PRECISIONS)


@pytest.mark.parametrize("precision", ["nvfp4", "nvfp4+fp8", "nvfp4+int8", "fp8", "nf4+nf4"])
def test_the_built_in_model_answers_in_every_precision(
    precision: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "--precision", precision, "--seed", "1", "Who are you?")
    assert code == 0 and out.startswith("I am pocket")
