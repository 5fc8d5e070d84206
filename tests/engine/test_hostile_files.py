"""Files that were made to harm: an error of the engine in bounded time and memory, never a crash, a hang or a model.

A mutated file may still be whole, for instance if only its metadata changed, or a dtype to another of its size. Then,
and only then, it may load: a reading of the header that shares nothing with the engine's decides.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgengine.checkpoint import load_model
from dgengine.errors import CheckpointError
from tests.engine.layouts import WEIGHTS, Layout, checkpoint
from tests.engine.tiny import session_folder

LAYOUT: Layout = "modelopt-nvfp4"
INDEX = "model.safetensors.index.json"
LONGEST = 20.0  # seconds, on a machine that does other things
LENGTH = 8


@functools.cache
def original() -> tuple[bytes, dict[str, Any], bytes]:
    """A good file: its bytes, its header, its data."""
    data = (checkpoint(LAYOUT, "few").coded / WEIGHTS).read_bytes()
    end = LENGTH + int.from_bytes(data[:LENGTH], "little")
    return data, json.loads(data[LENGTH:end]), data[end:]


def assembled(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(LENGTH, "little") + text + data


@functools.cache
def workplace() -> Path:
    """One directory for all examples: only the file that is mutated is written anew."""
    return Path(shutil.copytree(checkpoint(LAYOUT, "few").coded, session_folder() / "hostile"))


def outcome(file: str, content: bytes) -> str | None:
    """The message of the error that a model directory with this content in `file` ends in; None if it loads.

    Anything but an error of the engine, on one line and in time, fails the test.
    """
    folder = workplace()
    before = (folder / file).read_bytes() if (folder / file).exists() else None
    try:
        (folder / file).unlink(missing_ok=True)  # what is mapped stays as it was
        (folder / file).write_bytes(content)
        start = time.monotonic()
        try:
            load_model(folder)
            return None
        except CheckpointError as error:
            assert "\n" not in str(error)
            return str(error)
        finally:
            assert time.monotonic() - start < LONGEST
    finally:
        (folder / file).unlink()
        if before is not None:
            (folder / file).write_bytes(before)


def test_the_file_itself_loads() -> None:
    data, header, rest = original()
    for whole in (data, assembled(header, rest)):
        assert is_whole(whole)
        assert outcome(WEIGHTS, whole) is None


SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "U8": 1, "F8_E4M3": 1}
EXCHANGEABLE = {"F64", "F32", "F16", "BF16"}


def is_whole(content: bytes) -> bool:
    """Whether a file holds all that the model needs, each in a form that may be read, one after the other."""
    end = LENGTH + int.from_bytes(content[:LENGTH], "little")
    try:
        header = json.loads(content[LENGTH:end].decode())
        header.pop("__metadata__", None)
        ends = 0
        for begin, end_, entry in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
            if begin != ends or math.prod(header[entry]["shape"]) * SIZES[header[entry]["dtype"]] != end_ - begin:
                return False
            ends = end_
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return ends == len(content) - end and all(_is_needed(*item) for item in header.items()) and _is_complete(header)


def _is_needed(name: str, entry: dict[str, Any]) -> bool:
    if "vision" in name:
        return True
    good = original()[1].get(name, {"dtype": "", "shape": None})
    alike = {entry["dtype"], good["dtype"]} <= EXCHANGEABLE and "scale_2" not in name and "input_scale" not in name
    same_shape = entry["shape"] == good["shape"] or (
        name.endswith(("_scale_2", "input_scale")) and entry["shape"] == [1]
    )
    return same_shape and (alike or entry["dtype"] == good["dtype"])


def _is_complete(header: dict[str, Any]) -> bool:
    optional = ("vision", "input_scale")
    return all(name in header for name in original()[1] if not any(part in name for part in optional))


# headers

ODD_NUMBERS = st.sampled_from([-1, 0, 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -(2**63)])
NUMBERS = ODD_NUMBERS | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False)
DTYPES = [
    "F32",
    "BF16",
    "F16",
    "U8",
    "I8",
    "F8_E4M3",
    "F8_E5M2",
    "I64",
    "BOOL",
    "F64",
    "F4",
    "F8_E8M0",
    "Q4",
    "",
    "f32",
]
JUNK = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.lists(NUMBERS, max_size=4)


def _change_entry(draw: st.DrawFn, entry: dict[str, Any], size: int) -> None:
    what = draw(st.sampled_from(["dtype", "shape", "offset", "both offsets", "remove", "add", "junk"]))
    if what == "dtype":
        entry["dtype"] = draw(st.sampled_from(DTYPES) | JUNK)
    elif what == "shape":
        entry["shape"] = draw(st.lists(ODD_NUMBERS | st.integers(0, 200), max_size=5) | JUNK)
    elif what == "offset":
        entry["data_offsets"][draw(st.integers(0, 1))] = draw(st.integers(0, 2 * size) | NUMBERS)
    elif what == "both offsets":
        shift = draw(st.integers(-size, size))
        entry["data_offsets"] = [offset + shift for offset in entry["data_offsets"]]
    elif what == "remove":
        del entry[draw(st.sampled_from(sorted(entry)))]
    elif what == "add":
        entry[draw(st.text(max_size=5))] = draw(JUNK)
    else:
        entry[draw(st.sampled_from(sorted(entry)))] = draw(JUNK)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    """A good header, changed in up to three places."""
    _, header, data = original()
    header = dict(json.loads(json.dumps(header)))
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(name for name in header if name != "__metadata__")))
        what = draw(st.sampled_from(["entry", "entry", "entry", "drop", "rename", "copy", "replace", "metadata"]))
        if what == "entry" and isinstance(header[name], dict) and len(header[name]) >= 3:
            if isinstance(header[name].get("data_offsets"), list) and len(header[name]["data_offsets"]) == 2:
                _change_entry(draw, header[name], len(data))
        elif what == "drop":
            del header[name]
        elif what == "rename":
            header[draw(st.text(max_size=20) | st.just(f"{name}.weight") | st.just("../x"))] = header.pop(name)
        elif what == "copy":
            header[f"{name}{draw(st.text(max_size=5))}"] = header[name]
        elif what == "replace":
            header[name] = draw(JUNK)
        elif what == "metadata":
            header["__metadata__"] = draw(JUNK | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3))
    return header


def survives(content: bytes) -> None:
    assert outcome(WEIGHTS, content) is not None or is_whole(content)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(headers())
def test_mutated_headers(header: dict[str, Any]) -> None:
    survives(assembled(header, original()[2]))


@pytest.mark.soak
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(headers())
def test_mutated_headers_at_length(header: dict[str, Any]) -> None:
    survives(assembled(header, original()[2]))


# bytes


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file with bytes of its length and header overwritten, or cut off, or with more after its end."""
    data = bytearray(original()[0])
    end = LENGTH + int.from_bytes(data[:LENGTH], "little")
    for place, value in draw(st.lists(st.tuples(st.integers(0, end - 1), st.integers(0, 255)), max_size=6)):
        data[place] = value
    for place, value in draw(st.lists(st.tuples(st.integers(0, LENGTH - 1), st.integers(0, 255)), max_size=1)):
        data[place] = value
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data) + draw(st.binary(max_size=8))


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damaged_bytes(data: bytes) -> None:
    survives(data)


