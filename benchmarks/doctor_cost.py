"""What the doctor's per-step monitors cost: python benchmarks/doctor_cost.py

The same step with and without them, in rounds that take turns in one process. Without them there is no spread of the
batches, no length of an update and no logit: only losses, D(x), D(G(z)) and gradient norms are metered.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from ganfold import data
from ganfold.device import keep_freed_memory
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.dcgan import DCGAN, Config
from ganfold.training import trainer as module
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

STEPS = 32  # a round: in one of so many steps the length of an update is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    keep_freed_memory()
    for resolution, width, batch in ((32, 32, 32), (64, 64, 32)):
        trainer = _trainer(resolution, width, batch)
        _seconds(trainer, monitored=True)
        ratios = []
        for _ in range(rounds):
            with_them = _seconds(trainer, monitored=True)
            ratios.append(with_them / _seconds(trainer, monitored=False))
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"{resolution} px, width {width}, batch {batch}: with / without {middle:.4f} ({low:.4f} to {high:.4f})")


def _seconds(trainer: Trainer, *, monitored: bool) -> float:
    """The time that a round of steps takes."""
    watch, spread, every = Batch.watch, module._spread, module.MOVE_STEPS
    if not monitored:
        zero = torch.zeros(())
        module._spread = lambda images: zero
        module.MOVE_STEPS = 2**62
        Batch.watch = lambda self, name, value: None if name.startswith("logit") else watch(self, name, value)  # type: ignore[method-assign]
    trainer.meter.clear()  # the two kinds of step have different groups
    try:
        start = time.perf_counter()
        for _ in range(STEPS):
            trainer.step()
        return time.perf_counter() - start
    finally:
        Batch.watch, module._spread, module.MOVE_STEPS = watch, spread, every  # type: ignore[method-assign]


def _trainer(resolution: int, width: int, batch: int) -> Trainer:
    device, ranks = torch.device("cpu"), Ranks("cpu")
    images = data.load("avatars", resolution=resolution, progress=False)
    torch.manual_seed(0)
    gan = DCGAN(Config(width=width, batch=batch), Shape(3, resolution))
    batches = Batches(images, seed=0, size=batch, ranks=ranks, device=device, flips=False)
    return Trainer(gan, batches, seed=0, device=device, ranks=ranks, ema_images=10_000)


if __name__ == "__main__":
    main()
