"""Training sets the processor to take tiny numbers for zero, which is nothing for the tests after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def tiny_numbers() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)
