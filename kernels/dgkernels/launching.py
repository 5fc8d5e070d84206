"""Where kernels are launched."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch

_Others = ParamSpec("_Others")
_Result = TypeVar("_Result")


def on_device_of_first(
    function: Callable[Concatenate[torch.Tensor, _Others], _Result],
) -> Callable[Concatenate[torch.Tensor, _Others], _Result]:
    """Runs a function with the device of its first argument, a tensor, as the current one: Triton launches there."""

    @wraps(function)
    def there(first: torch.Tensor, /, *args: _Others.args, **options: _Others.kwargs) -> _Result:
        with torch.cuda.device_of(first):
            return function(first, *args, **options)

    return there
