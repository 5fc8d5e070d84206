"""`Model.encode`, `Model.decode` and the sampler's statistics by the C library: a call each, shared among threads."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from dgengine.native import structures
from dgengine.native.openmp import openmp
from dgengine.native.packing import Packed
from dgkernels.outcome import Outcome, Softmax

_ROWS: Final = 8  # that a thread takes at least
_LINE: Final = 64  # bytes of the processor's cache
_PIECE: Final = 64  # rows for each thread


class Attended(NamedTuple):
    """What a layer sees in a pass: its room in the cache, and the rotary factors of the pass' C tokens.

    Attributes:
        keys: [KV, S, d], whose last rows are those of the pass, to be written.
        values: the same.
        rotary: two of float32 [C, 1, d].
        window: how many positions a token sees that is encoded, its own included; 0 for all before it.
    """

    keys: Tensor
    values: Tensor
    rotary: tuple[Tensor, Tensor]
    window: int


class NativeDenoiser:
    """Computes by the C library. It may be called from any thread, and takes one pass at a time."""

    def __init__(self, library: ctypes.CDLL, packed: Packed) -> None:
        self._library = library
        self._packed = packed
        self._scratch = torch.empty(0, dtype=torch.uint8)
        self._lock = threading.Lock()
        self._openmp = openmp()
        self._alone = False

    def nbytes(self) -> int:
        """Bytes of its weights."""
        return self._packed.nbytes()

    def encode(self, ids: Tensor, attended: Sequence[Attended]) -> None:
        """Writes the keys and values of word ids int64 [C], which see what is before them.

        Args:
            ids: within the vocabulary; at best `piece` of them.
            attended: for each layer.
        """
        self._run(ids, attended, encoding=True)

    def logits(self, canvas: Tensor, attended: Sequence[Attended], softmax: Softmax | None) -> Tensor:
        """Logits float32 [C, V], softcapped, of a canvas int64 [C]; writes its keys and values.

        Args:
            canvas: word ids, which must be within the vocabulary.
            attended: for each layer.
            softmax: of the step before, in float32; None at the first.
        """
        logits = torch.empty(canvas.shape[0], self._packed.model.vocabulary)
        self._run(canvas, attended, softmax=softmax, logits=logits)
        return logits

    @property
    def piece(self) -> int:
        """Tokens that are encoded at a time: with more, what a thread works with leaves its cache."""
        return _PIECE * torch.get_num_threads()

    def _run(
        self,
        ids: Tensor,
        attended: Sequence[Attended],
        encoding: bool = False,
        softmax: Softmax | None = None,
        logits: Tensor | None = None,
    ) -> None:
        ids = ids.contiguous()
        count, threads = ids.shape[0], self._threads(ids.shape[0])
        seen = max(own.keys.shape[1] for own in attended)
        run = structures.Pass(
            team=self._team(threads),
            model=ctypes.pointer(self._packed.model),
            places=(structures.Place * len(attended))(*map(_place, attended)),
            ids=ids.data_ptr(),
            count=count,
            encoding=encoding,
            shares=None if softmax is None else softmax.weights.data_ptr(),
            totals=None if softmax is None else softmax.totals.data_ptr(),
            logits=None if logits is None else logits.data_ptr(),
        )
        with self._lock:
            run.scratch = self._room(threads * self._library.dg_scratch(self._packed.model, count, seen, threads))
            self._call(self._library.dg_pass, run)

    def look(self, logits: Tensor, temperature: float, uniforms: Tensor) -> Outcome:
        """What logits float32 [C, V] say; they are divided by `temperature` in place.

        Args:
            uniforms: float64 [C], from 0 to below 1: where in the distribution functions the sample is drawn.
        """
        count, words = logits.shape
        argmax, sample = torch.empty(2, count, dtype=torch.int64)
        entropy, totals = torch.empty(2, count)
        shares = torch.empty(count, words)
        run = structures.Statistics(
            team=self._team(self._threads(count)),
            logits=logits.data_ptr(),
            count=count,
            words=words,
            temperature=temperature,
            uniforms=uniforms.data_ptr(),
            argmax=argmax.data_ptr(),
            sample=sample.data_ptr(),
            entropy=entropy.data_ptr(),
            shares=shares.data_ptr(),
            totals=totals.data_ptr(),
        )
        self._call(self._library.dg_look, run)
        return Outcome(argmax, sample, entropy, Softmax(shares, totals))

    def _threads(self, rows: int) -> int:
        wanted = torch.get_num_threads() if self._openmp is not None and not self._alone else 1
        return max(1, min(wanted, rows // _ROWS))

    def _team(self, threads: int) -> structures.Team:
        if self._openmp is None or threads == 1:
            return structures.Team(threads=1)
        return structures.Team(parallel=self._openmp.parallel, size=self._openmp.size, threads=threads)

    def _call(self, function: Callable[[Any], int], run: structures.Pass | structures.Statistics) -> None:
        if function(ctypes.byref(run)) != 0:  # the system gives fewer threads than torch counts on
            self._alone = True
            run.team = self._team(1)
            function(ctypes.byref(run))

    def _room(self, nbytes: int) -> int:
        if self._scratch.shape[0] < nbytes + _LINE:
            self._scratch = torch.empty(nbytes + _LINE, dtype=torch.uint8)
        return (self._scratch.data_ptr() + _LINE - 1) // _LINE * _LINE


def _place(own: Attended) -> structures.Place:
    cosine, sine = own.rotary
    return structures.Place(
        own.keys.data_ptr(), own.values.data_ptr(), own.keys.stride(0), own.keys.shape[1], own.window,
        cosine.data_ptr(), sine.data_ptr(),
    )  # fmt: skip
