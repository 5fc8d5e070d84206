"""The part of the editor's screen that is about its file: saving, what others do to it, and leaving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual import events, on
from textual.widgets import TextArea

from dgchat.app.asking import Asking
from dgchat.app.screens import LineScreen
from dgchat.documents import DocumentError
from dgchat.editor.area import Area
from dgchat.editor.dialogs import Choice
from dgchat.editor.files import TextFile
from dgchat.notes import plural
from dgchat.sanitize import clean_line

_LOOK = 2.0  # seconds between looks at the file


class FilingScreen(Asking[None]):
    """A screen with a text that belongs into a file."""

    file: TextFile
    _saved: list[str]  # the lines that the file has
    _leaving: Callable[[], object] | None = None  # what follows where the text has been saved

    # ---- what the editor's screen gives

    @property
    def area(self) -> Area:
        """The text."""
        return self.query_one(Area)

    @property
    def busy(self) -> bool:
        """Whether the text is being rewritten: then it is not the user's to save."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """One line that says what is happening."""
        raise NotImplementedError

    def show_title(self) -> None:
        """The first line."""
        raise NotImplementedError

    def leave(self) -> None:
        """Goes where one came from."""
        raise NotImplementedError

    # ---- saving

    @property
    def modified(self) -> bool:
        """Whether the text is another one than that of the file."""
        return self.area.document.lines != self._saved

    def watch_file(self) -> None:
        """Looks at the file from time to time; to be called once."""
        self.set_interval(_LOOK, self.look_at_file)
        self.watch(self.app, "app_focus", self.look_at_file, init=False)

    @on(events.ScreenResume)
    def look_at_file(self) -> None:
        """Asks what to do where someone else has changed the file."""
        if self.app.screen is self and not self.busy and self.file.changed():
            self._ask_about_change()

    def action_save(self) -> None:
        """Saves; asks for a place where there is none."""
        if self.busy:
            self.say("take a candidate or leave it first")
        elif self.file.path is None:
            self._ask_for_place()
        elif self.file.differs():
            self._ask_about_change()
        else:
            self._write()

    def _write(self, over: bool = False) -> None:
        try:
            self.file.write(self.area.file_text, over)
        except DocumentError as error:
            self._leaving = None
            self.trouble(str(error))
            return
        self._saved = list(self.area.document.lines)
        self.area.history.checkpoint()
        self.show_title()
        self.say(f"saved {self.file.name}, {plural(self.area.document.line_count, 'line')}")
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving()

    def trouble(self, text: str) -> None:
        """Something that could not be done."""
        self.notify(clean_line(text), severity="warning", timeout=10, markup=False)

    def _ask_for_place(self) -> None:
        def chosen(name: str | None) -> None:
            if not name or not name.strip():
                self._leaving = None
                return
            path = Path(name.strip()).expanduser()
            try:
                self.file.move_to(path)
            except DocumentError as error:
                self._leaving = None
                self.trouble(str(error))
                return
            self.show_title()
            if path.exists():
                self._ask_about_change(f"{path.name} is there already.", can_reload=False)
            else:
                self._write()

        self.app.push_screen(LineScreen("Save as: a file", self.file.name), chosen)

    def _ask_about_change(self, what: str | None = None, can_reload: bool = True) -> None:
        """Asks what holds: the text here, or the file."""
        question = what or f"{self.file.name} has been changed on disk since it was read."
        reload = "Reload it, and lose the changes made here" if self.modified else "Reload it"
        answers = {"overwrite": "Overwrite it with this text", "keep": "Keep editing, and leave it as it is"}
        if can_reload:
            answers = {"reload": reload, **answers}

        def chosen(answer: str | None) -> None:
            match answer:
                case "reload":
                    self._reload()
                case "overwrite":
                    self._write(over=True)
                case _:
                    self._leaving = None
                    self.file.let_be()
                    self.say(f"{self.file.name} on disk is not what stands here; Ctrl+S asks again")

        self.app.push_screen(Choice(question, answers), chosen)

    def _reload(self) -> None:
        self._leaving = None
        try:
            self.file.reload()
        except DocumentError as error:
            self.file.let_be()
            self.trouble(str(error))
            return
        row = self.area.cursor_location[0]
        self.area.take_up(self.file.text)
        self._saved = list(self.area.document.lines)
        self.area.move_cursor((min(row, self.area.document.line_count - 1), 0))
        self.show_title()
        self.say(f"read {self.file.name} anew")

    # ---- leaving

    def may_quit(self) -> bool:
        """As `Asking`."""
        if not self.lost_on_leaving:
            return True
        if not isinstance(self.app.screen, Choice):  # else it is being asked already
            self.ask_before(self.app.exit)
        return False

    @property
    def lost_on_leaving(self) -> bool:
        """Whether there is something that is not in the file."""
        raise NotImplementedError

    def ask_before(self, leave: Callable[[], object]) -> None:
        """Leaves, after asking where something would be lost."""
        if not self.lost_on_leaving:
            leave()
            return

        def chosen(answer: str | None) -> None:
            if answer == "save":
                self._leaving = leave
                self.action_save()
            elif answer == "discard":
                leave()

        answers = {"save": "Save", "discard": "Discard the changes", "back": "Back to the text"}
        self.app.push_screen(Choice(f"{self.file.name} has changes that are not saved.", answers), chosen)

    @on(TextArea.Changed)
    def text_changed(self, changed: TextArea.Changed) -> None:
        """The mark of a changed text comes or goes."""
        changed.stop()
        if not self.busy:
            self.show_title()
