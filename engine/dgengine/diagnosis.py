"""What torch, Triton and the C compiler can do here, told as JSON: `python -m dgengine.diagnosis`.

A program of its own, because what it looks at may crash, hang, or take memory of a GPU: whoever wants to know runs it
and reads its answer.
"""

from __future__ import annotations

import json
import sys
import warnings
from types import ModuleType
from typing import Any

from dgengine.errors import first_line
from dgengine.native.compiling import library


def diagnose() -> dict[str, Any]:
    """Looks at torch, at each CUDA device that it sees, at Triton, and at what `dgengine.native` is built with.

    Returns:
        `torch`, `triton`: versions, None where one is missing or broken; `torch_problem`, `triton_problem`: why, None
        where nothing is wrong. `cuda`, `hip`: what torch was built for, None where it was not. `cuda_problem`: why a
        CUDA build of torch sees no device. `devices`: for each its `name`, `total` and `free` in bytes, `capability`
        as "9.0", and `problem`, None where it computes. `native_problem`: why small models are not computed in C on
        the processor, None where they are.
    """
    found: dict[str, Any] = {
        "torch": None, "torch_problem": None, "cuda": None, "hip": None, "cuda_problem": None, "devices": [],
        "triton": None, "triton_problem": None, "native_problem": None,
    }  # fmt: skip
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return found | {"torch_problem": first_line(error)}
    found |= {"torch": str(torch.__version__), "cuda": torch.version.cuda, "hip": torch.version.hip}
    if found["cuda"] or found["hip"]:
        found["cuda_problem"] = _unavailable(torch)
        if found["cuda_problem"] is None:
            found["devices"] = [_device(torch, index) for index in range(torch.cuda.device_count())]
    return found | _triton() | {"native_problem": library()[1]}


def _unavailable(torch: ModuleType) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `init` says the same in an error
        if torch.cuda.is_available():
            return None
        try:
            torch.cuda.init()
        except Exception as error:  # noqa: BLE001 - the finding
            return first_line(error)
    return "torch sees no CUDA device"


def _device(torch: ModuleType, index: int) -> dict[str, Any]:
    own = torch.cuda.get_device_properties(index)
    found = {"name": own.name, "total": own.total_memory, "free": None, "capability": f"{own.major}.{own.minor}"}
    try:
        found["free"] = torch.cuda.mem_get_info(index)[0]
        torch.ones(4, device=f"cuda:{index}").sum().item()  # a build without kernels for this GPU fails here only
    except Exception as error:  # noqa: BLE001 - the finding
        return found | {"problem": first_line(error)}
    return found | {"problem": None}


def _triton() -> dict[str, Any]:
    try:
        import triton
    except ModuleNotFoundError:
        return {"triton": None, "triton_problem": None}
    except Exception as error:  # noqa: BLE001 - the finding
        return {"triton": None, "triton_problem": first_line(error)}
    return {"triton": str(triton.__version__), "triton_problem": None}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(diagnose()) + "\n")
