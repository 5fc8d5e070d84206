"""An answer of the chat, or a code block in it, in the editor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dgchat.app.copying import CodeBlocks, fences

if TYPE_CHECKING:
    from dgchat.app.chat import ChatApp

_ENDINGS = {"python": ".py", "javascript": ".js", "bash": ".sh", "markdown": ".md", "rust": ".rs"}


def open_editor(desk: ChatApp, answers: Sequence[str], blocks: CodeBlocks, words: str) -> str:
    """Opens a text in an editor over the chat; the model is that of the chat. Returns what to say.

    Args:
        desk: the app.
        answers: the texts of the answers in question, oldest first.
        blocks: knows which code block comes next.
        words: "code" for a code block, the next one at each call; else empty.
    """
    from dgchat.editor.files import TextFile
    from dgchat.editor.languages import kind_of, kind_of_fence
    from dgchat.editor.screen import EditorScreen

    if words not in ("", "code"):
        return "/rewrite opens the last answer, /rewrite code the next code block"
    if not answers:
        return "there is no answer to rewrite yet"
    if not words:
        desk.push_screen(EditorScreen(desk, TextFile("answer.md", answers[-1]), kind_of("answer.md")))
        return ""
    found = blocks.next(answers)
    if found is None:
        return "there is no code block in this chat"
    code, number, count = found
    info = [info for text in reversed(answers) for info, _ in fences(text)][number - 1]
    kind = kind_of_fence(info)
    ending = _ENDINGS.get(kind.language or "", f".{kind.language or 'txt'}")
    desk.push_screen(EditorScreen(desk, TextFile(f"code{ending}", code), kind))
    return f"code block {number} of {count}"
