"""Names of models that one may type."""

from __future__ import annotations

from dgengine import hub


def names_for(subcommand: str) -> list[tuple[str, str]]:
    """For `dgchat pull` the known ones, for `dgchat rm` those that are here; each with what it is."""
    if subcommand == "pull":
        return [(model.short, f"{model.repo}, {hub.amount(model.bytes)}") for model in hub.KNOWN]
    found = [(model, hub.known(model.repo)) for model in hub.cached_models()]
    return [(known.short if known else model.repo, hub.amount(model.disk_bytes)) for model, known in found]
