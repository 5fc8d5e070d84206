"""The list of models over the chat: another is run, or fetched first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList, ProgressBar, Static

from dgchat.app.chat import ChatApp
from dgchat.app.models_screen import ModelsScreen
from dgchat.machine import probe
from dgchat.settings import load
from dgengine import hub
from dgengine.errors import DownloadError
from dgengine.hub.cache import lock
from tests.hub import SHARDS, Cut, Hub, Slow, connect, tiny_model
from tests.tui.app.play import Player, answers, app_of, ask, ready, say, transcript, until
from tests.tui.fakes import FakeEngine
from tests.tui.machine.machines import gpu, machine


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(ask_torch: bool = True) -> probe.Machine:
        return machine(gpu(24), models=tuple(hub.cached_models()))

    monkeypatch.setattr(probe, "find", find)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as hub:
        connect(monkeypatch, hub, tmp_path / "hub")
        hub.add("nvidia/diffusiongemma-26B-A4B-it-NVFP4", tiny_model(), large=SHARDS)
        yield hub


def models(app: Any) -> ModelsScreen:
    assert isinstance(app.screen, ModelsScreen)
    return app.screen


def rows(app: Any) -> list[str]:
    """The list as it is shown."""
    options = models(app).query_one("#models", OptionList)
    return [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]


def said(app: Any) -> str:
    return str(models(app).query_one("#models-said", Static).content)


def barred(app: Any) -> bool:
    return bool(models(app).query_one("#transfer", ProgressBar).display)


async def opened(pilot: Player) -> None:
    await say(pilot, "/models")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen) and rows(pilot.app))


def row(app: Any, name: str) -> str:
    """The row of a model, or "" where there is none."""
    return next((line for line in rows(app) if line[2:].startswith(f"{name} ")), "")


async def choose(pilot: Player, name: str) -> None:
    """Presses Enter on a model."""
    options = models(pilot.app).query_one("#models", OptionList)
    options.highlighted = options.get_option_index(name)
    await pilot.press("enter")


def app_with(*engines: FakeEngine | BaseException, **flags: Any) -> tuple[ChatApp, list[str]]:
    """An app, whose models are these engines in turn, and the names of those that were loaded."""
    names: list[str] = []
    left = list(engines)

    def load_engine(name: str, **_: object) -> FakeEngine:
        names.append(name)
        engine = left.pop(0)
        if isinstance(engine, BaseException):
            raise engine
        return engine

    return ChatApp(load({"pace": 0.0, "model": "pocket", **flags}, {}), load_engine), names  # type: ignore[arg-type]


def let_go(name: str) -> None:
    """Waits until nobody fetches a model any more."""
    wanted, end = hub.parse(name), time.monotonic() + 60
    assert wanted is not None
    while True:
        try:
            with lock(wanted):
                return
        except DownloadError:
            assert time.monotonic() < end


async def test_models_and_how_they_fit(stand_in: Hub) -> None:
    app = app_of(FakeEngine("Fine."), model="pocket")
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        assert row(app, "pocket").startswith("▸ pocket") and "fits: everywhere" in row(app, "pocket")
        assert "fits: " in row(app, "nvfp4") and "18.8 GB" in row(app, "nvfp4") and not barred(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)


async def test_one_is_fetched_and_run(stand_in: Hub) -> None:
    first, second = FakeEngine("I am one."), FakeEngine("I am two.", name="nvfp4")
    app, names = app_with(first, second)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await ask(pilot, "Who are you?")
        await opened(pilot)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: "nvfp4 is here, whole and checked" in said(app))
        await until(pilot, lambda: " whole " in row(app, "nvfp4"))
        assert not barred(app) and names == ["pocket"]
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: app.screen is app.chat and names == ["pocket", "nvfp4"])
        await ready(pilot)
        await ask(pilot, "And now?")
        assert [answer.text for answer in answers(app)] == ["I am one.", "I am two."]
        (question, before, _) = second.asked[-1]
        assert question["content"] == "Who are you?" and "ids" not in before  # they are another model's tokens
        await opened(pilot)
        assert row(app, "nvfp4").startswith("▸ ")


async def test_a_download_is_stopped_and_goes_on(stand_in: Hub) -> None:
    app = app_of(FakeEngine("Fine."), model="pocket")
    stand_in.troubles[SHARDS[0]] = [Slow(chunk=2_000, pause=0.1)]
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: barred(app) and "Esc stops" in said(app))
        await choose(pilot, "fp8")
        await pilot.pause()
        assert not [asked for asked in stand_in.requests if "FP8" in asked.path]
        await pilot.press("escape")
        await until(pilot, lambda: "stopped; Enter goes on" in said(app))
        assert isinstance(app.screen, ModelsScreen) and not barred(app)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: "nvfp4 is here" in said(app))


async def test_what_fails_is_told_in_a_sentence(stand_in: Hub) -> None:
    stand_in.troubles[SHARDS[0]], stand_in.lasting = [Cut(after=20_000), Cut(after=0)], True
    app = app_of(FakeEngine("Fine."), model="pocket")
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: not barred(app) and "goes on" in said(app))
        await choose(pilot, "bf16")
        await until(pilot, lambda: not barred(app) and "google/diffusiongemma" in said(app))


async def test_offline_nothing_is_fetched(stand_in: Hub) -> None:
    app = app_of(FakeEngine("Fine."), model="pocket", offline=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: "set to be offline" in said(app))
        assert not stand_in.requests


async def test_a_model_that_does_not_load_leaves_the_way_back(stand_in: Hub) -> None:
    from dgengine import CheckpointError

    app, names = app_with(FakeEngine("Fine."), CheckpointError("It is broken."), FakeEngine("Fine again."))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: " whole " in row(app, "nvfp4"))
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: any("It is broken." in text for text in transcript(app)))
        await opened(pilot)
        await choose(pilot, "pocket")
        await until(pilot, lambda: len(names) == 3)
        await ready(pilot)
        await ask(pilot, "Hello")
        assert answers(app)[-1].text == "Fine again."


async def test_the_one_that_answers_is_not_loaded_again(stand_in: Hub, tmp_path: Path) -> None:
    app, names = app_with(FakeEngine("Fine.", name=str(tmp_path)), model=str(tmp_path))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        assert rows(app)[-1].startswith(f"▸ {tmp_path}")  # it is in no cache, and there all the same
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.chat)
        assert names == [str(tmp_path)]


async def test_a_cache_that_may_not_be_read_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(probe, "find", refuse)
    app = app_of(FakeEngine("Fine."), model="pocket")
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await say(pilot, "/models")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and "PermissionError" in said(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)


async def test_leaving_the_app_ends_the_download(stand_in: Hub) -> None:
    stand_in.troubles[SHARDS[0]] = [Slow(chunk=500, pause=0.2)]
    app = app_of(FakeEngine("Fine."), model="pocket")
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await opened(pilot)
        await choose(pilot, "nvfp4")
        await until(pilot, lambda: "Esc stops" in said(app))
        await pilot.press("ctrl+q")
    assert not app.is_running
    let_go("nvfp4")
