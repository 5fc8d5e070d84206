"""The wheel holds what it should and nothing else, and answers a prompt where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POCKET = ROOT / "engine" / "dgengine" / "pocket"
MAX_MODEL_BYTES = 20_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout with the tools of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """The paths of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel.

    The dependencies, gigabytes of them, are not fetched again: one .pth line appends the running
    environment's site-packages to the path. Python does not read the .pth files of a folder that a .pth
    line named, so an editable install there, which is nothing but such a file, brings no checkout along.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(own.stdout.strip(), "dependencies.pth").write_text("\n".join(sorted(shared)) + "\n")
    return python


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command away from the checkout, with nothing of Python's or dgchat's own set from outside."""
    foreign = ("PYTHON", "DGCHAT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_top_level_names(names: list[str]) -> None:
    # `engine` or `kernels` here would shadow, or be overwritten by, somebody else's package of that name.
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"dgbackends", "dgchat", "dgengine", "dgkernels"}


def test_rooms_are_no_packages() -> None:
    assert not (ROOT / "engine" / "__init__.py").exists()
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_holds_packages_themes_and_licence(names: list[str]) -> None:
    for package in ("dgbackends", "dgchat", "dgengine", "dgkernels"):
        assert f"{package}/__init__.py" in names
    themes = {f"dgchat/_themes/{path.name}" for path in (ROOT / "themes").glob("*.toml")}
    assert themes
    assert themes <= set(names)
    assert "dgchat/guide.toml" in names
    sources = {f"dgengine/native/{path.name}" for path in (ROOT / "engine" / "dgengine" / "native").glob("*.[ch]")}
    assert len(sources) > 1 and sources <= set(names)
    assert {f"dgchat/export/player.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_holds_no_tests_and_no_training(names: list[str]) -> None:
    parts = {part for name in names for part in Path(name).parts}
    assert not parts & {"tests", "corpus", "conftest.py", "__pycache__", ".git"}
    benches = {Path(name).parts[0] for name in names if "bench" in Path(name).parts}
    assert benches == {"dgchat"}  # `dgchat bench` is a user's; those of engine and kernels stay in the checkout


def test_holds_the_built_in_model(wheel: Path, names: list[str]) -> None:
    ours = {f"dgengine/pocket/{path.name}" for path in POCKET.iterdir() if path.is_file()}
    packed = {name for name in names if name.startswith("dgengine/pocket/")}
    assert {"dgengine/pocket/config.json", "dgengine/pocket/tokenizer.json"} <= packed
    assert any(name.endswith(".safetensors") for name in packed)
    assert ours == packed
    with zipfile.ZipFile(wheel) as archive:
        size = sum(archive.getinfo(name).file_size for name in packed)
    assert size <= MAX_MODEL_BYTES


def test_imports_come_from_the_wheel(clean_python: Path, tmp_path: Path) -> None:
    code = (
        "import dgchat, dgengine, dgkernels, importlib.util as u, json\n"
        "print(json.dumps([dgchat.__file__, dgengine.__file__, dgkernels.__file__]))\n"
        "assert u.find_spec('engine') is None, u.find_spec('engine')\n"
        "kernels = u.find_spec('kernels')\n"
        f"assert kernels is None or {str(ROOT / 'kernels')!r} not in str(kernels), kernels\n"
    )
    result = run([str(clean_python), "-I", "-c", code], tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(ROOT) not in result.stdout
    assert result.stdout.count(str(clean_python.parents[1])) == 3


def installed_command(python: Path) -> str:
    return str(python.with_name("dgchat.exe" if os.name == "nt" else "dgchat"))


def test_command_is_installed(clean_python: Path, tmp_path: Path) -> None:
    result = run([installed_command(clean_python), "--version"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "0.1.0" in result.stdout


def test_answers_a_prompt(clean_python: Path, tmp_path: Path) -> None:
    result = run([installed_command(clean_python), "--model", "pocket", "--seed", "1", "Hello!"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert "Traceback" not in result.stderr
