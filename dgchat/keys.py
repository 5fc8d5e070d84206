"""What the app's keys do: one table, from which bindings, settings and the help screen are made. Knows no toolkit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Key(NamedTuple):
    """One thing that a key does.

    Attributes:
        keys: the default keys, separated by commas, as Textual names them.
        help: what they do, for the help screen.
        label: for the footer; empty where it has no place there.
    """

    keys: str
    help: str
    group: str
    label: str = ""


KEYS: Final[Mapping[str, Key]] = {
    "send": Key("enter", "send the message", "writing", "Send"),
    "newline": Key("ctrl+j,shift+enter", "begin a new line", "writing", "New line"),
    "complete": Key("tab", "complete a /command or an @file", "writing"),
    "older": Key("up", "recall an earlier message", "writing"),
    "newer": Key("down", "recall a later one", "writing"),
    "stop": Key("escape", "stop the answer, and keep what stands", "answers", "Stop"),
    "again": Key("ctrl+r,f5", "answer again, as another branch", "answers"),
    "edit": Key("f8", "ask the last question otherwise, as another branch", "answers"),
    "thoughts": Key("alt+t", "unfold what the model thought before an answer, or fold it", "answers"),
    "previous-branch": Key("alt+left", "go to the branch before", "answers"),
    "next-branch": Key("alt+right", "go to the branch after", "answers"),
    "copy-answer": Key("f6", "copy the last answer", "answers"),
    "copy-code": Key("f7", "copy the next code block of the last answers", "answers"),
    "rewrite": Key("f9", "open the last answer in the editor", "answers"),
    "watch": Key("f2", "watch answers resolve, or see them block by block", "watching", "Watch"),
    "mode": Key("f3", "change what the canvas colours tell", "watching"),
    "panel": Key("f4", "show or hide the panel", "watching"),
    "canvas": Key("alt+up", "go into the last answer: its canvas, its steps", "watching"),
    "step-back": Key("left", "the step before; with a cursor, the token before", "canvas"),
    "step-on": Key("right", "the step after; with a cursor, the token after", "canvas"),
    "block-back": Key("shift+left", "the block before", "canvas"),
    "block-on": Key("shift+right", "the block after", "canvas"),
    "row-up": Key("up", "with a cursor, the token above", "canvas"),
    "row-down": Key("down", "with a cursor, the token below", "canvas"),
    "first-step": Key("home", "the first step", "canvas"),
    "last-step": Key("end", "the last step", "canvas"),
    "play": Key("space", "play; hold a live answer, and let it go on; form anew around pins", "canvas", "Play, freeze"),
    "slower": Key("minus", "play more slowly", "canvas"),
    "faster": Key("plus", "play faster", "canvas"),
    "inspect": Key("i", "a cursor that tells about tokens", "canvas", "Inspect"),
    "pin": Key("p", "hold the token at the cursor", "canvas", "Pin"),
    "unpin": Key("x", "free it", "canvas", "Unpin"),
    "retype": Key("enter", "type what is to stand at the cursor", "canvas", "Type"),
    "export-trace": Key("e", "write the steps to a file", "canvas", "Export"),
    "leave": Key("escape,tab", "out of here", "canvas", "Back"),
    "infill": Key("ctrl+r", "rewrite what is selected, or write at the cursor", "editor", "Rewrite"),
    "save": Key("ctrl+s", "save the file", "editor", "Save"),
    "find": Key("ctrl+f", "find words", "editor", "Find"),
    "find-next": Key("f3,ctrl+g", "the next place where they stand", "editor"),
    "find-previous": Key("shift+f3", "the place before", "editor"),
    "undo": Key("ctrl+z", "undo; a rewrite is undone at once", "editor", "Undo"),
    "redo": Key("ctrl+y", "do again what was undone", "editor"),
    "wrap": Key("alt+z", "wrap long lines, or not", "editor"),
    "leave-editor": Key("escape", "let go of the selection; back to the chat", "editor"),
    "stronger": Key("up", "a stronger rewrite", "rewriting", "Stronger"),
    "milder": Key("down", "a milder one", "rewriting", "Milder"),
    "more-candidates": Key("pageup", "one more candidate", "rewriting", "More"),
    "fewer-candidates": Key("pagedown", "one less", "rewriting", "Fewer"),
    "keep-words": Key("tab", "choose words to keep, and back", "rewriting", "Words to keep"),
    "keep-word": Key("space", "keep the word, or not", "rewriting", "Keep"),
    "word-back": Key("left", "the word before", "rewriting"),
    "word-on": Key("right", "the word after", "rewriting"),
    "rewrite-now": Key("enter", "begin", "rewriting", "Begin"),
    "leave-rewriting": Key("escape", "leave the text as it is", "rewriting", "Back"),
    "next-candidate": Key("tab,right", "the next candidate", "candidates", "Next"),
    "previous-candidate": Key("shift+tab,left", "the one before", "candidates"),
    "choose": Key("1,2,3,4,5,6,7,8,9", "the candidate of this number: the first key has the first one", "candidates"),
    "accept": Key("enter", "take it", "candidates", "Take it"),
    "retry": Key("r", "try again, with another seed", "candidates", "Again"),
    "reject": Key("escape", "keep the original", "candidates", "Keep the original"),
    "page-up": Key("pageup", "scroll up", "reading"),
    "page-down": Key("pagedown", "scroll down", "reading"),
    "bottom": Key("ctrl+end", "go to the end, and follow it", "reading"),
    "new": Key("ctrl+n", "begin a new chat", "chats", "New"),
    "history": Key("ctrl+o", "open an earlier chat", "chats", "History"),
    "theme": Key("ctrl+t", "choose a theme", "app"),
    "commands": Key("ctrl+p", "all commands", "app", "Commands"),
    "help": Key("f1", "this help", "app", "Help"),
    "quit": Key("ctrl+q", "quit", "app", "Quit"),
}
_PLACES: Final = ("canvas", "editor", "rewriting", "candidates")  # where only the keys of that group hold
_KEY = re.compile(r"(?:(?:ctrl|shift|alt|super|hyper|meta)\+)*[a-z0-9_]+")


def check(name: str, value: Any) -> str | None:
    """What is wrong with `name = value` in the table `[keys]` of the settings; None when nothing is."""
    if name not in KEYS:
        near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
        return f"keys.{name} is no key" + (f"; did you mean keys.{near[0]}?" if near else ".")
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if not names or not all(_KEY.fullmatch(part) for part in names):
        return f'keys.{name} must be keys such as "ctrl+s" or "f5,ctrl+s", not {value!r}.'
    return None


def keys_of(name: str, chosen: Mapping[str, str]) -> list[str]:
    """The keys that do what `name` says: the user's own, or else the default ones."""
    return [part.strip() for part in chosen.get(name, KEYS[name].keys).split(",")]


def clashes(chosen: Mapping[str, str]) -> list[str]:
    """A sentence for each key that would do two things. On a canvas its own keys hold; so it is in the editor."""
    uses: dict[tuple[str, str], list[str]] = {}
    for name in KEYS:
        place = KEYS[name].group if KEYS[name].group in _PLACES else ""
        for key in keys_of(name, chosen):
            uses.setdefault((key, place), []).append(name)
    return [
        f"The key {key} is set for {' and '.join(names)}; the first one has it."
        for (key, _), names in uses.items()
        if len(names) > 1
    ]


def shown(keys: str) -> str:
    """Keys as people read them: `ctrl+j,f5` as "Ctrl+J, F5", and a row of digits as "1 to 9"."""
    if re.fullmatch(r"\d(?:,\d){2,}", keys) and keys.replace(",", "") in "0123456789":
        return f"{keys[0]} to {keys[-1]}"
    names = {"pageup": "PgUp", "pagedown": "PgDn", "escape": "Esc"}
    parts = [[names.get(part, part.capitalize()) for part in key.strip().split("+")] for key in keys.split(",")]
    return ", ".join("+".join(part) for part in parts)
