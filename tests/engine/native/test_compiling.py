"""The C library: built once, and done without where it cannot be."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from dgengine.native import compiling, structures
from dgengine.native.openmp import openmp
from tests.engine.native.having import needs_compiler


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing remembered."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.delenv(compiling.SWITCH, raising=False)
    compiling.library.cache_clear()
    yield tmp_path / "dgchat" / "native"
    compiling.library.cache_clear()


@needs_compiler
def test_it_is_built_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, reason = compiling.library()
    assert found is not None and reason is None
    (built,) = fresh.iterdir()  # and nothing half done beside it
    compiling.library.cache_clear()
    runs: list[tuple[str, ...]] = []
    really = compiling._run

    def run(*command: str) -> bytes:
        runs.append(command)
        return really(*command)

    monkeypatch.setattr(compiling, "_run", run)
    assert compiling.library()[0] is not None and list(fresh.iterdir()) == [built]
    assert len(runs) == 1 and "-shared" not in runs[0]  # the compiler is only asked what it makes of the processor


@needs_compiler
def test_other_sources_are_another_library(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling.library()
    folder = shutil.copytree(Path(compiling.__file__).parent, tmp_path / "native")
    with (folder / "canvas.c").open("a") as source:
        source.write("/* changed */\n")
    monkeypatch.setattr(compiling, "__file__", str(folder / "compiling.py"))
    compiling.library.cache_clear()
    assert compiling.library()[0] is not None and len(list(fresh.iterdir())) == 2


@needs_compiler
def test_structures_that_have_changed_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "SIZES", (*structures.SIZES[:-1], 1))
    found, reason = compiling.library()
    assert found is None and reason is not None and "structures" in reason


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiling.SWITCH, "0")
    assert compiling.library() == (None, "DGENGINE_NATIVE is 0")


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere nobody looks for a compiler")
def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert compiling.library() == (None, "there is no C compiler")


@needs_compiler
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "#!/bin/sh\necho 'cc: no such option' >&2\necho more >&2\nexit 1\n",
            "does not compile it (cc: no such option)",
        ),
        ("#!/bin/sh\nexit 3\n", "does not compile it (3)"),
        ("#!/bin/sh\nexit 0\n", "cannot be built (FileNotFoundError"),  # it says it has, but has not
    ],
)
def test_a_compiler_that_fails(script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "cc"
    own.write_text(script)
    own.chmod(0o755)
    monkeypatch.setenv("CC", str(own))
    found, reason = compiling.library()
    assert found is None and reason is not None and said in reason and "\n" not in reason


@needs_compiler
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dgchat").write_text("a file where a folder should be")
    found, reason = compiling.library()
    assert found is None and reason is not None and reason.startswith("it cannot be built (")


@needs_compiler
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_library_that_was_cut_off_is_built_anew(share: float, fresh: Path) -> None:
    compiling.library()
    (built,) = fresh.iterdir()
    whole = built.read_bytes()
    built.unlink()  # and not written over: this process has it mapped
    built.write_bytes(whole[: int(share * len(whole))])
    code = "from dgengine.native.compiling import library; print(library()[1])"
    engine, kernels = (Path(compiling.__file__).parents[2], Path(__file__).parents[3] / "kernels")
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(fresh.parents[1]), "PYTHONPATH": f"{engine}{os.pathsep}{kernels}"},
    )  # fmt: skip
    assert told.stdout == "None\n"
    (again,) = fresh.iterdir()
    assert again.stat().st_size > 0.9 * len(whole)


@needs_compiler
def test_a_folder_that_others_can_write_to_is_not_trusted(fresh: Path) -> None:
    compiling.library()
    fresh.chmod(0o777)
    compiling.library.cache_clear()
    found, reason = compiling.library()
    assert found is None and reason is not None and "others can write to" in reason


@needs_compiler
def test_a_compiler_with_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -DNDEBUG")
    assert compiling.library()[1] is None


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere no library is loaded")
def test_torchs_threads_are_found() -> None:
    found = openmp()
    assert found is not None and found.parallel and found.size and found.parallel != found.size