@pytest.mark.soak
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damaged_bytes_at_length(data: bytes) -> None:
    survives(data)


# configurations and indexes


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


@st.composite
def configs(draw: st.DrawFn) -> bytes:
    """A good config.json with one to three values replaced or removed."""
    data = json.loads((checkpoint(LAYOUT, "few").coded / "config.json").read_text())
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_paths(data))))
        place = functools.reduce(lambda value, key: value[key], path[:-1], data)
        if draw(st.integers(0, 5)) == 0:
            del place[path[-1]]
        else:
            place[path[-1]] = draw(JUNK)
    return json.dumps(data).encode()


def config_survives(content: bytes) -> None:
    folder = workplace()
    good = (folder / "config.json").read_bytes()
    start = time.monotonic()
    try:
        (folder / "config.json").write_bytes(content)
        load_model(folder)  # other settings may make another, but whole, model
    except CheckpointError as error:
        assert str(error)
    finally:
        (folder / "config.json").write_bytes(good)
        assert time.monotonic() - start < LONGEST


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(configs())
def test_mutated_configurations(content: bytes) -> None:
    config_survives(content)


@pytest.mark.soak
@settings(max_examples=3000, suppress_health_check=list(HealthCheck))
@given(configs())
def test_mutated_configurations_at_length(content: bytes) -> None:
    config_survives(content)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../secret.safetensors", "outside the model directory"),
        ("/etc/passwd", "outside the model directory"),
        ("sub/model.safetensors", "outside the model directory"),
        ("..\\secret.safetensors", "outside the model directory"),
        ("c:model.safetensors", "outside the model directory"),
        ("..", "no safetensors file"),
        ("", "no safetensors file"),
        (".", "outside the model directory"),
        ("config.json", "no safetensors file"),
        ("model\0.safetensors", "no safetensors file"),
        ("pytorch_model.bin", "no safetensors file"),
        ("absent.safetensors", "is missing"),
    ],
)
def test_indexes_that_lead_elsewhere(name: str, says: str) -> None:
    message = outcome(INDEX, json.dumps({"weight_map": {"a": name}}).encode())
    assert message is not None and says in message


