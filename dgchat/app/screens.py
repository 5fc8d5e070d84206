"""The screens that open over the chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from dgchat import guide, themes
from dgchat.app.background import in_background
from dgchat.app.commands import COMMANDS
from dgchat.app.keeping import told
from dgchat.app.options import Options
from dgchat.app.sized import Result, Sized
from dgchat.history.export import timestamp
from dgchat.history.store import FOUND_BEGIN, FOUND_END, Store
from dgchat.hush import log_traceback
from dgchat.keys import KEYS, shown
from dgchat.sanitize import clean, clean_line, clean_piece

if TYPE_CHECKING:
    from dgchat.machine.probe import Machine

_LISTED = 500  # chats that are listed without a search


class Over(Sized[Result]):
    """A screen over the chat, which leaves once: a second key that came before it was gone must not close the next."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Closes the screen, if it is the one that is shown."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


class Line(Input):
    """A line to write in. Its cursor stands still."""

    cursor_blink = reactive(False, init=False)


class HelpScreen(Over[None]):
    """Keys, commands and the guide."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Back"),
        Binding(KEYS["help"].keys, "dismiss", show=False, id="help"),
    ]

    def __init__(self, keys: Mapping[str, str]) -> None:
        """`keys`: the user's own, by their names."""
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        yield Static("dgchat: help", id="title", markup=False)
        with VerticalScroll(id="help"):
            yield Static(keys_help(self._keys), id="help-keys")
            yield Static(commands_help(), id="help-commands")
            for section, entries in guide.sections(guide.entries()):
                yield Static(Text("\n" + section.upper() + "\n", style="bold"))
                for entry in entries:
                    yield Static(Text.assemble((entry.title + "\n", "bold"), *guide.code_spans(entry.answer), "\n"))
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one("#help").focus()


def keys_help(own: Mapping[str, str]) -> Text:
    """All keys, by group, as they are set; each with the name that the settings give it."""
    text = Text()
    groups: dict[str, list[str]] = {}
    for name, key in KEYS.items():
        groups.setdefault(key.group, []).append(name)
    for group, names in groups.items():
        text.append(f"{group.upper()}\n", "bold")
        for name in names:
            text.append(f"  {shown(own.get(name, KEYS[name].keys)):<21} ", "cyan")
            text.append(f"{KEYS[name].help}  ").append(f"{name}\n", "dim")
        text.append("\n")
    return text


def commands_help() -> Text:
    """All /commands."""
    text = Text("COMMANDS\n", "bold")
    for name, command in COMMANDS.items():
        text.append(f"  {f'/{name} {command.takes}':<34}", "cyan").append(f"{command.help}\n")
    return text.append("  @path gives a text file as context\n")


class LineScreen(Over[str | None], ModalScreen[str | None]):
    """Asks for one line; None where the user changes their mind."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, question: str, text: str = "") -> None:
        super().__init__()
        self._question, self._text = question, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False)
            yield Line(clean_line(self._text))

    @on(Input.Submitted)
    def done(self, submitted: Input.Submitted) -> None:
        """Enter takes the line; one that was left as it is keeps the line breaks that it had."""
        self.dismiss(self._text if submitted.value == clean_line(self._text) else submitted.value)


class ThemeScreen(Over[str | None], ModalScreen[str | None]):
    """Chooses a theme; the one under the cursor is shown at once."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, now: str, preview: Callable[[str], bool]) -> None:
        """`preview` shows a theme, and tells whether it can be used."""
        super().__init__()
        self._now, self._preview = now, preview

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("Theme: Enter keeps it, Esc goes back", markup=False)
            yield Options(*(Option(Text(clean_line(name)), id=name) for name in themes.names()), id="themes")

    def on_mount(self) -> None:
        """Begins at the present one."""
        options = self.query_one("#themes", OptionList)
        names = themes.names()
        options.highlighted = names.index(self._now) if self._now in names else 0

    @on(OptionList.OptionHighlighted)
    def show(self, highlighted: OptionList.OptionHighlighted) -> None:
        """Previews the theme under the cursor."""
        if highlighted.option_id is not None:
            self._preview(highlighted.option_id)

    @on(OptionList.OptionSelected)
    def keep(self, selected: OptionList.OptionSelected) -> None:
        """Keeps a theme that can be used."""
        if selected.option_id is not None and self._preview(selected.option_id):
            self.dismiss(selected.option_id)


