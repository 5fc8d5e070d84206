"""What a shell is offered."""

from __future__ import annotations

import pytest

from dgchat import cli
from dgchat.cli.subcommands import SUBCOMMANDS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert cli.run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "_DGCHAT_COMPLETE" in out and f"{shell}_complete" in out


def offered_for(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> set[str]:
    monkeypatch.setenv("_DGCHAT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        cli.run([])
    return {line.split(",")[1] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dgchat comp", {"completion"}),
        ("dgchat completion ", {"bash", "zsh", "fish"}),
        ("dgchat help set", {"settings"}),
        ("dgchat --max", {"--max-tokens"}),
        ("dgchat ben", {"bench"}),
        ("dgchat bench --re", {"--repeat", "--revision"}),
        ("dgchat --thi", {"--thinking"}),
        ("dgchat --no-thi", {"--no-thinking"}),
        ("dgchat --precision b", {"bfloat16"}),
        ("dgchat --model po", {"pocket", "po"}),
    ],
)
def test_completion_knows_the_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, offered: set[str]
) -> None:
    assert offered_for(words, monkeypatch, capsys) == offered


def test_every_subcommand_is_offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert offered_for("dgchat ", monkeypatch, capsys) == set(SUBCOMMANDS)
