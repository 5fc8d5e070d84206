"""Trains the built-in model: `python -m pocket.train --minutes 120 --out out/pocket`.

Writes `checkpoint.pt` (weights and how they came about) and `tokenizer.json` into the output directory, and one line of
progress every 20 steps. `--resume` goes on from a checkpoint with a fresh learning-rate schedule.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pocket import tokenizer as tokenization
from pocket.batches import BRIEF, LONG, SHORT, Batch, Plan, draw_batch
from pocket.corpus import TASKS
from pocket.corpus.knowledge import guide_sha256
from pocket.export import read_weights
from pocket.network import Network, Shape
from pocket.optimizer import optimizers
from pocket.provenance import corpus_sha256
from pocket.stepping import stepped

LONG_EVERY = 10  # one step in so many sees more than 1,024 tokens of one conversation
BRIEF_SHARE = 0.4  # of the other steps
CAUSAL_WEIGHT = 0.3
BALANCE_WEIGHT = 0.01
CONDITIONED_SHARE = 0.5
WARM_UP_STEPS = 60


def batch_loss(network: Network, batch: Batch, conditioned: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Training loss, and its denoising and causal parts."""
    rows, starts, documents = batch.rows, batch.starts, batch.documents
    with torch.autocast(batch.ids.device.type, dtype=torch.bfloat16):
        encoded = network.encode(batch.ids, documents)
        previous, canvas = None, batch.noisy
        if conditioned:
            with torch.no_grad():
                previous, _ = network.denoise(batch.noisier, rows, starts, documents, encoded, None)
                previous = previous / batch.temperatures  # as the sampler feeds them back
                left = stepped(previous, batch.target, batch.free, batch.noise, batch.draws, batch.bounds)
                canvas = torch.where(batch.bounds < 0, canvas, left)
        logits, balance = network.denoise(canvas, rows, starts, documents, encoded, previous)
        losses = F.cross_entropy(logits.flatten(0, 1), batch.target.flatten(), reduction="none")
        denoising = (losses * batch.weight.flatten()).sum() / batch.weight.sum()
        causal_logits = network.logits(encoded.hidden[:, :-1])
        causal = F.cross_entropy(causal_logits.flatten(0, 1), batch.ids[:, 1:].flatten())
    total = denoising + CAUSAL_WEIGHT * causal + BALANCE_WEIGHT * (balance + encoded.balance)
    return total, denoising.detach(), causal.detach()


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Warm-up, then flat, then a linear descent to zero over the last 70 %."""
    descent = min(1.0, (1 - progress) / 0.7)
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.0, descent)


class Trainer:
    """The loop's state: network, optimizers, random sources, averages."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        torch.manual_seed(options.seed)
        torch.set_flush_denormal(True)
        for name, factor in options.emphasis:
            TASKS[name] = replace(TASKS[name], weight=TASKS[name].weight * factor)
        self.corpus_sha256 = corpus_sha256()  # now: the files may change before the weights are saved
        self.rng = random.Random(options.seed)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.tokenizer = self._tokenizer()
        self.shape = Shape(vocab_size=self.tokenizer.tokenizer.get_vocab_size())
        self.network = Network(self.shape).to(options.device)
        self.resumed: dict[str, Any] | None = None
        if options.resume:
            self.resumed = self._resume(options.resume)
        self.optimizers = optimizers(self.network, options.lr)
        self.loss = torch.compile(batch_loss, dynamic=False) if options.compile else batch_loss
        self.averages: dict[str, float] = {}
        self.step = 0
        self.started = time.monotonic()

    def _tokenizer(self) -> tokenization.ChatTokenizer:
        path = self.options.out / "tokenizer.json"
        self.options.out.mkdir(parents=True, exist_ok=True)
        source: Path | None = self.options.resume
        if source is not None:  # weights mean nothing beside another tokenizer
            shutil.copy((source if source.is_dir() else source.parent) / "tokenizer.json", path)
        elif not path.exists():
            made = tokenization.made_for_corpus(self.options.tokenizer_turns, self.options.seed, self.options.vocab)
            made.save(str(path))
        return tokenization.ChatTokenizer.load(path)

    def _resume(self, source: Path) -> dict[str, Any]:
        """Takes the weights of a checkpoint.pt, or of an exported directory; returns how these came about."""
        if source.is_dir():
            return read_weights(self.network, source)
        saved = torch.load(source, map_location=self.options.device, weights_only=True)
        self.network.load_state_dict(saved["weights"])
        about: dict[str, Any] = saved["about"]
        return about

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.started) / 60

    @property
    def progress(self) -> float:
        """The share of the training that lies behind: of its steps where these are given, else of its time."""
        if self.options.steps is not None:
            return self.step / float(self.options.steps)
        return self.minutes / float(self.options.minutes)

    def _plan(self) -> Plan:
        if self.step % LONG_EVERY == LONG_EVERY - 1:
            return LONG
        return BRIEF if self.rng.random() < BRIEF_SHARE else SHORT

    def train_step(self) -> None:
        plan = self._plan()
        # Long batches are always conditioned: one graph less to compile.
        conditioned = plan is LONG or self.rng.random() < CONDITIONED_SHARE
        shape, stepped = self.shape, self.options.stepped
        batch = draw_batch(self.rng, self.generator, self.tokenizer, plan, shape.canvas, shape.vocab_size, stepped)
        batch = Batch(**{name: value.to(self.options.device) for name, value in vars(batch).items()})
        rate = learning_rate(self.step, self.progress, self.options.lr)
        total, denoising, causal = self.loss(self.network, batch, conditioned)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._record(denoising=denoising.item(), causal=causal.item())
        self.step += 1

    def _record(self, **values: float) -> None:
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(f"the loss is not finite at step {self.step}: {values}")
        for name, value in values.items():
            old = self.averages.get(name, value)
            self.averages[name] = 0.98 * old + 0.02 * value

    def report(self) -> None:
        pace = 60 * self.minutes / max(1, self.step)
        parts = " ".join(f"{name} {value:.3f}" for name, value in self.averages.items())
        print(f"{self.minutes:.1f} min step {self.step} {parts} ({pace:.2f} s a step)", flush=True)

    def save(self) -> None:
        """Writes the checkpoint whole or not at all."""
        about: dict[str, Any] = {
            "minutes": round(self.minutes, 1),
            "steps": self.step,
            "losses": self.averages,
            "seed": self.options.seed,
            "learning_rate": self.options.lr,
            "emphasis": dict(self.options.emphasis),
            "stepped": self.options.stepped,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "guide_sha256": guide_sha256(),
            "corpus_sha256": self.corpus_sha256,
            "resumed_from": self.resumed,
        }
        path = self.options.out / "checkpoint.pt"
        state = {"weights": self.network.state_dict(), "shape": asdict(self.shape), "about": about}
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def run(self) -> None:
        saved = 0.0
        while self.progress < 1:
            self.train_step()
            if self.step % 20 == 0:
                self.report()
            if self.minutes - saved > self.options.save_every:
                self.save()
                saved = self.minutes
        self.save()


def emphasis(text: str) -> list[tuple[str, float]]:
    """ "count=5,list=2" as pairs.

    Raises:
        ValueError: no such task, or no number.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    if unknown := [name for name, _, _ in pairs if name not in TASKS]:
        raise ValueError(f"no task {unknown[0]}")
    return [(name, float(factor)) for name, _, factor in pairs]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pocket.train", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=120, help="wall-clock budget; the schedule fits it")
    parser.add_argument("--steps", type=int, help="in place of --minutes: the same weights again on the same machine")
    parser.add_argument("--out", type=Path, default=Path("out/pocket"))
    parser.add_argument("--resume", type=Path, help="a checkpoint.pt, or an exported directory, to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument(
        "--emphasis", type=emphasis, default=[], metavar="TASK=FACTOR,...", help="draw these tasks so much more often"
    )
    parser.add_argument(
        "--stepped",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the conditioned canvases with one right answer, see stepping.py",
    )
    parser.add_argument("--vocab", type=int, default=2304)
    parser.add_argument("--tokenizer-turns", type=int, default=40_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save-every", type=float, default=5, metavar="MINUTES")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    Trainer(parse()).run()
