"""What the packages import is what pyproject.toml asks for: the environment of the tests holds more than that."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"dgchat": "dgchat", "dgbackends": "engine/dgbackends", "dgengine": "engine/dgengine",
            "dgkernels": "kernels/dgkernels"}  # fmt: skip
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {"mlx", "mlx_vlm"}  # of the extra `mlx`, asked for only where they are used
TYPES_ONLY = {"_typeshed"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    return {canonical(re.split(r"[\s\[<>=!;~]", item)[0]) for item in PROJECT["dependencies"]}


def imported(package: str) -> set[str]:
    """What a package's modules import, itself included."""
    files = list((ROOT / PACKAGES[package]).rglob("*.py"))
    assert files
    return {name for file in files for name in imports(ast.parse(file.read_text(encoding="utf-8")))}


def imports(tree: ast.AST) -> Iterator[str]:
    """The first parts of the names of modules that a program imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_declared(package: str) -> None:
    foreign = imported(package) - set(sys.stdlib_module_names) - set(PACKAGES) - EXTRAS - TYPES_ONLY
    owners = packages_distributions()
    owned = {name: {canonical(owner) for owner in owners.get(name, [name])} for name in foreign}
    assert [name for name, by in owned.items() if not by & declared()] == []


def test_what_is_declared_is_used() -> None:
    """A dependency that nothing imports is one that everybody fetches for nothing."""
    found = set().union(*map(imported, PACKAGES))
    owners = packages_distributions()
    used = {canonical(owner) for name in found for owner in owners.get(name, [name])}
    by_others = {"accelerate", "bitsandbytes", "jinja2"}  # transformers takes them
    assert declared() - used - by_others == set()
