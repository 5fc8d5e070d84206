"""What dgchat says of the engine's errors."""

from __future__ import annotations

import pytest

from dgchat.exits import Exit, of_engine
from dgengine import errors
from dgengine.memory import is_exhausted


class OutOfMemoryError(RuntimeError):
    """Named as torch's own is."""


CUDA = OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.99 GiB of which 1.10 GiB is free."
)
CPU = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes.")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CUDA, ["2.50 GiB more were wanted", "1.10 GiB of 23.99 GiB were free"]),
        (CPU, ["8.0 GiB more were wanted"]),
        (MemoryError(), ["not enough memory for this model or prompt. A shorter chat"]),
    ],
)
def test_memory_that_has_run_out_is_told_in_numbers_with_what_takes_less(error: Exception, said: list[str]) -> None:
    failure = of_engine(error)
    assert is_exhausted(error) and failure is not None and failure.code is Exit.ENGINE
    for words in [*said, "--max-tokens", "--model pocket"]:
        assert words in str(failure)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SamplingError("x"), Exit.USAGE),
        (errors.InsufficientMemoryError("x"), Exit.ENGINE),
        (errors.ModelNotFoundError("x"), Exit.MODEL),
        (errors.ConfigError("x"), Exit.MODEL),
        (errors.PromptTooLongError("x"), Exit.INPUT),
        (errors.NumericsError("x"), Exit.ENGINE),
    ],
)
def test_each_error_of_the_engine_has_its_code(error: errors.EngineError, code: Exit) -> None:
    failure = of_engine(error)
    assert failure is not None and failure.code is code and str(failure) == "x"
    assert not is_exhausted(error)


def test_other_errors_are_not_the_engines() -> None:
    assert of_engine(RuntimeError("out of luck")) is None
