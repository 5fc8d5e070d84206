"""What an engine can do, for whoever shows it: what is not there is not offered, and `why_not` says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine with one model can do.

    Attributes:
        drafts: every denoising step is seen as it is made; without them an answer comes block by block.
        acceptance: a step says how sure each token is, and which were accepted.
        pins: tokens can be held while an answer is written, and an answer can form anew around them.
        limits: a block that reaches its step limit can be given more steps, and one that runs can be ended.
        seeds: the same seed gives the same answer.
        steps: the longest number of denoising steps can be chosen.
        infill: a span can be rewritten in place.
        images: a message may hold images.
        thinking: the model can think before it answers.
        why_not: for what is not there, by the names above, the reason in one sentence.
    """

    drafts: bool = True
    acceptance: bool = True
    pins: bool = True
    limits: bool = True
    seeds: bool = True
    steps: bool = True
    infill: bool = True
    images: bool = False
    thinking: bool = False
    why_not: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def reason(self, name: str) -> str | None:
        """Why `name` is not there, in one sentence; None where it is.

        Raises:
            ValueError: there is no such capability.
        """
        if name not in {known.name for known in fields(self)} - {"why_not"}:
            raise ValueError(f"there is no capability {name!r}")
        if getattr(self, name):
            return None
        return self.why_not.get(name, f"This engine has no {name}.")
