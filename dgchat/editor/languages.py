"""What kind of text a file holds, by its name. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

LONGEST_PARSED: Final = 250_000  # characters; what is longer is shown without colours, so that a key shows at once
LONGEST_WRAPPED: Final = 400_000  # and its long lines are not wrapped
LONGEST_LINE: Final = 20_000  # nor where one line is longer than this

_LANGUAGES: Final = {
    "python": ".py .pyi .pyw",
    "markdown": ".md .markdown",
    "json": ".json .jsonl .ipynb",
    "toml": ".toml",
    "yaml": ".yaml .yml",
    "html": ".html .htm",
    "css": ".css .tcss",
    "javascript": ".js .mjs .cjs .jsx",
    "rust": ".rs",
    "go": ".go",
    "sql": ".sql",
    "java": ".java",
    "bash": ".sh .bash .zsh",
    "xml": ".xml .svg",
}
_BY_ENDING: Final = {ending: name for name, endings in _LANGUAGES.items() for ending in endings.split()}
_BY_NAME: Final = {"pyproject.lock": "toml", "Cargo.lock": "toml", ".bashrc": "bash", ".profile": "bash"}
_OTHER_CODE: Final = frozenset(".c .h .cc .cpp .hpp .cu .ts .tsx .rb .lua .csv .tsv .ini .cfg .log .conf .mk".split())
_CODE_NAMES: Final = frozenset({"Makefile", "Dockerfile"})
_FENCES: Final = {
    "py": "python", "python3": "python", "js": "javascript", "sh": "bash", "shell": "bash", "md": "markdown",
    "yml": "yaml", "rs": "rust", "golang": "go",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What kind of text it is.

    Attributes:
        language: that of the syntax, as Textual names it; None where it has no colours.
        prose: whether long lines are wrapped at first.
    """

    language: str | None
    prose: bool


def kind_of(name: str) -> Kind:
    """The kind of a file of this name."""
    path = PurePath(name)
    language = _BY_NAME.get(path.name) or _BY_ENDING.get(path.suffix.lower())
    is_code = language is not None or path.suffix.lower() in _OTHER_CODE or path.name in _CODE_NAMES
    return Kind(language, prose=language == "markdown" or not is_code)


def kind_of_fence(info: str) -> Kind:
    """The kind of a code block, by what stands behind the backticks that open it."""
    word = info.strip().split()[0].lower() if info.strip() else ""
    name = _FENCES.get(word, word)
    return Kind(name if name in _LANGUAGES else None, prose=False)
