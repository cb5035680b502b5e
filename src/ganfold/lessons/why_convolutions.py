"""docs/learn/why-convolutions.md: take the neighbourhood away, and see which GAN minds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ganfold.lessons.drawing import bars, pictures
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome
from ganfold.lessons.plain import FAKES, SIDE, Z, as_bytes, convolutional, digits, kids, samples, train
from ganfold.lessons.plain import measure as measure_samples
from ganfold.networks import mlp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DENSE, CONVOLUTIONAL = "fully connected", "convolutional"
PLAIN, SHUFFLED = "pixels in place", "pixels shuffled"
STEPS, BATCH, WIDTH, RATE = 900, 64, 24, 5e-4


def networks(kind: str) -> tuple[nn.Module, nn.Module]:
    if kind == DENSE:
        return mlp.Generator(Z, 1, SIDE), mlp.Discriminator(1, SIDE)
    return convolutional(WIDTH)


def weights(*networks: nn.Module) -> int:
    return sum(weight.numel() for network in networks for weight in network.parameters())


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    grids: dict[str, np.ndarray] = {}
    order = torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(0))
    variants = [f"{kind}, {pixels}" for kind in (DENSE, CONVOLUTIONAL) for pixels in (PLAIN, SHUFFLED)]
    for variant, seed in bench.each([(variant, seed) for variant in variants for seed in bench.seeds]):
        torch.manual_seed(seed)
        G, D = networks(variant.split(",")[0])
        places = order if variant.endswith(SHUFFLED) else torch.arange(SIDE * SIDE)
        images = moved(digits()[0], places)
        log = train(G, D, images, bench.scaled(STEPS), batch=BATCH, lr=RATE, seed=seed, bench=bench)
        made = moved(samples(G, bench.scaled(FAKES, 20)), places.argsort())  # back in order
        measure_samples(outcome, bench, variant, seed, made, log)
        grids.setdefault(variant, as_bytes(made[:16]))
    for kind in (DENSE, CONVOLUTIONAL):
        outcome.add(kind, 0, weights=weights(*networks(kind)))
    outcome.shown["samples"] = grids
    return outcome


def moved(images: Tensor, places: Tensor) -> Tensor:
    """Images with their pixels in another order."""
    return images.flatten(1)[:, places].view(images.shape)


def claims(outcome: Outcome) -> list[Claim]:
    mean = {
        (kind, pixels): outcome.mean(f"{kind}, {pixels}", "KID")
        for kind in (DENSE, CONVOLUTIONAL)
        for pixels in (PLAIN, SHUFFLED)
    }
    dense, few = (round(outcome.mean(kind, "weights")) for kind in (DENSE, CONVOLUTIONAL))
    texts = {
        kind: f"{kids(outcome, f'{kind}, {PLAIN}')} in place, {kids(outcome, f'{kind}, {SHUFFLED}')} shuffled"
        for kind in (DENSE, CONVOLUTIONAL)
    }
    return [
        Claim(
            "The convolutional GAN needs the neighbourhood: with shuffled pixels its samples get much worse.",
            f"KID was {texts[CONVOLUTIONAL]}.",
            mean[CONVOLUTIONAL, SHUFFLED] > 1.5 * mean[CONVOLUTIONAL, PLAIN],
        ),
        Claim(
            "The fully connected GAN does not care where a pixel is.",
            f"KID was {texts[DENSE]}.",
            0.75 < mean[DENSE, SHUFFLED] / mean[DENSE, PLAIN] < 1.33,
        ),
        Claim(
            "The convolutional GAN has far fewer weights.",
            f"It has {few:,}, and the fully connected one {dense:,}.",
            few < dense / 5,
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    chart, *parts = figure.subplot_mosaic([["KID", *"abcd"]], width_ratios=[2.4, 1.5, 1.5, 1.5, 1.5]).values()
    variants = outcome.variants("KID")
    bars(chart, outcome, "KID", "KID (lower is better)")
    chart.set_yticks(range(4), [variant.replace(", ", ",\n") for variant in variants])
    for axes, (variant, images) in zip(parts, outcome.shown["samples"].items(), strict=True):
        pictures(axes, images, variant.replace(", ", ",\n"))


EXPERIMENT = Experiment(measure, claims, draw, (11, 2.7))
