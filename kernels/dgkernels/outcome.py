"""What the head's kernels say of a step. Can be imported without Triton."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Softmax:
    """The softmax of C positions over V words, but for a factor a row: what the next step is conditioned on.

    Attributes:
        weights: [C, V], bfloat16 or float32.
        totals: float32 [C], the sum of each row before it was rounded.
    """

    weights: Tensor
    totals: Tensor

    def set(self, at: Tensor, ids: Tensor) -> None:
        """Makes the rows `at` certain of `ids`, int64 [n] each."""
        self.weights[at] = 0.0
        self.weights[at, ids] = 1.0
        self.totals[at] = 1.0

    def mean(self, embedding: Tensor) -> Tensor:
        """The mean of the embeddings [V, D] under it: float32 [C, D].

        A product of torch's: its libraries split it over the vocabulary, which is all that there is to gain.
        """
        return (self.weights @ embedding).float() / self.totals.unsqueeze(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a step's logits say of each of C positions.

    Attributes:
        argmax: int64 [C].
        sample: int64 [C], a draw of the softmax.
        entropy: float32 [C], nats; NaN where a logit is.
        softmax: of the logits over the temperature.
    """

    argmax: Tensor
    sample: Tensor
    entropy: Tensor
    softmax: Softmax
