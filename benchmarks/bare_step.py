"""What training costs, and what the trainer adds to it: python benchmarks/bare_step.py [GAN ...]

The trainer's steps take turns with a loop that runs the same phases and does nothing else: no metrics, no averages of
weights, no learning rates. It prints images a second of both, and their ratio: the median of the rounds, the least and
the most.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from ganfold import data
from ganfold.device import keep_freed_memory
from ganfold.gans import find
from ganfold.gans.contract import Shape
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

BOTH = ("avatars/adventurer", "avatars/toon-head")
SMALL = {"width": 24, "blocks": 4}
TRAINED: list[tuple[str, tuple[str, ...], int, dict[str, Any]]] = [  # the settings of their pages, and of their papers
    ("rsgan", ("avatars",), 32, {}),
    ("srgan", ("avatars",), 64, SMALL | {"pretrain_kimg": 1e9}),
    ("srgan", ("avatars",), 64, SMALL | {"pretrain_kimg": 0.0}),
    ("srgan", ("avatars",), 64, {"pretrain_kimg": 1e9}),
    ("srgan", ("avatars",), 64, {"pretrain_kimg": 0.0}),
    ("context-encoder", ("avatars",), 64, {"width": 32, "batch": 32}),
    ("pix2pix", ("avatars",), 64, {"input": "edges", "width": 32, "batch": 8}),
    ("pix2pix", ("avatars",), 64, {"input": "edges"}),
    ("cyclegan", BOTH, 32, {"width": 16, "blocks": 3}),
    ("cyclegan", BOTH, 32, {"width": 16, "blocks": 3, "smooth": True}),
    ("cyclegan", BOTH, 64, {"width": 32, "blocks": 6}),
    ("gawwn", ("scenes",), 32, {}),
]


def build(name: str, sources: tuple[str, ...], resolution: int, options: dict[str, Any]) -> Trainer:
    torch.manual_seed(0)
    gan_class = find(name)
    config = gan_class.config_class(**options)
    images = data.load_as(gan_class.data_kind(config), *sources, resolution=resolution, progress=False)
    words = len(images.captions.words) + 1 if images.captions is not None else 0
    gan = gan_class(config, Shape(3, resolution, inputs=3, words=words))
    cpu, ranks = torch.device("cpu"), Ranks("cpu")
    batches = Batches(images, seed=0, size=config.batch, ranks=ranks, device=cpu, flips=False)
    return Trainer(gan, batches, seed=0, device=cpu, ranks=ranks, ema_images=1e4)


def bare(trainer: Trainer) -> None:
    """One step of the trainer's GAN: its phases, and nothing else."""
    gan = trainer.gan
    batch = trainer.batches.draw(0)
    due = [phase for phase in gan.phases if phase.since <= 0 < phase.until]
    early = {}
    for number, phase in enumerate(due):
        if phase.early:
            batch.begin(0, "early", number)
            switch(gan.optimizers[phase.optimizer], True)
            early[number] = phase.early(batch)
            switch(gan.optimizers[phase.optimizer], False)
            batch.update({name: value.detach() for name, value in early[number].items()})
    for number, phase in enumerate(due):
        batch.update(early.get(number, {}))
        batch.begin(0, "phase", number)
        optimizer = gan.optimizers[phase.optimizer]
        switch(optimizer, True)
        optimizer.zero_grad()
        torch.stack(list(phase.loss(batch).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        switch(optimizer, False)


def switch(optimizer: torch.optim.Optimizer, on: bool) -> None:
    """Let the optimizer's weights take gradients, or not."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.requires_grad_(on)


def speed(trainer: Trainer, step: Callable[[], None], seconds: float) -> float:
    """Images a second of steps over this many seconds."""
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    return steps * trainer.batches.size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("gans", nargs="*", help="only these")
    requested = parser.parse_args()
    keep_freed_memory()
    for name, sources, resolution, options in TRAINED:
        if requested.gans and name not in requested.gans:
            continue
        trainer = build(name, sources, resolution, options)
        speeds = []
        for _ in range(requested.rounds + 1):
            ours = speed(trainer, trainer.step, requested.seconds)
            speeds.append((ours, speed(trainer, lambda: bare(trainer), requested.seconds)))  # noqa: B023
        ours, plain = (statistics.median(values) for values in zip(*speeds[1:], strict=True))
        ratios = sorted(mine / other for mine, other in speeds[1:])
        print(
            f"{name} {resolution} px {options}: {ours:.1f} images/s, bare {plain:.1f}, ratio "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
