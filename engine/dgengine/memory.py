"""How much memory is free, and what is done when it has run out."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

# What torch's messages hold where memory ran out; only the CUDA allocator has an exception of its own for it.
_CGROUP: Final = Path("/sys/fs/cgroup")  # a container sees its own limits there
_CUDAS_OWN: Final = "OutOfMemoryError"  # by its name: who asks about an error need not import torch for that
_SIGNS: Final = ("out of memory", "DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


# What a context takes at least, commonly; not measured here.
_CONTEXT: Final = 400 * 2**20


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a device, or of the host.

    Attributes:
        free: bytes that nobody uses, or that can be had back at once.
        total: bytes in all.
    """

    free: int
    total: int


def free(device: torch.device) -> Memory:
    """The memory of a device. What torch keeps of this process's freed tensors counts as free.

    On CUDA this makes the process's context there, which plans reckon with: so what it takes counts as free too.
    """
    if device.type != "cuda":
        return host()
    import torch

    unused, total = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return Memory(min(unused + kept + _CONTEXT, total), total)


def host() -> Memory:
    """The host's memory. What holds copies of files, and can be had back, counts as free."""
    import psutil

    found = psutil.virtual_memory()
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit is None or used is None or limit >= found.total:
        return Memory(found.available, found.total)
    return Memory(min(found.available, max(limit - used, 0)), limit)


def _number(path: Path) -> int | None:
    """What a file of a control group says; None where there is none, or no limit ("max")."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory has run out, of the host or of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == _CUDAS_OWN:
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def give_back(error: BaseException, device: torch.device) -> None:
    """Lets go of what the frames that `error` came through hold, and of what torch's allocator keeps for later."""
    traceback.clear_frames(error.__traceback__)
    release(device)


def release(device: torch.device) -> None:
    """Gives back what torch's allocator keeps for later."""
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
