"""Keys of servers: from the environment, or from the keyring of the operating system. Nothing else ever holds one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dgchat.exits import Exit, Failure

if TYPE_CHECKING:
    from types import ModuleType

    from dgbackends.vllm.address import Secret

VARIABLE: Final = "DGCHAT_SERVER_KEY"
_SERVICE: Final = "dgchat"
_INDEX: Final = "servers"  # the keyring cannot list what it holds, so one entry of it lists the servers
_NO_KEYRING: Final = (
    f"This machine has no keyring that dgchat can use: put the key into the environment variable {VARIABLE}."
)


def key_for(url: str) -> Secret | None:
    """The key for a server's normalised URL: that of the environment, else that of the keyring; None for none.

    A machine without a keyring has no keys in it.
    """
    from dgbackends.vllm.address import Secret

    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        try:
            text = _keyring().get_password(_SERVICE, url) or ""
        except Exception:  # noqa: BLE001 - a keyring may fail as it likes: locked, no bus, no back end
            return None
    return Secret(text) if text.strip() else None


def check() -> None:
    """Raises Failure where there is no keyring, before anybody is asked for a key (exit code 1)."""
    _opened()


def keep(url: str, text: str) -> None:
    """Keeps a key.

    Raises:
        Failure: there is no keyring, or it does not take the key (exit code 1).
    """
    _change(url, lambda ring: ring.set_password(_SERVICE, url, text), {*kept(), url})


def remove(url: str) -> bool:
    """Removes a key; False where there was none.

    Raises:
        Failure: there is no keyring, or it does not let go of the key (exit code 1).
    """
    ring = _opened()
    try:
        there = ring.get_password(_SERVICE, url) is not None
    except Exception as error:  # noqa: BLE001
        raise _failed(error) from None
    if there:
        _change(url, lambda ring: ring.delete_password(_SERVICE, url), {*kept()} - {url})
    return there


def kept() -> list[str]:
    """The URLs of the servers whose keys are kept.

    Raises:
        Failure: there is no keyring (exit code 1).
    """
    try:
        listed = _opened().get_password(_SERVICE, _INDEX) or ""
    except Failure:
        raise
    except Exception as error:  # noqa: BLE001
        raise _failed(error) from None
    return sorted(filter(None, listed.split("\n")))


def _change(url: str, change: Callable[[ModuleType], object], listed: set[str]) -> None:
    ring = _opened()
    try:
        change(ring)
        ring.set_password(_SERVICE, _INDEX, "\n".join(sorted(listed)))
    except Exception as error:  # noqa: BLE001
        raise _failed(error) from None


def _opened() -> ModuleType:
    """The keyring.

    Raises:
        Failure: there is none (exit code 1).
    """
    try:
        ring = _keyring()
        usable = float(getattr(ring.get_keyring(), "priority", 0)) > 0
    except Exception as error:  # noqa: BLE001 - such as a back end that is named and not there
        raise _failed(error) from None
    if not usable:
        raise Failure(_NO_KEYRING, Exit.ENGINE)
    return ring


def _keyring() -> ModuleType:
    import keyring

    return keyring


def _failed(error: Exception) -> Failure:
    """Without the error's own words: a back end may repeat what it was to keep."""
    return Failure(
        f"The keyring of this machine failed ({type(error).__name__}): unlock it, or put the key into the environment "
        f"variable {VARIABLE}.",
        Exit.ENGINE,
    )
