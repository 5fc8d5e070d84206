"""How weights came about: a training goes on from another, or from a mean of several, which came about likewise.

Told as dictionaries within each other, a training that several parts of a mean go on from is repeated in each of them.
`pocket.json` holds every stage once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
EARLIER = ("resumed_from", "mean_of")  # what an account tells of the stages before, beside what it tells of itself


def corpus_sha256(folder: Path = CORPUS) -> str:
    """The SHA-256 of the modules that write the text to learn from, in hex; line ends do not matter."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(f"{file.name}\n{file.read_text(encoding='utf-8')}".encode())
    return digest.hexdigest()


def unrolled(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of an account, the last one last; of those before, each tells the number, which counts from zero."""
    stages: list[dict[str, Any]] = []
    _number_of(about, stages)
    return stages


def _number_of(about: dict[str, Any], stages: list[dict[str, Any]]) -> int:
    """Of this stage, which is added behind those that it came from where it is a new one."""
    stage = {key: value for key, value in about.items() if key not in EARLIER}
    if about.get("resumed_from") is not None:
        stage["resumed_from"] = _number_of(about["resumed_from"], stages)
    if "mean_of" in about:
        parts = [(part["weight"], {**part}) for part in about["mean_of"]]
        for _, part in parts:
            del part["weight"]
        stage["mean_of"] = [{"weight": weight, "stage": _number_of(part, stages)} for weight, part in parts]
    if stage not in stages:
        stages.append(stage)
    return stages.index(stage)


def rolled_up(stages: list[dict[str, Any]]) -> dict[str, Any]:
    """The account that was `unrolled`.

    Raises:
        ValueError: a stage tells of one that does not stand before it.
    """
    accounts: list[dict[str, Any]] = []
    for stage in stages:
        account = {key: value for key, value in stage.items() if key not in EARLIER}
        earlier = [stage["resumed_from"]] if "resumed_from" in stage else []
        earlier += [part["stage"] for part in stage.get("mean_of", ())]
        if not all(0 <= number < len(accounts) for number in earlier):
            raise ValueError(f"stage {len(accounts)} of the weights' story tells of one that is not before it")
        if "resumed_from" in stage:
            account["resumed_from"] = accounts[stage["resumed_from"]]
        if "mean_of" in stage:
            account["mean_of"] = [{"weight": part["weight"], **accounts[part["stage"]]} for part in stage["mean_of"]]
        accounts.append(account)
    return accounts[-1]
