"""The command line: `dgchat [OPTIONS] [PROMPT...]`.

Imports nothing heavy: `dgchat --version` and completion answer at once, and each subcommand imports what it needs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import CompletionItem

from dgchat import __version__
from dgchat.bench_options import ONLY as BENCH_ONLY
from dgchat.bench_options import bench_options, check_bench_options
from dgchat.exits import Exit, Failure
from dgchat.image_options import check_image_options, image_options
from dgchat.infill_options import ONLY as INFILL_ONLY
from dgchat.infill_options import check_infill_options, infill_options, write_help
from dgchat.model_options import ONLY as MODEL_ONLY
from dgchat.model_options import check_model_options, model_options
from dgchat.precisions import PRECISIONS
from dgchat.server_options import ONLY as SERVER_ONLY
from dgchat.server_options import server_options
from dgchat.trace_options import FORMATS, ONLY, check_options, trace_options

if TYPE_CHECKING:
    from dgchat.inline.answer import Mode
    from dgchat.settings import Settings

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE = "_DGCHAT_COMPLETE"
_MAX_SEED = 2**63 - 1
_COUNT = click.IntRange(1, 10**9)

_EPILOG = """\b
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
  4 input not usable, 130 Ctrl-C, 141 closed pipe

Without a prompt, on a terminal, dgchat opens a chat.
"""


class _Command(click.Command):
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
        write_help(formatter, ctx.command_path, records)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options of traces, of rewriting and of models under headings of their own."""
        owners = {
            "Engines": SERVER_ONLY, "Traces": ONLY, "Rewriting": INFILL_ONLY, "Models": MODEL_ONLY,
            "Measuring": BENCH_ONLY,
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


def _complete_words(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
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
        choices = [(shell, "") for shell in _SHELLS]
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


def _complete_model(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from dgchat.models.naming import names_for

    choices = [("pocket", "the built-in model"), *names_for("pull")]
    names = [CompletionItem(name, help=text) for name, text in choices if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="dir")]


@click.command(
    cls=_Command,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[OPTIONS]",
)
@click.argument("words", nargs=-1, metavar="[PROMPT]...", shell_complete=_complete_words)
@click.option("--watch/--no-watch", default=None, help="Show the answer resolve out of noise, on a terminal.")
@click.option("--model", metavar="NAME", help="pocket, nvfp4, a directory, a hub id.", shell_complete=_complete_model)
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
@server_options
@image_options
@trace_options
@infill_options
@model_options
@bench_options
@click.version_option(__version__, message="dgchat %(version)s")
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], as_json: bool, as_events: bool, **flags: Any) -> Exit:
    """Answers PROMPT with a block-diffusion language model on this machine. Text that is piped in becomes context."""
    literal = ctx.meta.get("dgchat.literal")
    first = words[0] if words else ""
    is_subcommand = first in _SUBCOMMANDS and (literal is None or first in literal)
    check_options(first if is_subcommand else "", flags)
    check_infill_options(first if is_subcommand else "", flags)
    check_model_options(first if is_subcommand else "", flags)
    check_bench_options(first if is_subcommand else "", flags)
    check_image_options(first if is_subcommand else "", flags)
    if is_subcommand:
        return _SUBCOMMANDS[first](words[1:], {**flags, "json": as_json, "events": as_events})
    if as_json and as_events:
        raise click.UsageError("--json and --events exclude each other.")
    mode: Mode = "json" if as_json else "events" if as_events else "text"
    if not words and sys.stdin is not None and sys.stdin.isatty():
        if flags["trace"] or flags["top_k"] is not None:
            raise click.UsageError("--trace and --top-k go with a prompt.")
        if mode == "text":
            return _chat(flags)
        raise click.UsageError("There is no prompt; a chat needs a terminal, and neither --json nor --events.")
    return _answer(words, flags, mode)


def _answer(words: Sequence[str], flags: dict[str, Any], mode: Mode) -> Exit:
    settings = _settings(flags)
    from dgchat.prompt import check_text, read_prompt

    check_text(settings.system or "", "The system prompt")
    prompt = read_prompt(words, sys.stdin)
    from dgchat.inline.answer import Request, answer

    trace = Path(flags["trace"]) if flags["trace"] else None
    images = tuple(map(Path, flags["image"]))
    return answer(Request(prompt, settings, mode, trace, bool(flags["force"]), flags["top_k"] or 0, images))


def _chat(flags: dict[str, Any], resume: int | None = None) -> Exit:
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("There is no prompt; a chat needs a terminal, and neither --json nor --events.")
    settings = _settings(flags)
    from dgchat.app.chat import chat

    return chat(settings, resume, tuple(map(Path, flags["image"])))


def _settings(flags: dict[str, Any]) -> Settings:
    """The settings, after a note on stderr for each key that means nothing."""
    from dgchat.settings import load

    settings = load(flags)
    if not settings.quiet:
        for warning in settings.warnings:
            _complain(warning)
    return settings


def _config(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    if words:
        raise click.UsageError("dgchat config takes no words; to use it as a prompt: dgchat -- config ...")
    from dgchat.paths import settings_file
    from dgchat.sanitize import clean_line
    from dgchat.settings import report

    rows = report(_settings(flags))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=False))
        click.echo("  ".join([*cells, row[3]]).rstrip())
    path = settings_file()
    state = "" if path.exists() else " (not there)"
    click.echo(f"\nsettings file: {clean_line(str(path))}{state}")
    return Exit.FINE


