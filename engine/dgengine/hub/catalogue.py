"""The models that are known by name, and what the name of a model on the hub is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
# Names a branch, a tag or a commit, and becomes the path of a file: no "..", nothing hidden.
_REVISION = re.compile(r"(?!.*(?:\.\.|//|/\.))[A-Za-z0-9][\w./-]*(?<![./])", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A published DiffusionGemma checkpoint.

    Attributes:
        short: its name here.
        repo: its name on the hub.
        format: how its weights are kept, for people.
        precision: the same as `Engine.load` calls it.
        precisions: those of `dgengine.footprint` that it can be loaded in, the most exact first.
        bytes: what it takes to fetch and to keep.
    """

    short: str
    repo: str
    format: str
    precision: str
    precisions: tuple[str, ...]
    bytes: int


KNOWN: Final = (
    KnownModel(
        "nvfp4", "nvidia/diffusiongemma-26B-A4B-it-NVFP4", "experts in NVFP4", "nvfp4",
        ("nvfp4", "nvfp4+fp8"), 18_820_000_000,
    ),
    KnownModel(
        "nvfp4-redhat", "RedHatAI/diffusiongemma-26B-A4B-it-NVFP4", "experts and MLP in NVFP4", "nvfp4",
        ("nvfp4-mlp",), 18_050_000_000,
    ),
    KnownModel(
        "fp8", "RedHatAI/diffusiongemma-26B-A4B-it-FP8-dynamic", "FP8", "fp8",
        ("fp8",), 27_200_000_000,
    ),
    KnownModel(
        "bf16", "google/diffusiongemma-26B-A4B-it", "bfloat16, nothing quantised", "bfloat16",
        ("bfloat16", "fp8", "nvfp4", "nvfp4+fp8", "nf4"), 51_600_000_000,
    ),
)  # fmt: skip
DEFAULT: Final = KNOWN[0]


@dataclass(frozen=True, slots=True)
class HubName:
    """A model on the hub.

    Attributes:
        given: as the user names it, for messages; without the revision.
        repo: "org/name".
        revision: a branch, a tag or a commit; None for the main branch, or for what the cache holds.
    """

    given: str
    repo: str
    revision: str | None = None

    @property
    def full(self) -> str:
        """As the command line takes it."""
        return f"{self.given}@{self.revision}" if self.revision else self.given


def known(name: str) -> KnownModel | None:
    """The known model of this short name or hub id."""
    return next((model for model in KNOWN if name in (model.short, model.repo)), None)


def parse(name: str, revision: str | None = None) -> HubName | None:
    """A short name or a hub id, either followed by "@" and a revision; None where `name` is neither.

    Args:
        name: "nvfp4", "org/name", "org/name@v1".
        revision: where the name has none.
    """
    base, _, given = name.partition("@")
    revision = given or revision
    model = known(base)
    if model is None and not _REPO.fullmatch(base):
        return None
    if name.endswith("@") or (revision and not _REVISION.fullmatch(revision)):
        return None
    return HubName(base, model.repo if model else base, revision)


def is_commit(revision: str) -> bool:
    """Whether this is the full hash of a commit, which needs no looking up."""
    return bool(_COMMIT.fullmatch(revision))
