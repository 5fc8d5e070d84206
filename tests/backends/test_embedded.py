"""The embedded engine is the first of the engines."""

from __future__ import annotations

import pytest

from dgbackends.protocol import Backend
from dgengine.engine import Engine
from tests.backends.conformance import Conformance


@pytest.fixture(scope="module")
def backend() -> Backend:
    return Engine.load("pocket", device="cpu")


class TestEmbedded(Conformance):
    pass
