"""DiffusionGemma: one stack of layers that encodes committed tokens and denoises a canvas.

The computation is that of transformers' `modeling_diffusion_gemma`; the names of the steps are the same. D is the
hidden size, V the vocabulary, C the canvas length. The layers are those of `dgengine.stack`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.attention import Visibility, causal, everything, within
from dgengine.cache import KVCache
from dgengine.config import LayerKind, ModelConfig
from dgengine.frame import CanvasAttention, Frame, attend_masked
from dgengine.kernels.experts import KernelExperts
from dgengine.kernels.vocabulary import KernelHead
from dgengine.native.passes import NativePasses
from dgengine.norm import rms_norm, softcap
from dgengine.quantized.base import Form
from dgengine.quantized.matrices import QuantizedExperts
from dgengine.rope import RotaryTable
from dgengine.sampler import Look
from dgengine.stack import Span, Stack
from dgengine.weights import Conditioning, SeparateBranches, Weights, expected_shapes
from dgkernels.outcome import Outcome, Softmax

# A roll-back of up to this many tokens never has to encode again (KVCache).
_SLACK = {"cpu": 8192}
_DEFAULT_SLACK = 512

# Long inputs go through in chunks, so that a chunk's attention mask stays below this many elements.
_MASK_ELEMENTS = 2**24
_CHUNK = 1024
_SMALLEST_CHUNK = 64
# On a GPU, kernels are compiled and chosen by the number of tokens. On a CPU, padding would only take time.
_LENGTHS = {"cuda": (64, 128, 256, 512, _CHUNK)}
_SCORED_LOGITS = 2**24  # rows times vocabulary that scoring holds at once


class Model:
    """The text model of one checkpoint, on one device. Made by `dgengine.checkpoint.load_model`.

    It holds no state between calls but tables, and may serve several caches, one call at a time.

    Attributes:
        config: the dimensions.
        device: where weights and caches are.
        dtype: of weights, activations and caches.
        residual_dtype: of what layers add to.
        kernel_note: what is not computed by kernels and why, in a few words; None where all that can be is,
            or where nobody wanted that.
        kernel_head: takes the place of the logits in `denoise`; None where torch computes them.
        native: takes the place of torch in `encode` and `decode`, on a CPU; None where there is none.
        native_note: why there is none, in a few words; None where there is, or it was not tried.
        stack: the layers.
        rotary: the rotary factors of each layer.
        embedding_scale: what embeddings are multiplied with: sqrt(D), in the precision of the weights.
        canvas_attention: the attention of `denoise`.
        encoded_lengths: numbers of tokens, ascending, that `encode` fills its passes up to.
    """

    kernel_note: str | None = None
    kernel_head: KernelHead | None = None
    native: NativePasses | None = None
    native_note: str | None = None

    def __init__(self, config: ModelConfig, weights: Weights, streamed: Sequence[int] = ()) -> None:
        """Takes over `weights`; the experts of the layers `streamed` are in the host's memory.

        Raises:
            CheckpointError: these are not stored alike.
        """
        self.config = config
        self.canvas_attention: CanvasAttention = attend_masked
        self.device = weights.embedding.device
        self.encoded_lengths: tuple[int, ...] = _LENGTHS.get(self.device.type, ())
        self.dtype = weights.embedding.dtype
        # On a CPU the residual stays in float32: conversions to and fro would cost more than its size.
        self.residual_dtype = torch.float32 if self.device.type == "cpu" else self.dtype
        self._weights = weights
        self.stack = Stack(config, weights.layers, self.device, self.dtype, streamed)
        # the division of the softcap is done here, once
        self._head_norm = weights.norm.float() / config.final_logit_softcapping
        # sqrt(D), rounded to the weights' dtype as the reference does
        self.embedding_scale = float(torch.tensor(config.hidden_size**0.5).to(self.dtype))
        tables = {layer: RotaryTable(config.rope(layer.kind), layer.head_dim, self.device) for layer in config.layers}
        self.rotary = [tables[layer] for layer in config.layers]

    def new_cache(self, slack: int | None = None) -> KVCache:
        """An empty cache.

        Args:
            slack: tokens that sliding layers keep beyond their window, for roll-backs; None chooses by device.
        """
        if slack is None:
            slack = _SLACK.get(self.device.type, _DEFAULT_SLACK)
        return KVCache(self.config, self.device, self.dtype, slack)

    def weight_bytes(self) -> int:
        """Bytes of the weights on the device as held, fused and converted; buffers for streamed experts included, and
        what `native` has of them in its own form."""
        held, stream = sum(tensor.nbytes for tensor in self._weights.tensors()), self.stack.stream
        held += 0 if self.native is None else self.native.nbytes()
        return held if stream is None else held - stream.host_bytes() + stream.buffer_bytes()

    def host_bytes(self) -> int:
        """Bytes of the experts that stay in the host's memory and are streamed to the device."""
        return 0 if self.stack.stream is None else self.stack.stream.host_bytes()

    @property
    def embedding(self) -> Tensor:
        """[V, D], the head's matrix too."""
        return self._weights.embedding

    @property
    def look(self) -> Look | None:
        """What takes the place of the sampler's statistics, and gives softmaxes that `decode` takes; None for them."""
        return None if self.native is None else self.native.look

    @property
    def expert_form(self) -> Form | None:
        """How the experts are coded; None where they are plain. Layers that differ go by the first."""
        branches = self._weights.layers[0].branches
        experts = branches.experts_gate_up if isinstance(branches, SeparateBranches) else None
        if isinstance(experts, KernelExperts):
            return experts.form
        return experts.stack.form if isinstance(experts, QuantizedExperts) else None

    @property
    def uses_kernels(self) -> bool:
        """Whether the experts of some layer are computed by kernels."""
        branches = [own for layer in self._weights.layers if isinstance(own := layer.branches, SeparateBranches)]
        return any(isinstance(own.experts_down, KernelExperts) for own in branches)

    @property
    def has_fixed_shapes(self) -> bool:
        """Whether the shapes within a step are the same whichever experts are chosen."""
        return not any(
            isinstance(own := layer.branches, SeparateBranches) and not isinstance(own.experts_down, KernelExperts)
            for layer in self._weights.layers
        )

    def parameter_count(self) -> int:
        """Parameters of the text model as the checkpoint counts them, the tied head once."""
        return sum(torch.Size(shape).numel() for shape in expected_shapes(self.config).values())

    @torch.inference_mode()
    def encode(self, ids: Tensor, cache: KVCache) -> None:
        """Reads `ids` int64 [T] causally after what the cache holds, and commits their keys and values.

        In one piece or in several, the result is the same. The last layer computes K and V only.

        Raises:
            ValueError: `ids` is not int64 of one dimension.
        """
        _expect_ids(ids, 1)
        if self.native is not None:
            self.native.encode(ids, cache)
            return
        for piece in self._pieces(ids.to(self.device), cache.length):
            padded = self._padded(piece)
            cache.reserve(padded.shape[0])
            span = self._span(cache.length, padded.shape[0], cache.length, causal)
            self._commit_piece(piece, self._embed(padded).to(self.residual_dtype), span, cache)

    @torch.inference_mode()
    def encode_image(self, ids: Tensor, embedded: Tensor, cache: KVCache, both_ways: bool = True) -> None:
        """Reads an image after what the cache holds, and commits its keys and values: all of it in one pass.

        Args:
            ids: its tokens, int64 [T].
            embedded: its soft tokens [T, D], which take the place of the embeddings of `ids`, and are not scaled.
            cache: as in `encode`.
            both_ways: whether its tokens see each other both ways, or only those before.

        Raises:
            ValueError: `ids` is not int64 of one dimension.
        """
        _expect_ids(ids, 1)
        cache.reserve(ids.shape[0])
        span = self._span(cache.length, ids.shape[0], cache.length, within if both_ways else causal)
        # a copy: layers change it in place
        self._commit_piece(ids.to(self.device), embedded.to(self.residual_dtype, copy=True), span, cache)

    @torch.no_grad()
    def decode(self, canvas: Tensor, cache: KVCache, self_conditioning: Tensor | Softmax | None = None) -> Tensor:
        """One denoising pass of the canvas that follows what the cache holds.

        The cache's contents do not change; its scratch room does. All canvases of a batch follow the same tokens.

        Args:
            canvas: token ids, int64 [C] or [B, C]; C need not be the configuration's canvas length.
            cache: the committed tokens; may be empty.
            self_conditioning: the previous step's logits over its temperature, [C, V] or [B, C, V]; None at the first
                step. They are rounded to the model's dtype first, as the reference does. Or their softmax, of one
                canvas.

        Returns:
            logits float32 [C, V] or [B, C, V], softcapped, before any temperature; the caller's to change in place.

        Raises:
            ValueError: a canvas of another dtype or rank, or self-conditioning of another shape.
            IndexError: an id outside the vocabulary.
        """
        _expect_ids(canvas, 1, 2)
        shape = (*canvas.shape, self.config.vocab_size)
        if isinstance(self_conditioning, Softmax) and canvas.ndim != 1:
            raise ValueError("a softmax conditions one canvas, and not several")
        given = self_conditioning.weights if isinstance(self_conditioning, Softmax) else self_conditioning
        if given is not None and given.shape != shape:
            raise ValueError(f"self-conditioning must be {list(shape)}, not {list(given.shape)}")
        if self.native is not None:
            return self.native.decode(canvas, cache, self_conditioning)
        with torch.inference_mode():
            hidden = self._decode(canvas.to(self.device), cache, self_conditioning)
        return self._logits(hidden).view(shape)

    @torch.inference_mode()
    def frame(self, cache: KVCache) -> Frame:
        """Where a canvas lies in the buffers of `cache`, after what it holds now, for `denoise`.

        It is the same one until a buffer grows, and moves along when it is asked for again.
        """
        cache.reserve(self.config.canvas_length)
        if cache.frame is None:
            cache.frame = Frame(cache, self.config, self.rotary, self.canvas_attention)
        cache.frame.set(cache)
        return cache.frame

    def denoise(
        self,
        canvas: Tensor,
        frame: Frame,
        self_conditioning: Softmax | None,
        temperature: float | Tensor,
        uniforms: Tensor,
        into: Softmax | None = None,
    ) -> Outcome:
        """`decode` of a canvas int64 [C], and what a step wants of its logits, by `kernel_head`, which must be there.

        Nothing in it depends on the length of what is committed but what `frame` holds, and with a `temperature` on the
        device, nothing on the step: so that a graph can hold it.

        Args:
            canvas: as in `decode`, of the configuration's length.
            frame: of the cache that it follows.
            self_conditioning: of the step before; None at the first.
            temperature: at least the head's lowest; a number, or float32 [1] on the device.
            uniforms: float32 [C, 2] within 0 and 1, the randomness of the draw.
            into: where the softmax is put, which may be what `self_conditioning` reads; None for new tensors.
        """
        assert self.kernel_head is not None  # the caller has looked
        count = canvas.shape[0]
        span = Span(1, 0, count, 0, False, {}, frame.rotary, frame)
        with torch.inference_mode():
            hidden = self._denoised(canvas.to(self.device), None, self_conditioning, span)
            return self.kernel_head(self.stack.normed(hidden, self._head_norm), temperature, uniforms, into)

    @torch.inference_mode()
    def score(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Causal log-probabilities, in nats, of `ids` int64 [T] after what the cache holds -> float32 [T].

        The encoder as a causal language model: entry t is log p(ids[t] | the cache, ids[:t]). After an empty cache
        nothing conditions the first id, and its entry is that of a uniform distribution, -log V. The cache's contents
        do not change.

        Raises:
            ValueError: `ids` is not int64 of one dimension.
        """
        _expect_ids(ids, 1)
        ids = ids.to(self.device)
        first = min(cache.length, 1)
        cache.reserve(ids.shape[0])
        # each id is predicted from the position before it, so the last committed token runs once more
        inputs = torch.cat((cache.ids[cache.length - first :], ids))[:-1]
        start = cache.length - first
        scores = [torch.full((1 - first,), -float(torch.tensor(self.config.vocab_size).log()), device=self.device)]
        for piece in self._pieces(inputs, start):
            hidden = self._encode_piece_fully(piece, cache, start)
            start += piece.shape[0]
            scores.append(self._score_rows(hidden, ids[start - cache.length - piece.shape[0] + 1 :]))
        return torch.cat(scores)[: ids.shape[0]]

    # the three passes

    def _commit_piece(self, ids: Tensor, hidden: Tensor, span: Span, cache: KVCache) -> None:
        """Commits the keys and values of `ids` [T], which come in as `hidden` [T, D], or with padding behind them."""
        last = len(self.stack) - 1
        hidden = self.stack.through(last, hidden, cache, span)
        self.stack.keys_and_values_only(last, hidden, cache, span)
        cache.commit(ids)

    def _encode_piece_fully(self, ids: Tensor, cache: KVCache, start: int) -> Tensor:
        span = self._span(start, ids.shape[0], cache.length, causal)
        hidden = self._embed(ids).to(self.residual_dtype)
        return self.stack.through(len(self.stack), hidden, cache, span)

    def _decode(self, canvas: Tensor, cache: KVCache, self_conditioning: Tensor | Softmax | None) -> Tensor:
        count = canvas.shape[-1]
        start = cache.length
        cache.reserve(count)
        visible: dict[LayerKind, Visibility] = {
            "full": everything(start, None),
            "sliding": everything(start, self.config.sliding_window),
        }
        rotary = [table.range(start, count) for table in self.rotary]
        span = Span(canvas.numel() // count, start, count, start, False, visible, rotary)
        return self._denoised(canvas, cache, self_conditioning, span)

    def _denoised(
        self, canvas: Tensor, cache: KVCache | None, self_conditioning: Tensor | Softmax | None, span: Span
    ) -> Tensor:
        """A canvas [(B,) C] -> [N, D]; the cache may be missing where the span has a frame."""
        hidden = self._conditioned(canvas.reshape(-1), self_conditioning)
        return self.stack.through(len(self.stack), hidden, cache, span)

    def _span(self, start: int, count: int, committed: int, sees: Callable[..., Visibility]) -> Span:
        """Of tokens that are encoded; `sees`: `causal` or `within`."""
        visible: dict[LayerKind, Visibility] = {
            "full": sees(start, count, None, self.device),
            "sliding": sees(start, count, self.config.sliding_window, self.device),
        }
        rotary = [table.range(start, count) for table in self.rotary]
        return Span(1, start, count, committed, True, visible, rotary)

    # from ids, and to logits

    def _embed(self, ids: Tensor) -> Tensor:
        """ids [N] -> [N, D]."""
        return F.embedding(ids, self._weights.embedding) * self.embedding_scale

    def _conditioned(self, ids: Tensor, self_conditioning: Tensor | Softmax | None) -> Tensor:
        """A canvas [N] with what the previous step thought of it, normed without a weight -> [N, D]."""
        signal = None
        if self_conditioning is not None:
            # with no logits the signal is zero, and so is the MLP of it
            signal = self._conditioning_signal(self._weights.conditioning, self_conditioning)
        if self.stack.kernels is not None:
            scale = self.embedding_scale
            return self.stack.kernels.embed(ids, self._weights.embedding, scale, signal, self.residual_dtype)
        embedded = self._embed(ids)
        if signal is not None:
            embedded = embedded + signal
        return rms_norm(embedded, None, self.config.rms_norm_eps, self.residual_dtype)

    def _conditioning_signal(self, weights: Conditioning, previous: Tensor | Softmax) -> Tensor:
        if isinstance(previous, Softmax):
            soft = previous.mean(self._weights.embedding.to(previous.weights.dtype)).to(self.dtype)
        else:
            logits = previous.to(self.device, self.dtype).reshape(-1, self.config.vocab_size)
            soft = logits.softmax(dim=-1) @ self._weights.embedding  # in float32 within, and rounded once
        if self.stack.kernels is not None:
            x = self.stack.kernels.norm(soft, weights.pre_norm, self.embedding_scale)
            return weights.down(self.stack.kernels.gated(weights.gate_up, x))
        normed = rms_norm(soft * self.embedding_scale, weights.pre_norm, self.config.rms_norm_eps)
        return weights.down(weights.gate_up(normed)[0].to(self.dtype))

    def _logits(self, hidden: Tensor) -> Tensor:
        """[N, D] -> softcapped logits float32 [N, V]."""
        normed = self.stack.normed(hidden, self._head_norm)
        return softcap(F.linear(normed, self._weights.embedding).float(), self.config.final_logit_softcapping)

    def _score_rows(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Log-probabilities float32 [N] of ids[n] by the hidden state n of [N, D]."""
        rows = max(1, _SCORED_LOGITS // self.config.vocab_size)
        parts = [
            -F.cross_entropy(self._logits(part), ids[begin : begin + part.shape[0]], reduction="none")
            for begin, part in zip(range(0, hidden.shape[0], rows), hidden.split(rows), strict=True)
        ]
        return torch.cat(parts)

    def _padded(self, ids: Tensor) -> Tensor:
        """Ids with padding behind them, so that there are only a few lengths to be ready for.

        What comes later is not seen, so that it makes no difference to what is encoded.
        """
        lengths = self.encoded_lengths
        longer = next((length for length in lengths if length >= ids.shape[0]), ids.shape[0])
        return F.pad(ids, (0, longer - ids.shape[0]))

    def _pieces(self, ids: Tensor, start: int) -> Iterator[Tensor]:
        """`ids`, which begin at the position `start`, in chunks whose masks are of bounded size."""
        begin = 0
        while begin < ids.shape[0]:
            longest = _MASK_ELEMENTS // (start + begin + _CHUNK)
            end = begin + min(_CHUNK, max(_SMALLEST_CHUNK, longest))
            yield ids[begin:end]
            begin = end


def _expect_ids(ids: Tensor, *ranks: int) -> None:
    if ids.dtype != torch.int64 or ids.ndim not in ranks:
        raise ValueError(f"token ids must be int64 of rank {ranks}, not {ids.dtype} of shape {list(ids.shape)}")
