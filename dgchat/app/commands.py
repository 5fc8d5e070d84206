"""The /commands of the composer. The same things stand in the command palette."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from dgchat import themes
from dgchat.canvas.state import Mode
from dgchat.history.export import FORMATS


class Command(NamedTuple):
    """One command.

    Attributes:
        action: the name of the screen's action; it is given the words behind the command where `takes` is set.
        takes: what may follow, for the help screen; "" for nothing.
    """

    action: str
    help: str
    takes: str = ""


COMMANDS: Final[Mapping[str, Command]] = {
    "help": Command("help", "keys, commands and the guide"),
    "new": Command("new", "begin a new chat"),
    "history": Command("history", "open, rename or delete an earlier chat"),
    "search": Command("search", "find a chat by words in it", "WORDS"),
    "rename": Command("rename", "give this chat a title", "TITLE"),
    "delete": Command("delete", "delete this chat (it can be undone)"),
    "undo": Command("undo", "bring back the chat deleted last"),
    "again": Command("again", "answer again, as another branch"),
    "edit": Command("edit", "ask the last question otherwise"),
    "image": Command("image", "have an image go with the next message", "FILE"),
    "copy": Command("copy_answer", "copy the last answer"),
    "code": Command("copy_code", "copy the next code block"),
    "rewrite": Command("rewrite", "open the last answer, or the next code block, in the editor", "[code]"),
    "watch": Command("watch", "watch answers resolve, or see them block by block"),
    "colors": Command("colors", "what the canvas colours tell", "state|entropy|age|change"),
    "panel": Command("panel", "show or hide the panel"),
    "theme": Command("theme_named", "choose a theme", "[NAME]"),
    "system": Command("system", "the system prompt of this chat", "[TEXT]"),
    "models": Command("models", "the models there are: run another, or fetch it"),
    "thinking": Command("thinking", "whether the model thinks first, where it can", "[on|off]"),
    "export": Command("export", "write this chat to a file", "[md|json] [FILE]"),
    "quit": Command("quit", "quit"),
}

ALIASES: Final[Mapping[str, str]] = {"think": "thinking"}  # older names, which are still understood


def choices(name: str) -> Sequence[str]:
    """The words that may follow a command; empty where any may, or none."""
    match name:
        case "theme":
            return themes.names()
        case "colors":
            return [mode.value for mode in Mode]
        case "thinking" | "think":
            return ["on", "off"]
        case "export":
            return FORMATS
        case "rewrite":
            return ["code"]
    return []
