"""The formats by name. What a format needs is imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from dgchat.exits import Exit, Failure

if TYPE_CHECKING:
    from dgchat.export.options import Options
    from dgchat.trace.steps import StepTrace


@dataclass(frozen=True)
class Format:
    """One format; the module of its name in `dgchat.export` makes it.

    Attributes:
        ending: of a file's name, by which the format is guessed.
        binary: whether it is no text.
    """

    name: str
    ending: str
    binary: bool = False

    def export(self, trace: StepTrace, options: Options) -> bytes:
        """The trace in this format.

        Raises:
            Failure: the options do not fit the trace, or something that the format needs is missing (exit code 2).
        """
        if options.step is not None and self.name != STILL:
            raise Failure(f"A step is chosen for the format {STILL}, which shows one, not for {self.name}.", Exit.USAGE)
        data: bytes = import_module(f"dgchat.export.{self.name}").export(trace, options)
        return data


STILL: Final = "svg"
# A longer ending comes before the one that it ends in.
_ALL = (
    Format("npz", ".npz", binary=True),
    Format("cast", ".cast"),
    Format("anim", ".anim.svg"),
    Format("svg", ".svg"),
    Format("gif", ".gif", binary=True),
    Format("html", ".html"),
)
FORMATS: Final = {form.name: form for form in _ALL}


def format_of(path: str, name: str | None = None) -> Format:
    """The format of this name, or else the one that the path's ending stands for.

    Raises:
        Failure: there is none (exit code 2).
    """
    if name is not None and name in FORMATS:
        return FORMATS[name]
    guess = next((form for form in _ALL if path.lower().endswith(form.ending)), None)
    if name is not None or guess is None:
        wrong = f"{name!r} is no format" if name is not None else f"{path!r} does not tell the format by its ending"
        raise Failure(f"{wrong}; there are {', '.join(FORMATS)}.", Exit.USAGE)
    return guess
