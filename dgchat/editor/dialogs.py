"""What the editor asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from dgchat.app.screens import Over
from dgchat.sanitize import clean_line


class Choice(Over[str | None], ModalScreen[str | None]):
    """A question with a few answers, each with its letter; None where the user goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("right,down,tab", "app.focus_next", "Next", show=False, priority=True),
        Binding("left,up,shift+tab", "app.focus_previous", "Previous", show=False, priority=True),
    ]

    def __init__(self, question: str, answers: Mapping[str, str]) -> None:
        """`answers`: what stands on the buttons, by what the screen gives; the first letters must differ."""
        super().__init__()
        self._question, self._answers = question, answers

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(clean_line(self._question), markup=False)
            with Horizontal(classes="choices"):
                for name, text in self._answers.items():
                    yield Button(text, id=f"choice-{name}", compact=True)

    def on_key(self, event: object) -> None:
        """A letter chooses as well."""
        letter = getattr(event, "character", None)
        found = [name for name, text in self._answers.items() if letter and text[0].lower() == letter.lower()]
        if found:
            self.dismiss(found[0])

    @on(Button.Pressed)
    def chosen(self, pressed: Button.Pressed) -> None:
        """Enter or the mouse."""
        pressed.stop()
        self.dismiss((pressed.button.id or "").removeprefix("choice-"))
