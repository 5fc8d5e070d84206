"""One way to open any engine. Imports none of them before it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast

from dgengine.errors import DeviceError

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgbackends.vllm.address import Server
    from dgengine.engine import Progress

BACKENDS: Final = ("embedded", "transformers", "vllm", "mlx")
EMBEDDED: Final = BACKENDS[0]


def open_backend(
    name: str | None,
    *,
    backend: str = EMBEDDED,
    device: str = "auto",
    precision: str = "auto",
    context: int | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    server: Server | None = None,
) -> Backend:
    """Opens an engine with a model.

    Args:
        name: of the model, as `dgengine.Engine.load` takes it, or as the server serves it; None for the built-in one,
            or the only one that the server has.
        backend: one of `BACKENDS`.
        device, precision, context, offline: as `dgengine.Engine.load` takes them; a server takes none of them.
        progress: told how far it is.
        server: where vLLM is to be asked; for "vllm" only.

    Raises:
        EngineError: it cannot be opened; the sentence says what to do.
    """
    if backend == "vllm":
        from dgbackends.errors import ServerAddressError
        from dgbackends.vllm import load as ask

        if server is None:
            raise ServerAddressError("The engine vllm is a server: give its address with --server URL.")
        return ask(name, server, progress)
    if server is not None:
        raise DeviceError(f"A server is asked by the engine vllm, not by {backend}.")
    if backend == EMBEDDED:
        import dgengine
        from dgengine.engine import BUILT_IN

        return dgengine.Engine.load(
            name or BUILT_IN, device=device, precision=precision, context=context, offline=offline, progress=progress
        )
    if backend not in BACKENDS:
        raise DeviceError(f"There is no engine {backend!r}: give one of {', '.join(BACKENDS)}.")
    module = importlib.import_module(f"dgbackends.{backend}")
    opened = module.load(
        name or "pocket", device=device, precision=precision, context=context, offline=offline, progress=progress
    )
    return cast("Backend", opened)
