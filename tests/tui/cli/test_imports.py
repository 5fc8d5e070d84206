"""What is not needed is not imported, so that the small things answer at once."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest

_HEAVY = ("torch", "transformers", "textual", "rich", "numpy", "huggingface_hub", "dgengine", "PIL")
_TIMES_OF_EMPTY = 10
_RUNS = 9


def loaded_by(code: str, environment: dict[str, str]) -> set[str]:
    """The heavy modules that a process has imported after running `code`."""
    show = f"{code}\nimport sys\nprint(*[name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_command_line_imports_nothing_heavy(environment: dict[str, str]) -> None:
    assert loaded_by("import dgchat.cli", environment) == set()


@pytest.mark.parametrize(
    "args", [["--version"], ["--help"], ["config"], ["help", "seed"], ["completion", "bash"], ["--nonsense"]]
)
def test_small_things_import_nothing_heavy(environment: dict[str, str], args: list[str]) -> None:
    code = f"from dgchat.cli import run\nimport os\nos.environ['TERM'] = 'dumb'\nrun({args!r})"
    assert loaded_by(code, environment) == set()


def test_the_chat_is_painted_without_torch(environment: dict[str, str]) -> None:
    loaded = loaded_by("import dgchat.app.chat, dgchat.inline.watch", environment)
    assert not loaded & {"torch", "transformers", "huggingface_hub"}


def test_the_first_frame_waits_for_nothing_heavy(environment: dict[str, str]) -> None:
    assert loaded_by("import dgchat.app.chat", environment) == {"textual", "rich"}


def test_the_editor_is_painted_without_torch(environment: dict[str, str]) -> None:
    loaded = loaded_by("import dgchat.editor.app, dgchat.editor.screen, dgchat.editor.proposals", environment)
    assert not loaded & {"torch", "transformers", "huggingface_hub", "dgengine", "numpy"}


def test_the_version_takes_at_most_ten_times_an_empty_interpreter(
    command: list[str], environment: dict[str, str]
) -> None:
    # Alternating, so that a machine that slows down slows both.
    empty, version = [], []
    for _ in range(_RUNS):
        empty.append(seconds([sys.executable, "-c", "pass"], environment))
        version.append(seconds([*command, "--version"], environment))
    ratio = statistics.median(version) / statistics.median(empty)
    assert ratio <= _TIMES_OF_EMPTY, f"{ratio:.1f} times"


def seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    return time.perf_counter() - began
