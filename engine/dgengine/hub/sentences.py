"""What went wrong between here and the hub, in one sentence that says what to do."""

from __future__ import annotations

import errno
import re

from dgengine.errors import DownloadError, EngineError, ModelNotFoundError
from dgengine.errors import first_line as own_words
from dgengine.hub.amounts import duration
from dgengine.hub.catalogue import HubName

_LONGEST_WAIT = 24 * 3600  # seconds; who asks for more is not believed


def http_error() -> type[Exception]:
    """The base of everything that the hub's client raises: httpx's, or since `huggingface_hub` 2 httpx2's."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def status_of(error: Exception) -> int:
    """The HTTP status that the error came with; 0 where there was no answer."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def wait_of(error: Exception) -> int | None:
    """The seconds that the hub asks to wait: of `RateLimit` or `Retry-After`, None where it names none."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    limit = re.search(r"\bt\s*=\s*(\d{1,9})", headers.get("ratelimit", ""))
    text = limit[1] if limit and status_of(error) == 429 else headers.get("retry-after", "").strip()
    return min(int(text), _LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", text) else None


def is_passing(error: Exception) -> bool:
    """Whether trying again may help: the connection was cut, or the hub is busy."""
    return isinstance(error, http_error()) and status_of(error) in (0, 408, 429, 500, 502, 503, 504)


def explain(error: Exception, name: HubName, so_far: str = "") -> EngineError:
    """The sentence for an error of the hub's client, of the network or of the disk.

    Args:
        error: what was raised.
        name: the model.
        so_far: how much is here, such as "7.1 of 18.8 GB"; "" where nothing has been fetched.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HFValidationError):
        return ModelNotFoundError(f"{name.repo!r} can be no model on the hub: check the spelling.")
    if isinstance(error, OfflineModeIsEnabled):
        return DownloadError(f"The model {name.given} cannot be fetched, as HF_HUB_OFFLINE is set: unset it.")
    if isinstance(error, HfHubHTTPError):
        return _refused(error, name)
    if isinstance(error, http_error()):
        return DownloadError(_unreachable(error, name, so_far))
    if isinstance(error, OSError):
        return DownloadError(_disk(error, name))
    return DownloadError(
        f"The hub's answer about {name.given} makes no sense ({first_line(error)}): "
        "check HF_ENDPOINT, and whether the network asks for a login."
    )


def _refused(error: Exception, name: HubName) -> EngineError:
    """The hub has answered, and does not give it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return ModelNotFoundError(
            f"The model {name.repo} asks for its licence to be accepted: do so at {_endpoint()}/{name.repo}, "
            "and log in with `hf auth login`."
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFoundError(
            f"There is no model {name.repo} on the hub, nor a directory of that name: check the spelling, "
            "or log in with `hf auth login` if it is private."
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(f"The model {name.repo} has no revision {name.revision or 'main'!r}.")
    return DownloadError(_status(error, name))


def _status(error: Exception, name: HubName) -> str:
    status = status_of(error)
    if status == 429:
        seconds = wait_of(error)
        patience = f"wait {duration(seconds)}" if seconds else "wait a few minutes"
        return f"The hub has had too many requests from here: {patience}, and run dgchat pull {name.full} again."
    if status in (401, 403):
        return f"The hub does not let you fetch {name.repo} ({status}): log in with `hf auth login`."
    if status >= 500:
        return f"The hub is in trouble ({status}): run dgchat pull {name.full} again in a while."
    return f"The model {name.repo} cannot be fetched: {first_line(error)}"


def _unreachable(error: Exception, name: HubName, so_far: str) -> str:
    why = first_line(error)
    if so_far:
        return f"The connection was lost with {so_far} here ({why}): run dgchat pull {name.full} again, and it goes on."
    return f"The hub ({_endpoint()}) cannot be reached ({why}): check the network and the proxy."


def _disk(error: OSError, name: HubName) -> str:
    from huggingface_hub import constants

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of {constants.HF_HUB_CACHE} is full: make room, and dgchat pull {name.full} goes on, "
            "or set HF_HOME to a folder on another disk."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"The hub's cache {constants.HF_HUB_CACHE} cannot be written ({error.strerror}): "
            "set HF_HOME to a folder of your own."
        )
    return f"The model {name.given} cannot be kept in {constants.HF_HUB_CACHE}: {error.strerror or first_line(error)}."


def first_line(error: Exception) -> str:
    """Of the error's own words, without the number and the full stop."""
    return re.sub(r"^\[(?:Errno|WinError) -?\d+\] ", "", own_words(error).rstrip("."))


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT
