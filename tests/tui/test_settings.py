"""Where settings come from, which one wins, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgchat.exits import Exit, Failure
from dgchat.settings import SETTINGS, Settings, load, report


def settings(path: Path, text: str = "", flags: dict[str, object] | None = None, **environ: str) -> Settings:
    file = path / "settings.toml"
    file.write_text(text, "utf-8")
    return load(flags or {}, environ, file)  # type: ignore[arg-type]


def test_defaults_without_a_file(tmp_path: Path) -> None:
    found = load({}, {}, tmp_path / "missing" / "settings.toml")
    assert (found.model, found.device, found.precision) == ("pocket", "auto", "auto")
    assert (found.watch, found.quiet, found.offline) == (False, False, False)
    assert (found.seed, found.max_tokens, found.steps, found.system) == (None, None, None, None)
    assert set(found.sources.values()) == {"default"}
    assert found.warnings == ()


def test_precedence(tmp_path: Path) -> None:
    text = "[sampling]\nseed = 1\nsteps = 2\nmax_tokens = 3\n[ui]\nwatch = true\n"
    found = settings(tmp_path, text, {"seed": 11, "watch": False}, DGCHAT_SEED="21", DGCHAT_STEPS="22")
    assert (found.seed, found.steps, found.max_tokens, found.watch) == (11, 22, 3, False)
    assert found.sources["seed"] == "command line"
    assert found.sources["steps"] == "environment: DGCHAT_STEPS"
    assert found.sources["max_tokens"] == f"file: {tmp_path / 'settings.toml'}"
    assert found.sources["model"] == "default"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False), ("false", False)])
def test_flags_in_the_environment(tmp_path: Path, text: str, value: bool) -> None:
    assert settings(tmp_path, DGCHAT_WATCH=text).watch is value


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert settings(tmp_path, DGCHAT_SEED="").seed is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[modle]\nname = 'x'\n", "did you mean model.name?"),
        ("[sampling]\nmax_token = 5\n", "did you mean sampling.max_tokens?"),
        ("[ui]\nseed = 5\n", "did you mean sampling.seed?"),
        ("watch = true\n", "did you mean ui.watch?"),
        ("[ui]\nqqqqqqqq = 1\n", "is no setting."),
    ],
)
def test_unknown_keys_warn_with_the_nearest_one(tmp_path: Path, text: str, said: str) -> None:
    (warning,) = settings(tmp_path, text).warnings
    assert warning.endswith(said)
    assert str(tmp_path) in warning


def test_unknown_variables_warn(tmp_path: Path) -> None:
    (warning,) = settings(tmp_path, DGCHAT_SEDE="5", DGCHAT_DEBUG="1").warnings
    assert warning.endswith("did you mean DGCHAT_SEED?")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sampling]\nseed = -1\n", "sampling.seed must be a whole number"),
        ("[sampling]\nseed = true\n", "sampling.seed must be a whole number"),
        ("[sampling]\nsteps = 1.5\n", "sampling.steps must be a whole number"),
        ("[model]\nname = ''\n", "model.name must be a text that is not empty"),
        ("[model]\nprecision = 'int2'\n", "model.precision must be one of"),
        ("[ui]\nwatch = 'yes'\n", "ui.watch must be true or false"),
        ("[ui]\npace = nan\n", "ui.pace must be a number"),
        ("[ui\n", "is not valid TOML: Expected ']' at the end of a table declaration (at line 1"),
    ],
)
def test_wrong_values_are_refused_and_the_file_stays(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Failure, match=r".") as caught:
        settings(tmp_path, text)
    assert said in str(caught.value)
    assert caught.value.code is Exit.USAGE
    assert (tmp_path / "settings.toml").read_text("utf-8") == text


def test_wrong_variables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="DGCHAT_STEPS must be a whole number from 1 to 1000000000, not 'many'"):
        settings(tmp_path, DGCHAT_STEPS="many")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(b"[ui]\n# \xff\n")
    with pytest.raises(Failure, match="not UTF-8"):
        load({}, {}, file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot be read"):
        load({}, {}, tmp_path)


def test_the_report_names_every_setting(tmp_path: Path) -> None:
    rows = report(settings(tmp_path, '[ui]\nsystem = "Say \\"hi\\"."\n'))
    assert [row[0] for row in rows] == [setting.name for setting in SETTINGS]
    values = {row[0]: row[1] for row in rows}
    assert values["ui.system"] == r'"Say \"hi\"."'
    assert values["ui.watch"] == "false"
    assert values["sampling.seed"] == "(not set)"


# ---- the table of keys, and what the app shows


def test_own_keys(tmp_path: Path) -> None:
    found = settings(tmp_path, '[keys]\nstop = "f12"\nwatch = "f12, ctrl+w"\n')
    assert found.keys == {"stop": "f12", "watch": "f12, ctrl+w"}
    assert found.warnings == ("The key f12 is set for stop and watch; the first one has it.",)
    assert settings(tmp_path).keys == {}


def test_a_key_that_is_not_known_warns(tmp_path: Path) -> None:
    found = settings(tmp_path, '[keys]\nstopp = "f9"\n')
    assert found.keys == {} and found.warnings == (
        f"{tmp_path / 'settings.toml'}: keys.stopp is no key; did you mean keys.stop?",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys = 5\n", "keys must be a table"),
        ("[keys]\nstop = 5\n", 'keys.stop must be keys such as "ctrl+s"'),
        ("[keys]\nstop = 'Ctrl + S'\n", 'keys.stop must be keys such as "ctrl+s"'),
        ("[ui]\ncolors = 'red'\n", "ui.colors must be one of state, entropy, age, change"),
        ("[ui]\nmotion = 'no'\n", "ui.motion must be true or false"),
        ("[ui]\nhistory = 0\n", "ui.history must be true or false"),
    ],
)
def test_wrong_values_of_the_app_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Failure) as caught:
        settings(tmp_path, text)
    assert said in str(caught.value) and caught.value.code is Exit.USAGE


def test_what_the_app_shows(tmp_path: Path) -> None:
    default = settings(tmp_path)
    assert (default.colors, default.motion, default.history, default.theme) == ("state", True, True, "auto")
    found = settings(tmp_path, "[ui]\ncolors = 'age'\nmotion = false\n", DGCHAT_HISTORY="off", DGCHAT_COLORS="change")
    assert (found.colors, found.motion, found.history) == ("change", False, False)