def _help(words: Sequence[str], _: dict[str, Any]) -> Exit:
    import shutil

    from dgchat.guide import show

    topic = " ".join(words)
    color = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if show(topic, sys.stdout, color, shutil.get_terminal_size().columns):
        return Exit.FINE
    raise click.UsageError(f"The guide says nothing about {topic!r}; dgchat help prints all of it.")


def _history(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.history.command import history, resumed

    chat = resumed(words)
    if chat is not None:
        return _chat(flags, chat)
    from dgchat.history.traces import Wanted

    wanted = Wanted(flags["width"], flags["speed"], flags["step"], bool(flags["force"]))
    return history(words, bool(flags["json"]), wanted=wanted)


def _replay(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.replay import order_of, replay

    return replay(order_of(words, flags), _settings(flags))


def _edit(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.editor.command import edit

    return edit(words, lambda: _settings(flags))


def _infill(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.infill.order import order_of

    order = order_of(words, flags, piped=sys.stdin is not None and not sys.stdin.isatty())
    settings = _settings(flags)
    from dgchat.infill.command import infill

    return infill(order, settings)


def _pull(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.pulling import pull

    return pull(words, flags["revision"], _settings(flags))


def _models(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.listing import models

    return models(words, bool(flags["json"]), _settings(flags).quiet)


def _rm(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.removing import rm

    return rm(words, bool(flags["yes"]), _settings(flags).quiet)


def _convert(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.models.converting import convert

    return convert(words, _settings(flags))


def _key(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.key_command import key

    return key(words, _settings(flags))


def _doctor(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.doctor import doctor

    return doctor(words, bool(flags["json"]), _settings(flags).quiet)


def _bench(words: Sequence[str], flags: dict[str, Any]) -> Exit:
    from dgchat.bench.command import bench, order_of

    order = order_of(words, flags)
    return bench(order, _settings(flags))


def _completion(words: Sequence[str], _: dict[str, Any]) -> Exit:
    if len(words) != 1 or words[0] not in _SHELLS:
        raise click.UsageError(f"dgchat completion takes one of {', '.join(_SHELLS)}.")
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(words[0])
    assert kind is not None
    # Not the class's own `source`: that of bash looks for a bash to ask for its version.
    click.echo(ShellComplete.source(kind(command, {}, "dgchat", _COMPLETE)))
    return Exit.FINE


_SUBCOMMANDS: dict[str, Callable[[Sequence[str], dict[str, Any]], Exit]] = {
    "config": _config,
    "help": _help,
    "history": _history,
    "replay": _replay,
    "edit": _edit,
    "infill": _infill,
    "models": _models,
    "pull": _pull,
    "rm": _rm,
    "convert": _convert,
    "key": _key,
    "doctor": _doctor,
    "bench": _bench,
    "completion": _completion,
}


def main() -> NoReturn:
    """The entry point: ends the process with an exit code of `Exit`."""
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _hang_up)
    signal.signal(signal.SIGINT, _interrupt)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by whoever started us
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    code = _flush(run(sys.argv[1:]))
    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        os._exit(code)  # torch, busy on the engine's thread, would abort an interpreter that shuts down
    sys.exit(code)


def run(args: Sequence[str]) -> int:
    """Runs one command line; every failure is one sentence on stderr and an exit code, never a traceback."""
    try:
        if _COMPLETE in os.environ:
            command.main(list(args), prog_name="dgchat", complete_var=_COMPLETE)
        # Not `main`: that of click ends with 1 where the pipe is closed.
        with command.make_context("dgchat", list(args)) as context:
            return int(command.invoke(context))
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.UsageError as error:
        infill = "infill " if list(args[:1]) == ["infill"] else ""
        _complain(f"{error.format_message()} Try dgchat {infill}--help.")
        return Exit.USAGE
    except Failure as failure:
        _complain(str(failure))
        return failure.code
    except BrokenPipeError:
        return Exit.CLOSED_PIPE
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:  # noqa: BLE001 - the last resort: it is logged, and shown in a sentence
        return _stopped() if _interrupted.is_set() else _unexpected(error)


def _stopped() -> int:
    _complain("Stopped.")
    return Exit.INTERRUPTED


def _unexpected(error: Exception) -> int:
    from dgchat.hush import debugging, log_traceback

    if debugging():
        import traceback

        traceback.print_exc()
    if isinstance(error, OSError) and error.filename is None:
        _complain(f"The output cannot be written: {error.strerror or error}.")
        return Exit.ENGINE
    log = log_traceback()
    where = f"the traceback is in {log}" if log else "DGCHAT_DEBUG=1 shows the traceback"
    _complain(f"Something unexpected went wrong ({type(error).__name__}: {error}); {where}.")
    return Exit.ENGINE


def _flush(code: int) -> int:
    """Flushes the output; into a closed pipe the rest is thrown away, so that Python does not complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or Exit.CLOSED_PIPE
    return code


def _complain(text: str) -> None:
    from dgchat.sanitize import clean_line

    try:
        sys.stderr.write(f"dgchat: {clean_line(text)}\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


# A library that is being imported may turn Ctrl-C into an error of its own.
_interrupted = threading.Event()


def _interrupt(*_: object) -> NoReturn:
    _interrupted.set()
    raise KeyboardInterrupt


def _terminate(*_: object) -> NoReturn:
    """SIGTERM unwinds the stack, so that the terminal is put in order."""
    raise SystemExit(int(Exit.TERMINATED))


def _hang_up(*_: object) -> NoReturn:
    """So does SIGHUP, where there still is a terminal."""
    raise SystemExit(int(Exit.HUNG_UP))
