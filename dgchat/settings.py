"""Settings: what they are, where each value comes from, and what is wrong with one.

Precedence: flag, environment, settings file, default. The file is read and never written.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from dgchat import keys as key_table
from dgchat.backends import BACKENDS, LONGEST, shown_address
from dgchat.exits import Exit, Failure
from dgchat.precisions import PRECISIONS
from dgchat.sanitize import clean_line

Value: TypeAlias = str | int | float | bool | None
_MAX_SEED = 2**63 - 1
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
COLORS = ("state", "entropy", "age", "change")


class Kind(NamedTuple):
    """A type of setting.

    Attributes:
        wanted: its name for messages, such as "a whole number of at least 1".
        check: whether a value read from TOML is one.
        parse: the value that a text from the environment stands for; raises ValueError.
    """

    wanted: str
    check: Callable[[Any], bool]
    parse: Callable[[str], Any]


def _whole(low: int, high: int, wanted: str) -> Kind:
    return Kind(wanted, lambda value: type(value) is int and low <= value <= high, int)


def _parse_flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _is_pace(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1000


_TEXT = Kind("a text", lambda value: isinstance(value, str), str)
_NAME = Kind("a text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()), str)
_FLAG = Kind("true or false", lambda value: isinstance(value, bool), _parse_flag)
_COUNT = _whole(1, 10**9, "a whole number from 1 to 1000000000")
_SEED = _whole(0, _MAX_SEED, "a whole number from 0 to 2**63 - 1")
_PACE = Kind("a number from 0 to 1000", _is_pace, float)
_COLORS = Kind("one of " + ", ".join(COLORS), lambda value: value in COLORS, str)
_BACKEND = Kind("one of " + ", ".join(BACKENDS), lambda value: value in BACKENDS, str)
_PATIENCE = _whole(1, LONGEST, f"a whole number of seconds from 1 to {LONGEST}")
_PRECISION = Kind("one of " + ", ".join(PRECISIONS), lambda value: value in PRECISIONS, str)


@dataclass(frozen=True)
class Setting:
    """One setting: `key` in `table` of the file, `env` in the environment, `field` in `Settings`."""

    field: str
    table: str
    key: str
    kind: Kind
    default: Value
    help: str

    @property
    def env(self) -> str:
        return "DGCHAT_" + self.field.upper()

    @property
    def name(self) -> str:
        return f"{self.table}.{self.key}"


SETTINGS = (
    Setting("model", "model", "name", _NAME, "pocket", "pocket, nvfp4, a directory, or a hub id"),
    Setting("device", "model", "device", _NAME, "auto", "auto, cpu, cuda, cuda:1, ..."),
    Setting("precision", "model", "precision", _PRECISION, "auto", ", ".join(PRECISIONS)),
    Setting("context", "model", "context", _COUNT, None, "tokens of prompt and answer, at most"),
    Setting("offline", "model", "offline", _FLAG, False, "never use the network"),
    Setting("backend", "model", "backend", _BACKEND, "embedded", "the engine: " + ", ".join(BACKENDS)),
    Setting("server", "server", "url", _NAME, None, "a vLLM server to ask; its key: dgchat key set URL"),
    Setting("insecure_http", "server", "insecure_http", _FLAG, False, "allow http:// to another machine"),
    Setting("server_timeout", "server", "timeout", _PATIENCE, 300, "seconds that a server may be silent"),
    Setting("seed", "sampling", "seed", _SEED, None, "the same seed gives the same answer"),
    Setting("max_tokens", "sampling", "max_tokens", _COUNT, None, "longest answer, in tokens"),
    Setting("steps", "sampling", "steps", _COUNT, None, "denoising steps that a canvas may take"),
    Setting("thinking", "sampling", "thinking", _FLAG, False, "the model thinks before it answers, where it can"),
    Setting("watch", "ui", "watch", _FLAG, False, "show the canvas resolve, on a terminal"),
    Setting("quiet", "ui", "quiet", _FLAG, False, "no notes on stderr"),
    Setting("system", "ui", "system", _TEXT, None, "a system prompt"),
    Setting("theme", "ui", "theme", _NAME, "auto", "auto, or the name of a palette"),
    Setting("colors", "ui", "colors", _COLORS, "state", "what the canvas colours tell: " + ", ".join(COLORS)),
    Setting("motion", "ui", "motion", _FLAG, True, "noise moves; false for reduced motion"),
    Setting("history", "ui", "history", _FLAG, True, "keep chats on disk"),
    Setting("pace", "ui", "pace", _PACE, 12.0, "most denoising steps a second to show; 0 for all"),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_BY_ENV = {setting.env: setting for setting in SETTINGS}
# Read elsewhere, or set by click for completion: no settings.
_OTHER_ENV = frozenset({"DGCHAT_DEBUG", "DGCHAT_SERVER_KEY"})


@dataclass(frozen=True)
class Settings:
    """What holds for this run. None leaves the choice to the checkpoint.

    Attributes:
        keys: the user's own keys, by their names in `dgchat.keys.KEYS`.
        sources: for each field the place its value comes from, as `dgchat config` shows it.
        warnings: one sentence for each key or variable that means nothing.
    """

    model: str
    device: str
    precision: str
    context: int | None
    offline: bool
    backend: str
    server: str | None
    insecure_http: bool
    server_timeout: int
    seed: int | None
    max_tokens: int | None
    steps: int | None
    thinking: bool
    watch: bool
    quiet: bool
    system: str | None
    theme: str
    colors: str
    motion: bool
    history: bool
    pace: float
    sources: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load(flags: Mapping[str, Value], environ: Mapping[str, str] | None = None, path: Path | None = None) -> Settings:
    """The settings from all four places.

    Args:
        flags: by field; what was not given on the command line is None or absent.
        environ: by default the process's own.
        path: by default the user's settings file; it need not exist.

    Raises:
        Failure: a file that is not TOML or cannot be read, or a value of the wrong kind (exit code 2).
    """
    environ = os.environ if environ is None else environ
    path = _default_path() if path is None else path
    table = _read(path)
    own_keys, key_warnings = _keys(table.pop("keys", {}), path)
    file_values, file_warnings = _from_file(table, path)
    env_values, env_warnings = _from_environment(environ)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        given = flags.get(setting.field)
        if given is not None and not setting.kind.check(given):
            option = setting.field.replace("_", "-")
            raise Failure(f"--{option} must be {setting.kind.wanted}, not {given!r}.", Exit.USAGE)
        places = (
            (given, "command line"),
            (env_values.get(setting.field), f"environment: {setting.env}"),
            (file_values.get(setting.field), f"file: {clean_line(str(path))}"),
            (setting.default, "default"),
        )
        values[setting.field], sources[setting.field] = next(
            ((value, place) for value, place in places if value is not None), (None, "default")
        )
    return Settings(**values, sources=sources, keys=own_keys, warnings=(*file_warnings, *key_warnings, *env_warnings))


def _default_path() -> Path:
    from dgchat.paths import settings_file

    return settings_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError as error:
        raise Failure(f"The settings file {path} is not UTF-8 text (byte {error.start}).", Exit.USAGE) from error
    except OSError as error:
        raise Failure(f"The settings file {path} cannot be read: {error.strerror}.", Exit.USAGE) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"The settings file {path} is not valid TOML: {error}.", Exit.USAGE) from error


def _from_file(table: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name, value in _flatten(table):
        setting = _BY_NAME.get(name)
        if setting is None:
            warnings.append(_unknown(f"{name!r} in {path}", name, _BY_NAME))
        elif not setting.kind.check(value):
            raise Failure(f"{path}: {name} must be {setting.kind.wanted}, not {value!r}.", Exit.USAGE)
        else:
            values[setting.field] = value
    return values, warnings


def _keys(table: Any, path: Path) -> tuple[dict[str, str], list[str]]:
    """The table `[keys]`: a name of `dgchat.keys.KEYS` for each key or keys.

    Raises:
        Failure: it is no table, or a value names no keys (exit code 2).
    """
    if not isinstance(table, dict):
        raise Failure(f'{path}: keys must be a table, such as [keys] with stop = "f9".', Exit.USAGE)
    own: dict[str, str] = {}
    warnings: list[str] = []
    for name, value in table.items():
        wrong = key_table.check(name, value)
        if wrong is None:
            own[name] = value
        elif name in key_table.KEYS:
            raise Failure(f"{path}: {wrong}", Exit.USAGE)
        else:
            warnings.append(clean_line(f"{path}: {wrong}"))
    return own, [*warnings, *key_table.clashes(own)]


def _flatten(table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Dotted names and their values; tables that stand deeper than one level are left as values."""
    pairs: list[tuple[str, Any]] = []
    for name, value in table.items():
        if isinstance(value, dict) and name not in _BY_NAME:
            pairs += [(f"{name}.{key}", inner) for key, inner in value.items()] or []
        else:
            pairs.append((name, value))
    return pairs


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name in sorted(name for name in environ if name.startswith("DGCHAT_")):
        setting = _BY_ENV.get(name)
        if setting is not None and environ[name] != "":
            values[setting.field] = parse(setting, environ[name], name)
        elif setting is None and name not in _OTHER_ENV:
            warnings.append(_unknown(f"the environment variable {name}", name, _BY_ENV))
    return values, warnings


