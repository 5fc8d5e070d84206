"""The softmax of a step's logits as the kernels leave it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Softmax:
    """The softmax of C positions over V words, but for a factor a row: what the next step is conditioned on.

    Attributes:
        weights: bfloat16 [C, V].
        totals: float32 [C], the sum of each row before it was rounded.
    """

    weights: Tensor
    totals: Tensor

    def set(self, at: Tensor, ids: Tensor) -> None:
        """Makes the rows `at` certain of `ids`, int64 [n] each."""
        self.weights[at] = 0.0
        self.weights[at, ids] = 1.0
        self.totals[at] = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a step's logits say of each position, where kernels have looked at them.

    Attributes:
        argmax: int64 [C].
        sample: int64 [C], one draw of each position's softmax.
        entropy: float32 [C], nats; NaN where a logit is.
        softmax: of the logits over the temperature.
    """

    argmax: Tensor
    sample: Tensor
    entropy: Tensor
    softmax: Softmax
