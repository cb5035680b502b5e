"""docs/learn/norms-and-slopes.md: BatchNorm, the slope of LeakyReLU, and tanh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ganfold.lessons.drawing import bars, pictures
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome
from ganfold.lessons.plain import Change, compare, kids, nothing, swapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER, NO_NORM, NO_TANH = "as the paper", "no BatchNorm", "no tanh"
ZERO, HALF = "slope 0", "slope 0.5"
EPS = "BatchNorm, input of deviation "


def without_norms(G: nn.Module, D: nn.Module) -> None:
    for network in (G, D):
        swapped(network, nn.BatchNorm2d, lambda layer: nn.Identity())


def without_tanh(G: nn.Module, D: nn.Module) -> None:
    swapped(G, nn.Tanh, lambda layer: nn.Identity())


def sloped(slope: float) -> Change:
    def change(G: nn.Module, D: nn.Module) -> None:
        swapped(D, nn.LeakyReLU, lambda layer: nn.LeakyReLU(slope))

    return change


VARIANTS: dict[str, Change] = {
    PAPER: nothing, ZERO: sloped(0.0), HALF: sloped(0.5), NO_NORM: without_norms, NO_TANH: without_tanh,
}  # fmt: skip


def measure(bench: Bench) -> Outcome:
    outcome = compare(bench, VARIANTS)
    x = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(0))
    for deviation in (0.1, 1.0):
        right, wrong = (norm(deviation * x).std().item() for norm in (nn.BatchNorm1d(1), nn.BatchNorm1d(1, 0.8)))
        outcome.add(f"{EPS}{deviation:g}", 0, eps_1e_5=right, eps_0_8=wrong)
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    worst = max(outcome.of(PAPER, "KID"))
    paper = kids(outcome, PAPER)
    left = {deviation: outcome.mean(f"{EPS}{deviation}", "eps 0 8") for deviation in ("0.1", "1")}
    return [
        Claim(
            "Without BatchNorm these networks learn far less in the same time.",
            f"KID was {kids(outcome, NO_NORM)} without, and {paper} with it.",
            min(outcome.of(NO_NORM, "KID")) > 1.25 * worst,
        ),
        Claim(
            "Against the books: slope 0, which is plain ReLU, does as well as slope 0.2.",
            f"KID was {kids(outcome, ZERO)} with slope 0, and {paper} with 0.2.",
            outcome.mean(ZERO, "KID") < 1.2 * outcome.mean(PAPER, "KID"),
        ),
        Claim(
            "A slope of 0.5 is too linear.",
            f"KID was {kids(outcome, HALF)}.",
            outcome.mean(HALF, "KID") > 1.1 * outcome.mean(PAPER, "KID"),
        ),
        Claim(
            "Without tanh the samples leave the range of the data, and get worse.",
            f"KID was {kids(outcome, NO_TANH)} without tanh.",
            min(outcome.of(NO_TANH, "KID")) > worst,
        ),
        Claim(
            "The second argument of BatchNorm1d is eps, and 0.8 there undoes the norm of a small signal.",
            f"With eps 0.8 an input of deviation 0.1 leaves with {left['0.1']:.2g}, and one of 1 with {left['1']:.2g}.",
            left["0.1"] < 0.2 and left["1"] < 0.8,
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    chart, *parts = figure.subplot_mosaic([["KID", *"abcde"]], width_ratios=[3, 1.4, 1.4, 1.4, 1.4, 1.4]).values()
    bars(chart, outcome, "KID", "KID after 32 kimg (lower is better)")
    for axes, (variant, images) in zip(parts, outcome.shown["samples"].items(), strict=True):
        pictures(axes, images, variant)


EXPERIMENT = Experiment(measure, claims, draw, (11, 2.6))
