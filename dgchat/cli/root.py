"""`dgchat [OPTIONS] [PROMPT...]`: the options, and what the first word means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dgchat import __version__
from dgchat.cli.completing import complete_model, complete_words
from dgchat.cli.help import EPILOG, RootCommand
from dgchat.cli.options import adding, bench, engines, images, infill, models, traces
from dgchat.cli.subcommands import SUBCOMMANDS, answer_once, open_chat
from dgchat.exits import Exit
from dgchat.precisions import PRECISIONS

if TYPE_CHECKING:
    from dgchat.inline.answer import Mode

_MAX_SEED = 2**63 - 1
_COUNT = click.IntRange(1, 10**9)


@click.command(
    cls=RootCommand,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[OPTIONS]",
)
@click.argument("words", nargs=-1, metavar="[PROMPT]...", shell_complete=complete_words)
@click.option("--watch/--no-watch", default=None, help="Show the answer resolve out of noise, on a terminal.")
@click.option("--model", metavar="NAME", help="pocket, nvfp4, a directory, a hub id.", shell_complete=complete_model)
@click.option("--system", metavar="TEXT", help="A text that tells the model how to behave.")
@click.option("--seed", type=click.IntRange(0, _MAX_SEED), metavar="N", help="The same seed gives the same answer.")
@click.option("--max-tokens", type=_COUNT, metavar="N", help="The longest answer, in tokens.")
@click.option("--steps", type=_COUNT, metavar="N", help="Denoising steps that a canvas may take.")
@click.option("--thinking/--no-thinking", default=None, help="The model thinks before it answers, where it can.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: text, thinking, stats, ...")
@click.option("--events", "as_events", is_flag=True, help="Print a JSON line for every event; texts hold thoughts too.")
@click.option("-q", "--quiet", is_flag=True, default=None, help="No notes on stderr.")
@click.option("--device", metavar="NAME", help="Where the model runs: auto, cpu, cuda, cuda:1.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    metavar="NAME",
    help="Number format of the weights: auto, float32, bfloat16, nvfp4, fp8, nf4, nvfp4+fp8.",
)
@click.option("--context", type=_COUNT, metavar="N", help="Tokens of prompt and answer to make room for.")
@click.option("--offline", is_flag=True, default=None, help="Never use the network.")
@adding(engines.OPTIONS)
@adding(images.OPTIONS)
@adding(traces.OPTIONS)
@adding(infill.OPTIONS)
@adding(models.OPTIONS)
@adding(bench.OPTIONS)
@click.version_option(__version__, message="dgchat %(version)s")
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], as_json: bool, as_events: bool, **flags: Any) -> Exit:
    """Answers PROMPT with a block-diffusion language model on this machine. Text that is piped in becomes context."""
    literal = ctx.meta.get("dgchat.literal")
    first = words[0] if words else ""
    is_subcommand = first in SUBCOMMANDS and (literal is None or first in literal)
    for options in (traces, infill, models, bench, images):
        options.check(first if is_subcommand else "", flags)
    if is_subcommand:
        return SUBCOMMANDS[first](words[1:], {**flags, "json": as_json, "events": as_events})
    if as_json and as_events:
        raise click.UsageError("--json and --events exclude each other.")
    mode: Mode = "json" if as_json else "events" if as_events else "text"
    if not words and sys.stdin is not None and sys.stdin.isatty():
        if flags["trace"] or flags["top_k"] is not None:
            raise click.UsageError("--trace and --top-k go with a prompt.")
        if mode == "text":
            return open_chat(flags)
        raise click.UsageError("There is no prompt; a chat needs a terminal, and neither --json nor --events.")
    return answer_once(words, flags, mode)
