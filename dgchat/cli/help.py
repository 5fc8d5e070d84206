"""What `dgchat --help` says, and `dgchat infill --help`."""

from __future__ import annotations

from typing import Final

import click

from dgchat.cli.options import bench, engines, infill, models, traces

EPILOG: Final = """\b
Subcommands:
  dgchat config                     every setting, its value and where it comes from
  dgchat help [TOPIC]               the guide, or what it says about a topic
  dgchat history                    earlier chats; history search WORDS finds one,
                                    history resume ID goes on with it
  dgchat replay FILE                plays the steps of an answer that --trace FILE kept, or with
                                    --export makes a film or a page of them
  dgchat edit FILE                  an editor in which the model rewrites what you select
  dgchat infill FILE --lines 3-4    rewrites a part of a file, or of piped text; infill --help
                                    tells more
  dgchat models                     the models that are known, and how much of each is here
  dgchat pull [NAME]                fetches a model from the hub, or the rest of one; by default
                                    the full model in 4 bits (18.8 GB)
  dgchat rm NAME                    removes a model that was fetched
  dgchat convert SRC DST            writes a bf16 model again with its experts in 4 bits (NVFP4)
  dgchat key set URL                keeps the key of a server in the keyring; also rm URL, list
  dgchat doctor                     what this machine has, which models fit it, how to mend it
  dgchat bench                      measures how fast a model answers here, and keeps the figures;
                                    bench --compare sets the last two runs side by side
  dgchat completion bash|zsh|fish   a script that completes dgchat's words

\b
Examples:
  dgchat "Tell me a story about a fox and a lantern."
  dgchat --watch "Write a Python function that adds two numbers."
  cat notes.txt | dgchat "What is this about?"
  dgchat --model nvfp4 --image fox.jpg "What is on this picture?"
  dgchat --trace fox.npz "Describe a fox." && dgchat replay fox.npz --export fox.html
  dgchat --seed 7 --json "What is 12 plus 5?"
  dgchat infill story.txt --match "a red kite" --instruction "something blue" --write
  dgchat pull nvfp4 && dgchat --model nvfp4 "Hello"
  dgchat --model ./my-model --max-tokens 512 "Hello"
  dgchat -- help                    "help" as the prompt

\b
Settings:
  ~/.config/dgchat/settings.toml, or DGCHAT_MODEL, DGCHAT_SEED, ... in the environment;
  a flag wins over the environment, and that over the file

\b
Exit codes:
  0 fine, 1 the engine failed, 2 wrong usage or settings, 3 model not usable,
  4 input not usable, 129 terminal gone, 130 Ctrl-C, 141 closed pipe, 143 terminated

Without a prompt, on a terminal, dgchat opens a chat.
"""


class RootCommand(click.Command):
    """Keeps what follows `--` apart, so that it is never taken for a subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            ctx.meta["dgchat.literal"] = args[: args.index("--")]
        if "infill" in args:  # help comes before any other option is looked at: it must know
            ctx.meta["dgchat.infill"] = self._is_infill(ctx, args)
        return super().parse_args(ctx, args)

    def _is_infill(self, ctx: click.Context, args: list[str]) -> bool:
        try:
            words = self.make_parser(ctx).parse_args(list(args))[0].get("words")
        except click.UsageError:
            return False
        return list(words or ())[:1] == ["infill"] and "infill" in ctx.meta.get("dgchat.literal", args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Of dgchat, or of what `dgchat infill` takes."""
        if not ctx.meta.get("dgchat.infill"):
            super().format_help(ctx, formatter)
            return
        records = {parameter.name or "": record for parameter, record in self._options(ctx)}
        infill.write_help(formatter, ctx.command_path, records)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options of traces, of rewriting and of models under headings of their own."""
        owners = {
            "Engines": engines.ONLY, "Traces": traces.ONLY, "Rewriting": infill.ONLY, "Models": models.ONLY,
            "Measuring": bench.ONLY,
        }  # fmt: skip
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], **{heading: [] for heading in owners}}
        for parameter, record in self._options(ctx):
            found = (heading for heading, names in owners.items() if parameter.name in names)
            groups[next(found, "Options")].append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def _options(self, ctx: click.Context) -> list[tuple[click.Parameter, tuple[str, str]]]:
        """The options, each with how it is written and what it does."""
        found = [(option, option.get_help_record(ctx)) for option in self.get_params(ctx)]
        return [(option, record) for option, record in found if record and isinstance(option, click.Option)]
