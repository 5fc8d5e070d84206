"""Which words a shell may complete. Nothing heavy is imported, as the shell waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from dgchat.cli.options.traces import FORMATS

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_DGCHAT_COMPLETE"  # of the environment, by which a shell asks


def complete_words(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    words = list(ctx.params.get("words") or ())
    choices: Sequence[tuple[str, str]] = ()
    if not words:
        choices = (
            ("config", "settings and where they come from"),
            ("help", "the guide"),
            ("history", "earlier chats"),
            ("replay", "the steps of an answer"),
            ("edit", "an editor in which the model rewrites what you select"),
            ("infill", "rewrites a part of a file"),
            ("models", "the models that are known, and those that are here"),
            ("pull", "fetches a model"),
            ("rm", "removes a model that was fetched"),
            ("convert", "writes a model again in 4 bits"),
            ("key", "keys of servers, in the keyring"),
            ("doctor", "what this machine has, and which models fit it"),
            ("bench", "how fast a model answers here"),
            ("completion", "a completion script"),
        )
    elif words == ["completion"]:
        choices = [(shell, "") for shell in SHELLS]
    elif words == ["key"]:
        choices = [(verb, "") for verb in ("set", "rm", "list")]
    elif words == ["history"]:
        choices = [(verb, "") for verb in ("list", "search", "resume", "show", "export", "rename", "delete", "restore")]
    elif words[:2] == ["history", "export"] and len(words) == 3:
        choices = [(form, "") for form in ("md", "json", *FORMATS)]
    elif words[:1] == ["convert"] and len(words) < 3:
        return [CompletionItem(incomplete, type="dir")]
    elif words in (["replay"], ["edit"], ["infill"]) or (words[:2] == ["history", "export"] and len(words) == 4):
        return [CompletionItem(incomplete, type="file")]
    elif words in (["pull"], ["rm"]):
        from dgchat.models.naming import names_for

        choices = names_for(words[0])
    elif words[:1] == ["bench"]:
        from dgchat.bench.runs import numbers
        from dgchat.paths import bench_folder

        choices = [(str(number), "") for number in numbers(bench_folder())]
    elif words == ["help"]:
        from dgchat.guide import entries, sections

        choices = [(section, "") for section, _ in sections(entries())]
    return [CompletionItem(word, help=text or None) for word, text in choices if word.startswith(incomplete)]


def complete_model(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from dgchat.models.naming import names_for

    choices = [("pocket", "the built-in model"), *names_for("pull")]
    names = [CompletionItem(name, help=text) for name, text in choices if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="dir")]


def script(shell: str, command: click.Command) -> str:
    """What a shell reads to complete dgchat's words."""
    kind = get_completion_class(shell)
    assert kind is not None
    # Not the class's own `source`: that of bash looks for a bash to ask for its version.
    return ShellComplete.source(kind(command, {}, "dgchat", VARIABLE))
