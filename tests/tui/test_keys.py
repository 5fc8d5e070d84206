"""The table of keys: what stands in it, and what the user may change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.keys import Keys

from dgchat.app.bindings import bind
from dgchat.keys import KEYS, check, clashes, keys_of, shown


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_well_formed(name: str) -> None:
    key = KEYS[name]
    assert check(name, key.keys) is None
    assert key.help and key.help[0].islower() and not key.help.endswith(".")
    assert key.group and key.group.islower()
    assert (binding := bind(name)).id == name and binding.show is bool(key.label)


def test_the_default_keys_do_one_thing_each() -> None:
    assert clashes({}) == []


def test_ctrl_c_and_the_keys_of_the_terminal_are_left_alone() -> None:
    taken = {key for name in KEYS for key in keys_of(name, {}) if KEYS[name].group != "editor"}
    assert not taken & {Keys.ControlC.value, "ctrl+z", "ctrl+s", "ctrl+backslash"}


def test_the_editor_has_the_keys_of_editors() -> None:
    names = {key: name for name in KEYS for key in keys_of(name, {}) if KEYS[name].group == "editor"}
    assert [names.get(key) for key in ("ctrl+s", "ctrl+z", "ctrl+y", "ctrl+f")] == ["save", "undo", "redo", "find"]
    assert Keys.ControlC.value not in names


def test_a_key_may_mean_one_thing_in_the_text_and_another_among_candidates() -> None:
    assert clashes({"retry": "ctrl+s"}) == []
    assert clashes({"retry": "enter"}) == ["The key enter is set for accept and retry; the first one has it."]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("stop", "f9", None),
        ("stop", "ctrl+shift+f9, alt+x", None),
        ("stop", "F9", "keys.stop must be keys such as"),
        ("stop", "", "keys.stop must be keys such as"),
        ("stop", "ctrl+", "keys.stop must be keys such as"),
        ("stop", "f9,,f10", "keys.stop must be keys such as"),
        ("stop", 9, "keys.stop must be keys such as"),
        ("stop", ["f9"], "keys.stop must be keys such as"),
        ("stopp", "f9", "keys.stopp is no key; did you mean keys.stop?"),
        ("qqqqqq", "f9", "keys.qqqqqq is no key."),
    ],
)
def test_what_is_wrong_with_a_key_is_told(name: str, value: Any, said: str | None) -> None:
    found = check(name, value)
    assert found == said if found is None or said is None else found.startswith(said)


def test_own_keys_win_and_clashes_are_told() -> None:
    own = {"watch": "f11 , f10", "panel": "f11"}
    assert keys_of("watch", own) == ["f11", "f10"] and keys_of("mode", own) == ["f3"]
    assert clashes(own) == ["The key f11 is set for watch and panel; the first one has it."]


@pytest.mark.parametrize(
    ("keys", "text"),
    [("ctrl+j,f5", "Ctrl+J, F5"), ("escape", "Esc"), ("alt+left", "Alt+Left"), ("pageup, pagedown", "PgUp, PgDn")],
)
def test_keys_as_people_read_them(keys: str, text: str) -> None:
    assert shown(keys) == text


@given(st.one_of(st.text(), st.integers(), st.none(), st.text(st.sampled_from("ctrl+f1,x ")), st.lists(st.text())))
def test_any_value_is_taken_or_told(value: Any) -> None:
    said = check("stop", value)
    if said is None:
        assert all(keys_of("stop", {"stop": value})) and shown(value)
    else:
        assert said.startswith("keys.stop must be keys such as")
