"""What a session yields while it answers: frozen, picklable dataclasses with numpy arrays inside, no tensors.

The order of one `Session.generate` call is: `Notice`*, `Prefill`+, then for each block `Step`+ and `Block`,
and at the end exactly one `Done`. An error is raised, never yielded.

The answer is the tokens of the blocks in order; where a block number comes more than once, its last `Block`
holds. A block that is cancelled halfway gives no `Block`.

`Session.infill` denoises several candidates side by side. It yields `Notice`*, `Prefill`+, a `Hole` for each canvas as
it begins, the candidates' `Step`s in turn, a `Block` for each canvas that is finished (a candidate that falls behind
gets none), the `Candidate`s, best first, and `Done`. Canvases are numbered through: a `Step`'s `block` names one canvas
of one candidate, and so do the pins of a `Control`.

C is the canvas length, K is `Sampling.trace_top_k`. Blocks and steps count from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dgengine.stats import Stats

Reason: TypeAlias = Literal["eos", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the reader of the answer should know, in one sentence.

    Attributes:
        text: the sentence.
        kind: what it is about, for programs: "dropped" (the oldest turns of the chat no longer fit, and
            were left out), "busy" (a server is asked again in a while).
        count: how many things it is about ("dropped": messages).
    """

    text: str
    kind: str = "dropped"
    count: int = 0


@dataclass(frozen=True, slots=True)
class Prefill:
    """Progress of the encoder over the part of the prompt that the cache did not hold; starts at `done` 0.

    Attributes:
        done: tokens encoded so far in this pass.
        total: tokens to encode in this pass; 0 when the cache held everything.
        reused: prompt tokens that the cache held already.
        candidate: which candidate of an infill this belongs to; None in a plain answer.
    """

    done: int
    total: int
    reused: int = 0
    candidate: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One denoising step.

    Attributes:
        block: number of the block, from 1.
        step: number of the step within the block, from 1.
        temperature: the temperature of this step.
        seconds: wall-clock time of this step, without the time its consumer took.
        draft: int32 [C], the most probable token at each position: what to draw. At pinned positions the
            pin.
        canvas: int32 [C], the canvas that the next step reads: accepted samples, pins, and fresh noise
            elsewhere.
        entropy: float32 [C], in nats, at the step's temperature; 0 at pinned positions.
        accepted: bool [C], positions whose sample was accepted; False at pinned positions.
        pinned: bool [C].
        top_ids: int32 [C, K], most probable first; None when not traced. At a pinned position the model's
            own view.
        top_probs: float32 [C, K], probabilities at the step's temperature; None when not traced.
        candidate: which candidate of an infill this belongs to; None in a plain answer.
    """

    block: int
    step: int
    temperature: float
    seconds: float
    draft: NDArray[np.int32]
    canvas: NDArray[np.int32]
    entropy: NDArray[np.float32]
    accepted: NDArray[np.bool_]
    pinned: NDArray[np.bool_]
    top_ids: NDArray[np.int32] | None = None
    top_probs: NDArray[np.float32] | None = None
    candidate: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The end of a block.

    With `on_limit="ask"` a block that reached its step limit yields `Block(converged=False, waiting=True)`, and the
    generator then waits for `Control.extend`, `Control.commit` or `Control.cancel`. After an extension the same block
    is yielded again when it ends, and after a commit where pins were set during the wait; else it stands as it was.

    Attributes:
        block: number of the block, from 1.
        tokens: int32 [n], what the block adds to the answer, up to and with the first end-of-sequence id; n
            <= C.
        steps: denoising steps that the block took so far.
        converged: False when the step limit or a commit ended it.
        candidate: which candidate of an infill this belongs to; None in a plain answer.
        waiting: True when the generator will now wait for a decision.
    """

    block: int
    tokens: NDArray[np.int32]
    steps: int
    converged: bool
    candidate: int | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a candidate's canvas is open: everything else on it is pinned. Comes before the canvas' first step.

    Attributes:
        candidate: which candidate the canvas belongs to, from 0.
        block: number of the canvas.
        places: for each span of the request that this canvas rewrites, whole or in part: (number of the span, first
            open position, one past the last). Positions that are kept within a span lie between two such.
    """

    candidate: int
    block: int
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished rewrite.

    Attributes:
        candidate: its number, as in the steps; -1 where it was written freely and spliced in.
        rank: 1 for the best.
        replacements: what takes the place of each span of the request.
        text: the whole document with them; all else in it is as it was.
        joins: whether it passed the gate at the seams.
        score: what it was ranked by, higher is better; to be compared within one request only.
        seam: by how much the new text makes what follows it likelier or less likely than without it, in nats a token.
        fluency: mean log-probability of the new text's tokens, read from left to right, in nats.
        tokens: tokens of the new text.
        steps: denoising steps of its canvases.
        seconds: time that its own canvases took; shared work is shared out.
        method: "pinned" or "splice".
        converged: whether all its canvases settled before the step limit.
    """

    candidate: int
    rank: int
    replacements: tuple[str, ...]
    text: str
    joins: bool
    score: float
    seam: float
    fluency: float
    tokens: int
    steps: int
    seconds: float
    method: Literal["pinned", "splice"]
    converged: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The end of the answer.

    Attributes:
        reason: "eos" (the model ended it), "length" (max_new_tokens reached), "cancelled".
        stats: counts and times of this call.
        candidate: which candidate of an infill this belongs to; None in a plain answer.
    """

    reason: Reason
    stats: Stats
    candidate: int | None = None


Event: TypeAlias = Notice | Prefill | Hole | Step | Block | Candidate | Done
