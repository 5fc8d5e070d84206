"""How much memory is free, and which errors say that there is none."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from dgengine import memory

CPU = torch.device("cpu")


def test_the_hosts_memory_is_that_of_the_cpu() -> None:
    found = memory.free(CPU)
    assert 2**20 < found.free <= found.total
    assert found.total == memory.host().total


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        ("max", "5", None),
        ("1000", "400", (600, 1000)),
        ("1000", "2000", (0, 1000)),
        ("", "", None),
        (str(2**60), "5", None),
    ],
)
def test_a_container_has_less(
    limit: str, used: str, expected: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = memory.host()
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    found = memory.host()
    assert (found.free, found.total) == expected if expected else found.total >= whole.total


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_which_errors_say_that_memory_has_run_out(error: BaseException, expected: bool) -> None:
    assert memory.is_exhausted(error) == expected


def test_torch_on_a_cpu_says_so_in_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.is_exhausted(caught.value)


def test_what_a_failed_call_held_is_let_go_of_at_once() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def fail() -> None:
        tensor = torch.zeros(10)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError

    try:
        fail()
    except torch.OutOfMemoryError as error:
        gc.collect()
        assert held[0]() is not None
        memory.give_back(error, CPU)
        assert held[0]() is None


@pytest.mark.gpu
def test_on_a_gpu_what_torch_keeps_counts_as_free() -> None:
    device = torch.device("cuda")
    before = memory.free(device)
    kept = torch.zeros(2**28, dtype=torch.uint8, device=device)
    assert memory.free(device).free <= before.free - 2**27
    del kept
    assert abs(memory.free(device).free - before.free) <= 2**26
    memory.release(device)
    assert before.total == memory.free(device).total
