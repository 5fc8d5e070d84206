"""What the tests of graphs put in the place of kernels and of a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.control import Control
from dgengine.engine import built_in_path, read_generation_config
from dgengine.events import Event, Step
from dgengine.graphs.capture import StepGraphs
from dgengine.graphs.queue import HostQueue, Landed, StepQueue, Ticket
from dgengine.model import Model
from dgengine.sampling import Sampling
from dgengine.session import Session
from dgkernels.outcome import Outcome, Softmax
from tests.engine.tiny import tiny_checkpoint


class TorchHead:
    """A `KernelHead` of torch's operations, with all that its contract says."""

    lowest_temperature = 0.3

    def __init__(self, embedding: Tensor, softcap: float) -> None:
        self._embedding, self._softcap = embedding, softcap
        self.poison: dict[int, float] = {}
        self.calls = 0

    def __call__(
        self, hidden: Tensor, temperature: float | Tensor, uniforms: Tensor, into: Softmax | None = None
    ) -> Outcome:
        if not isinstance(temperature, Tensor):
            temperature = torch.full((1,), temperature)
        self.calls += 1
        logits = F.linear(hidden, self._embedding).float().tanh() * (torch.full((1,), self._softcap) / temperature)
        if self.calls in self.poison:
            logits[1, 2] = self.poison[self.calls]
        peak, argmax = logits.max(-1, keepdim=True)
        shifted = logits - peak
        weights = shifted.exp()
        totals = weights.sum(-1)
        entropy = totals.log() - (weights * shifted).sum(-1) / totals
        running = weights.double().cumsum(-1)
        sample = torch.searchsorted(running, uniforms[:, :1].double() * running[:, -1:], right=True).squeeze(-1)
        sample.clamp_(max=logits.shape[-1] - 1)
        softmax = Softmax(weights.bfloat16(), totals)
        if into is not None:
            into.weights.copy_(softmax.weights)
            into.totals.copy_(totals)
            softmax = into
        return Outcome(argmax.squeeze(-1), sample, entropy, softmax)


class LazyQueue:
    """A `StepQueue` that does nothing until it is waited for: what a device may do at the latest.

    Attributes:
        log: what happened, in order: ("submit", n), ("run", n), ("land", n), n from 1.
        most: tickets that were open at a time.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.most = 0
        self._waiting: deque[tuple[int, Callable[[], None], Tensor]] = deque()
        self._records: dict[int, Tensor] = {}
        self._submitted = 0

    def submit(self, work: Callable[[], None], record: Tensor) -> Ticket:
        self._submitted += 1
        self.log.append(("submit", self._submitted))
        self._waiting.append((self._submitted, work, record))
        self.most = max(self.most, len(self._waiting))
        return _Lazy(self, self._submitted)

    def land(self, number: int) -> Landed:
        while number not in self._records:
            self._run()
        self.log.append(("land", number))
        return Landed(self._records.pop(number).numpy(), 0.0)

    def drain(self) -> None:
        """Does all that was submitted."""
        while self._waiting:
            self._run()

    def _run(self) -> None:
        number, work, record = self._waiting.popleft()
        self.log.append(("run", number))
        work()
        self._records[number] = record.clone()


class _Lazy:
    def __init__(self, queue: LazyQueue, number: int) -> None:
        self._queue, self._number = queue, number

    def wait(self) -> Landed:
        return self._queue.land(self._number)


def with_head(model: Model) -> Model:
    """The same model with a head."""
    head: Any = TorchHead(model.embedding, model.config.final_logit_softcapping)
    model.kernel_head = head
    return model


def tiny_model(spec: str) -> Model:
    return with_head(load_model(tiny_checkpoint(spec), dtype=torch.bfloat16))


def pocket() -> Model:
    return with_head(load_model(built_in_path(), dtype=torch.bfloat16))


def head_of(model: Model) -> TorchHead:
    head: Any = model.kernel_head
    assert isinstance(head, TorchHead)
    return head


def session(model: Model, late: bool, queue: StepQueue | None = None) -> Session:
    """A session that takes steps one by one, or has them run ahead."""
    graphs = StepGraphs(model, queue or HostQueue(), captured=False) if late else None
    return Session(model, read_generation_config(built_in_path()), graphs=graphs)


def ask(
    own: Session,
    ids: list[int],
    sampling: Sampling,
    control: Control | None = None,
    after: dict[int, Callable[[Control], None]] | None = None,
) -> list[Event]:
    """The events of an answer; what is `after` the step of a number is done when that has come."""
    control = control or Control()
    events, number = [], 0
    for event in own.generate(ids, sampling, control):
        events.append(event)
        if isinstance(event, Step):
            number += 1
            if after and number in after:
                after[number](control)
    return events


def told(events: Sequence[Event]) -> list[Any]:
    """All that events say but their times, as plain lists."""
    return [
        (type(event).__name__, [_plain(getattr(event, name)) for name in event.__slots__ if name not in _TIMES])
        for event in events
    ]


_TIMES = ("seconds", "stats", "entropy")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