@pytest.mark.parametrize("index", [b"[" * 100_000, b'{"weight_map": ' + b'{"a":' * 50_000, b"\xff" * 100, b"", b"null"])
def test_indexes_that_are_none(index: bytes) -> None:
    assert outcome(INDEX, index) is not None


# single traps


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_announced_lengths(length: int) -> None:
    message = outcome(WEIGHTS, length.to_bytes(LENGTH, "little") + original()[0][LENGTH:])
    assert message is not None and "is not a whole safetensors file" in message


def test_a_header_longer_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(checkpoint(LAYOUT, "few").coded, tmp_path / "model")
    with (folder / WEIGHTS).open("wb") as file:
        file.write((2**26).to_bytes(LENGTH, "little") + b"{")
        file.truncate(2**27)
    monkeypatch.setattr("dgengine.tensor_files.safe_open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(CheckpointError, match="a header of 67108864 bytes"):
        load_model(folder)


def test_names_twice_in_one_header() -> None:
    _, header, data = original()
    text = json.dumps(header).encode()
    name = next(name for name in header if "experts" in name)
    twice = text[:-1] + b", " + json.dumps({name: header[name]}).encode()[1:]
    survives(assembled(twice, data))


def test_names_that_would_write_to_a_terminal() -> None:
    _, header, data = original()
    end = len(data)
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [end, end]}
    message = outcome(WEIGHTS, assembled(header | {"\x1b[2J\nall is well": entry, "x" * 10_000: entry}, data))
    assert message is not None and "\x1b" not in message and "\n" not in message and len(message) < 1000


def test_many_tiny_tensors() -> None:
    _, header, data = original()
    end = len(data)
    more = {f"x{index}": {"dtype": "U8", "shape": [0], "data_offsets": [end, end]} for index in range(100_000)}
    message = outcome(WEIGHTS, assembled(header | more, data))
    assert message is not None and len(message) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint(LAYOUT, "few").coded, tmp_path / "model")
    for file in (WEIGHTS, "config.json"):
        (folder / file).unlink()
        os.mkfifo(folder / file)
        done = threading.Event()
        raised: list[BaseException] = []

        def load(done: threading.Event = done, raised: list[BaseException] = raised) -> None:
            try:
                load_model(folder)
            except CheckpointError as error:
                raised.append(error)
            done.set()

        threading.Thread(target=load, daemon=True).start()
        assert done.wait(LONGEST)
        assert "no regular file" in str(raised[0])


def _text(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["text_config"].update(values)


@pytest.mark.parametrize(
    "change",
    [
        _text(num_hidden_layers=10**9),
        _text(num_hidden_layers=10**9, layer_types=None),
        _text(num_experts=10**12),
        _text(hidden_size=2**62),
        _text(vocab_size=10**4000),
        _text(max_position_embeddings=float("inf")),
        _text(rms_norm_eps=float("inf")),
        _text(final_logit_softcapping=float("nan")),
        lambda config: config.update(canvas_length=10**15),
    ],
)
def test_absurd_dimensions(change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((checkpoint(LAYOUT, "few").coded / "config.json").read_text())
    change(config)
    assert outcome("config.json", json.dumps(config).encode()) is not None


def test_a_config_larger_than_any_is_not_read(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint(LAYOUT, "few").coded, tmp_path / "model")
    os.truncate(folder / "config.json", 2**33)
    with pytest.raises(CheckpointError, match="too large"):
        load_model(folder)
