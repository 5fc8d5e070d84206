"""Which engine the settings ask for, and opening it: the one way in which dgchat does that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dgchat.backends import shown_address
from dgchat.exits import Exit, Failure
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgbackends.vllm.address import Server
    from dgengine.engine import Progress

VLLM: Final = "vllm"
_BUILT_IN: Final = "pocket"
_LOCAL: Final = {"device": "--device", "precision": "--precision", "context": "--context"}


@dataclass(frozen=True)
class Plan:
    """What is to be opened.

    Attributes:
        backend: one of `dgbackends.opening.BACKENDS`.
        model: the name of the model; None for the only one that a server has.
        url: of the server, as it was written; None without one.
    """

    backend: str
    model: str | None
    url: str | None = None

    @property
    def label(self) -> str:
        """How the model is called before it is there."""
        return self.model or (shown_address(self.url) if self.url else _BUILT_IN)

    @property
    def is_default(self) -> bool:
        """Whether nobody has chosen anything, and the built-in model answers."""
        return self.backend != VLLM and self.model == _BUILT_IN


def planned(settings: Settings) -> Plan:
    """Which engine, with which model. A server's address implies vllm; what was said more closely wins.

    Raises:
        Failure: the settings do not go together (exit code 2).
    """
    named, url = settings.backend, settings.server
    asks = url is not None and _rank(settings, "server") > _rank(settings, "backend")
    if named == VLLM and url is None:
        raise Failure("The engine vllm is a server: give its address with --server URL.", Exit.USAGE)
    clash = url is not None and named != VLLM and _rank(settings, "server") == _rank(settings, "backend")
    if clash and _rank(settings, "server") > _FILE:
        raise Failure(
            f"--server goes with the engine vllm, not with {named}: leave one of --server and --backend out.",
            Exit.USAGE,
        )
    if named != VLLM and not asks:
        return Plan(named, settings.model)
    _check_for_server(settings)
    chosen = 0 < _rank(settings, "model") >= _rank(settings, "server")
    return Plan(VLLM, settings.model if chosen else None, url)


_FILE: Final = 1


def _rank(settings: Settings, name: str) -> int:
    """How closely a setting was said: 0 for a default, up to 3 for the command line."""
    source = settings.sources.get(name, "default")
    if source == "default":
        return 0
    return _FILE if source.startswith("file") else 2 if source.startswith("environment") else 3


def _check_for_server(settings: Settings) -> None:
    """Refuses what was asked for of this run and means nothing to a server; in the settings file it may stand."""
    for name, option in _LOCAL.items():
        if _rank(settings, name) == 3:
            raise Failure(f"{option} means nothing to a server, which has loaded its model: leave it out.", Exit.USAGE)


def server_of(settings: Settings, url: str) -> Server:
    """The server at an address, with its key.

    Raises:
        Failure: the address cannot be used, or dgchat is to stay offline (exit code 2).
    """
    from dgbackends.vllm.address import Server, normalised
    from dgchat.exits import of_engine
    from dgchat.server_keys import key_for
    from dgengine.errors import EngineError

    try:
        address = normalised(url, settings.insecure_http)
        server = Server(address, key_for(address), float(settings.server_timeout))
    except EngineError as error:
        raise of_engine(error) or Failure(str(error), Exit.USAGE) from None
    if settings.offline and not server.is_here:
        raise Failure(f"The server {address} is on the network, and dgchat is set to be offline.", Exit.USAGE)
    return server


def options_of(settings: Settings, plan: Plan) -> Mapping[str, Any]:
    """What `dgbackends.opening.open_backend` takes beside the model's name."""
    options: dict[str, Any] = {
        "device": settings.device, "precision": settings.precision, "context": settings.context,
        "offline": settings.offline,
    }  # fmt: skip
    if plan.backend != "embedded":
        options["backend"] = plan.backend
    if plan.backend == VLLM and plan.url is not None:
        options["server"] = server_of(settings, plan.url)
    return options


def open_planned(settings: Settings, progress: Progress | None = None) -> Backend:
    """Opens the engine that the settings ask for, with its model.

    Raises:
        Failure: the settings do not go together. EngineError: it cannot be opened.
    """
    from dgbackends.opening import open_backend

    plan = planned(settings)
    return open_backend(plan.model, **options_of(settings, plan), progress=progress)
