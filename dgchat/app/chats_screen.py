"""What one does with whole chats: the part of the chat's screen that is about keeping, themes and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dgchat import notes
from dgchat.app.exporting import ExportError, write_chat
from dgchat.app.keeping import told
from dgchat.app.messages import Answer
from dgchat.app.steps_screen import StepsScreen
from dgchat.app.turns import in_turn
from dgchat.sanitize import clean, clean_line
from dgchat.thoughts import why_not_think

if TYPE_CHECKING:
    from dgchat.history.records import Message


class ChatsScreen(StepsScreen):
    """A screen with one chat of many on it."""

    _deleted: int | None
    _editing: Message | None
    _thinking: bool

    # ---- what the chat's screen gives

    async def _abandon(self) -> None:
        """Ends the answer at once, because the user goes elsewhere."""
        raise NotImplementedError

    async def _rebuild(self) -> None:
        """Shows the chat anew."""
        raise NotImplementedError

    def _title(self) -> None:
        """Shows the chat's title anew."""
        raise NotImplementedError

    def _unload(self) -> None:
        """There is no model until the next one is loaded."""
        raise NotImplementedError

    # ---- chats

    @in_turn
    async def action_new(self) -> None:
        """Begins a new chat; this one is kept."""
        await self._abandon()
        self._editing = None
        self._desk.host.forget()
        self._conversation.new()
        await self._rebuild()
        self.say("a new chat")
        self.composer.editor.focus()

    def action_history(self, words: str = "") -> None:
        """Opens the list of chats."""

        async def opened(chat: int | None) -> None:
            if chat is not None:
                await self.open_chat(chat)

        from dgchat.app.screens import HistoryScreen

        self.app.push_screen(HistoryScreen(self._conversation.store, words, self._chat_deleted), opened)

    def action_search(self, words: str) -> None:
        """Opens the list of chats with these words in them."""
        self.action_history(words)

    def action_models(self) -> None:
        """Opens the list of models."""
        from dgchat.app.models_screen import ModelsScreen, Running

        async def chosen(name: str | None) -> None:
            if name is not None:
                await self.use_model(name)

        engine = self._desk.host.engine
        held = engine.info.weight_bytes if engine is not None else 0
        running = Running(self._conversation.model, engine is not None, held)
        self.app.push_screen(ModelsScreen(running, self._desk.settings.offline), chosen)

    @in_turn
    async def use_model(self, name: str) -> None:
        """Goes on with another model; what it has been said before, it reads anew."""
        await self._abandon()
        self._conversation.model = name
        self._desk.use_model(name)
        self._unload()

    @in_turn
    async def open_chat(self, chat: int) -> None:
        """Goes on with a chat."""
        await self._abandon()
        self._editing = None
        with told(self.say):
            self._conversation.open(chat)
            self._desk.host.forget()
            await self._rebuild()
            self.say(f"{notes.plural(len(self._conversation.path), 'message')}; go on below")

    def _chat_deleted(self, chat: int) -> None:
        self._deleted = chat
        if chat == self._conversation.id:
            self.call_later(self.action_new)

    def action_rename(self, title: str = "") -> None:
        """Gives this chat a title."""
        chat = self._conversation.id
        if chat is None:
            self.say("there is nothing to name yet")
        elif clean_line(title).strip():
            with told(self.say):
                self._conversation.store.rename(chat, clean_line(title).strip())
            self._title()
        else:
            from dgchat.app.screens import LineScreen

            now = self._conversation.title
            self.app.push_screen(LineScreen("Title of this chat", now), lambda new: self.action_rename(new or now))

    @in_turn
    async def action_delete(self) -> None:
        """Deletes this chat; /undo brings it back."""
        chat = self._conversation.id
        if chat is None:
            self.say("there is nothing to delete yet")
            return
        await self._abandon()
        with told(self.say):
            self._conversation.store.delete(chat)
            await self.action_new()
            self._deleted = chat
            self.say("deleted; /undo brings it back")

    @in_turn
    async def action_undo(self) -> None:
        """Brings back what was deleted last."""
        chat, self._deleted = self._deleted, None
        if chat is None:
            self.say("there is nothing to undo")
            return
        with told(self.say):
            self._conversation.store.restore(chat)
            await self.open_chat(chat)

    def action_export(self, words: str = "") -> None:
        """Writes this chat to a file."""
        if self._conversation.id is None:
            self.say("there is nothing to export yet")
            return
        try:
            with told(self.say):
                self.say(f"written to {write_chat(self._conversation.store, self._conversation.id, words, Path.cwd())}")
        except ExportError as error:
            self.say(str(error))

    # ---- how it looks and answers

    def action_theme(self) -> None:
        """Chooses a theme, with a preview."""
        before = self._desk.palette.name

        def chosen(name: str | None) -> None:
            self._desk.show_theme(name or before)
            if name is not None:
                self._desk.remember(theme=name)

        from dgchat.app.screens import ThemeScreen

        self.app.push_screen(ThemeScreen(before, self._desk.show_theme), chosen)

    def action_theme_named(self, name: str) -> None:
        """Takes up the theme of this name; without one asks for it."""
        if not name:
            self.action_theme()
        elif self._desk.show_theme(name):
            self._desk.remember(theme=name)
            self.say(f"theme {name}")

    def action_system(self, text: str = "") -> None:
        """Sets the system prompt of this chat; without a text asks for it."""
        if text.strip():
            self._set_system(text)
            return
        question = "System prompt of this chat; an empty line for none"
        from dgchat.app.screens import LineScreen

        self.app.push_screen(LineScreen(question, self._conversation.system or ""), self._set_system)

    def _set_system(self, text: str | None) -> None:
        if text is not None:
            with told(self.say):
                self._conversation.set_system(clean(text).strip() or None)
                self.say("the system prompt holds from the next question on" if text.strip() else "no system prompt")

    def action_thinking(self, choice: str = "") -> None:
        """Whether the model thinks first."""
        if choice not in ("", "on", "off"):
            self.say("/thinking takes on or off")
            return
        self._thinking = choice == "on" or (choice == "" and not self._thinking)
        if self.check_thinking():
            self.say("the model thinks first" if self._thinking else "the model answers at once")

    def check_thinking(self) -> bool:
        """Turns thinking off and says why, where that is on and the model cannot; False where it did so."""
        reason = why_not_think(self._engine) if self._thinking and self._engine is not None else None
        if reason is not None:
            self._thinking = False
            self.say(reason)
        return reason is None

    def action_help(self) -> None:
        """Keys, commands and the guide."""
        from dgchat.app.screens import HelpScreen

        self.app.push_screen(HelpScreen(self._desk.settings.keys))

    def action_thoughts(self) -> None:
        """Unfolds what the model thought before the chosen answer, or the last one; or folds it."""
        chosen = self.focused if isinstance(self.focused, Answer) else None
        with_thoughts = [answer for answer in self.query(Answer) if answer.thought is not None]
        answer = chosen if chosen in with_thoughts else with_thoughts[-1] if with_thoughts else None
        if answer is None or answer.thought is None:
            self.say("the model has not thought here; /thinking lets it do so, where it can")
            return
        answer.thought.collapsed = not answer.thought.collapsed
        answer.thought.scroll_visible(animate=False)
