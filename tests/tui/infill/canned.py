"""An engine whose rewrites are known beforehand."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from dgengine import Candidate, Done, Event, InfillRequest, Prefill, Sampling
from dgengine.infill.request import splice
from tests.tui.fakes import FakeInfo, fake_stats


class Canned:
    """Gives `rewrites`, best first: what takes the place of each span, or of all of them; one in `alien` joins not.

    Attributes:
        requests: what was asked for.
        error: raised before the candidates come.
    """

    def __init__(self, *rewrites: str | Sequence[str], alien: Sequence[int] = ()) -> None:
        self.info = FakeInfo()
        self.requests: list[tuple[InfillRequest, Sampling | None]] = []
        self.error: BaseException | None = None
        self._rewrites, self._alien = rewrites, alien

    def session(self) -> Canned:
        return self

    def infill(self, request: InfillRequest, sampling: Sampling | None = None) -> Generator[Event, None, None]:
        self.requests.append((request, sampling))
        yield Prefill(0, 9)
        if self.error is not None:
            raise self.error
        for number, rewrite in enumerate(self._rewrites[: request.candidates]):
            new = (rewrite,) * len(request.spans) if isinstance(rewrite, str) else tuple(rewrite)
            yield Candidate(
                number, number + 1, new, splice(request.text, request.spans, new), number not in self._alien,
                -number / 10, float("nan"), -0.4, 3, 6, 0.3, "pinned", True,
            )  # fmt: skip
        yield Done("eos", fake_stats(10, 1, 6))