def parse(setting: Setting, text: str, place: str) -> Any:
    """The value that `text` stands for; `place` names where it was written.

    Raises:
        Failure: it is not of the setting's kind (exit code 2).
    """
    try:
        value = setting.kind.parse(text)
    except ValueError:
        value = None
    if value is None or not setting.kind.check(value):
        raise Failure(f"{place} must be {setting.kind.wanted}, not {text!r}.", Exit.USAGE)
    return value


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    import difflib

    # A key that is right but in the wrong table, or in none, is nearer than any spelling.
    tails = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]]
    near = tails[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return clean_line(f"{what} is no setting" + (hint or "."))


def report(settings: Settings) -> list[tuple[str, str, str, str]]:
    """For every setting, and every key of the user's own: name, value in TOML, where that comes from, what it means."""
    rows = [
        (setting.name, _shown(settings, setting), settings.sources[setting.field], setting.help) for setting in SETTINGS
    ]
    own = [(f"keys.{name}", _toml(keys), "file", key_table.KEYS[name].help) for name, keys in settings.keys.items()]
    return rows + own


def _shown(settings: Settings, setting: Setting) -> str:
    """A value; of a server's address nothing that may be a key, which has no place in it."""
    value = getattr(settings, setting.field)
    hides = setting.field == "server" and value is not None and shown_address(value) != value
    return shown_address(value) if hides else _toml(value)


def _toml(value: Value) -> str:
    import json

    if value is None:
        return "(not set)"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)