class HistoryScreen(Over[int | None], ModalScreen[int | None]):
    """Earlier chats: typing searches them. Gives the id of the chat to open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("ctrl+r", "rename", "Rename", priority=True),
        Binding("ctrl+d,delete", "delete", "Delete", priority=True),
        Binding("ctrl+z", "undo", "Undo", priority=True),
    ]

    def __init__(self, store: Store, words: str = "", on_delete: Callable[[int], None] = lambda chat: None) -> None:
        super().__init__()
        self._store, self._words, self._on_delete = store, words, on_delete
        self._deleted: list[int] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Line(self._words, placeholder="words to search for", id="search")
            yield Options(id="chats")
            yield Static("Enter opens   Ctrl+R renames   Ctrl+D deletes   Ctrl+Z undoes   Esc goes back", markup=False)

    def on_mount(self) -> None:
        """Lists the chats."""
        self._list()

    @on(Input.Changed, "#search")
    def search(self) -> None:
        """Searches as one types."""
        self._list()

    def _list(self) -> None:
        words = self.query_one("#search", Input).value
        options = self.query_one("#chats", OptionList)
        options.clear_options()
        rows: dict[int, Text] = {}
        with told(self._tell):
            rows = self._found(words) if words.strip() else self._all()
        options.add_options([Option(row, id=str(chat)) for chat, row in rows.items()])
        options.highlighted = 0 if rows else None

    def _all(self) -> dict[int, Text]:
        return {chat.id: _head(chat.updated, chat.title) for chat in self._store.conversations(_LISTED)}

    def _found(self, words: str) -> dict[int, Text]:
        rows: dict[int, Text] = {}
        for hit in self._store.search(words):
            row = rows.setdefault(hit.conversation.id, _head(hit.conversation.updated, hit.conversation.title))
            if row.plain.count("\n") < 2:
                row.append("\n    ").append_text(marked(hit.excerpt))
        return rows

    def _tell(self, text: str) -> None:
        self.notify(clean_line(text), markup=False)

    def _chosen(self) -> int | None:
        options = self.query_one("#chats", OptionList)
        if options.highlighted is None:
            return None
        return int(options.get_option_at_index(options.highlighted).id or 0)

    def action_move(self, by: int) -> None:
        """Moves among the chats while one types."""
        options = self.query_one("#chats", OptionList)
        if options.option_count:
            options.highlighted = ((options.highlighted or 0) + by) % options.option_count

    @on(Input.Submitted, "#search")
    def open(self) -> None:
        """Enter opens the chosen chat."""
        chosen = self._chosen()
        if chosen is not None:
            self.dismiss(chosen)

    @on(OptionList.OptionSelected, "#chats")
    def clicked(self) -> None:
        """So does the mouse."""
        self.open()

    def action_rename(self) -> None:
        """Asks for another title."""
        chosen = self._chosen()
        if chosen is None:
            return

        def renamed(title: str | None) -> None:
            if title and clean_line(title).strip():
                with told(self._tell):
                    self._store.rename(chosen, clean_line(title).strip())
                self._list()

        with told(self._tell):
            self.app.push_screen(LineScreen("Title of this chat", self._store.conversation(chosen).title), renamed)

    def action_delete(self) -> None:
        """Deletes the chosen chat; Ctrl+Z brings it back."""
        chosen = self._chosen()
        if chosen is None:
            return
        with told(self._tell):
            self._store.delete(chosen)
            self._deleted.append(chosen)
            self._on_delete(chosen)
            self._tell("Deleted; Ctrl+Z brings it back.")
        self._list()

    def action_undo(self) -> None:
        """Brings back what was deleted last."""
        if self._deleted:
            with told(self._tell):
                self._store.restore(self._deleted.pop())
            self._list()


def _head(updated: float, title: str) -> Text:
    return Text.assemble((f"{timestamp(updated)}  ", "dim"), clean_line(title))


def marked(excerpt: str) -> Text:
    """A search's excerpt on one line, the words found in bold."""
    text = Text()
    for place, part in enumerate(excerpt.replace(FOUND_END, FOUND_BEGIN).split(FOUND_BEGIN)):
        text.append(clean_piece(part), "bold" if place % 2 else "")
    return text


class WelcomeScreen(Over[None], ModalScreen[None]):
    """The first screen of all: what was found, and what it can run. Nothing is downloaded."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,space", "dismiss", "Begin")]

    def __init__(self, find: Callable[[], Machine]) -> None:
        super().__init__()
        self._find = find

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static(Text("Welcome to dgchat\n", style="bold"))
            yield Static(
                "It runs a block-diffusion language model on this machine: an answer starts as noise, and all of it "
                "becomes clear at once. Press F2 at any time to watch that happen.\n",
                markup=False,
            )
            yield Static("looking at this machine …", id="found", markup=False)
            yield Static(
                "\nYou are talking to pocket, a toy that comes with dgchat.\n"
                "Nothing is downloaded unasked: /models shows what there is, and fetches it.\n"
                "To use a server of yours: dgchat --server URL.\n\n"
                "Enter begins. F1 is help.",
                markup=False,
            )

    @dataclass
    class Found(Message):
        """What the machine is, in lines."""

        text: str

    def on_mount(self) -> None:
        """Looks at the machine behind the screen."""
        in_background(self._look)

    def _look(self) -> None:
        try:
            self.post_message(self.Found(self._found()))
        except Exception as error:  # noqa: BLE001 - shown in a sentence, and logged
            log_traceback()
            self.post_message(self.Found(f"This machine could not be looked at ({type(error).__name__}: {error})."))

    def _found(self) -> str:
        from dgchat.machine.advice import advice, lines
        from dgchat.machine.fits import fits

        found = self._find()
        return "\n".join([*(f"  {line}" for line in lines(found)), "", advice(found, fits(found))])

    @on(Found)
    def tell(self, found: Found) -> None:
        """Shows it."""
        self.query_one("#found", Static).update(clean(found.text))
