"""A function that calls back, as a generator."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from dgbackends.inversion import Abandoned, Emit, generated


def test_items_come_one_by_one_and_never_ahead() -> None:
    made: list[int] = []

    def produce(emit: Emit[int]) -> None:
        for number in range(3):
            made.append(number)
            emit(number)
        made.append(99)

    run = generated(produce)
    assert made == []
    assert next(run) == 0 and made == [0]
    assert next(run) == 1 and made == [0, 1]
    assert list(run) == [2] and made == [0, 1, 2, 99]
    assert list(run) == []


def test_what_is_raised_inside_is_raised_outside() -> None:
    def produce(emit: Emit[int]) -> None:
        emit(1)
        raise LookupError("lost")

    run = generated(produce)
    assert next(run) == 1
    with pytest.raises(LookupError, match="lost"):
        next(run)


def test_closing_lets_it_clean_up_and_waits_for_it() -> None:
    seen: list[str] = []

    def produce(emit: Emit[int]) -> None:
        try:
            emit(1)
        except Abandoned:
            seen.append("abandoned")
            raise
        finally:
            seen.append("cleaned up")

    before = threading.active_count()
    run = generated(produce)
    next(run)
    run.close()
    assert seen == ["abandoned", "cleaned up"]
    assert threading.active_count() == before


def test_one_that_is_never_asked_does_nothing() -> None:
    def produce(emit: Emit[int]) -> None:
        emit(1)

    before = threading.active_count()
    generated(produce).close()
    assert threading.active_count() == before


@pytest.mark.parametrize("name", ["transformers", "mlx"])
def test_an_engine_is_imported_only_when_it_loads(name: str) -> None:
    code = (
        f"import sys, dgbackends.{name}\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'mlx', 'mlx_vlm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
