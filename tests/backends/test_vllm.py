"""A server over HTTP, against the stand-in: it is an engine like the others, as far as it goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dgbackends.protocol import Backend
from dgbackends.vllm import load
from dgbackends.vllm.address import Server
from dgengine.engine import Engine
from tests.backends.conformance import Conformance
from tests.backends.vllm_server import StandIn


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with StandIn(Engine.load("pocket", device="cpu")) as server:
        yield server


@pytest.fixture(scope="module")
def backend(stand_in: StandIn) -> Backend:
    return load(None, Server(stand_in.url))


class TestServer(Conformance):
    pass
