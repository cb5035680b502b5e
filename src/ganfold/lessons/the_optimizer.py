"""docs/learn/the-optimizer.md: Adam by hand, and the momentum beta_1 of a game."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganfold.lessons.drawing import COLOURS, bars, clean
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome
from ganfold.lessons.plain import BATCH, FAKES, KIMG, convolutional, digits, kids, samples, train
from ganfold.lessons.plain import measure as measure_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOMENTA = (0.0, 0.5, 0.9)
GAME_STEPS, GAME_RATE = 4000, 0.01
BY_HAND = "Adam by hand, 50 steps"


def adam(weights: Tensor, gradients: list[Tensor], lr: float, beta1: float, beta2: float) -> Tensor:
    """Adam (Kingma, Ba 2014, arXiv:1412.6980, algorithm 1), in its own notation."""
    weights = weights.clone()
    m, v = torch.zeros_like(weights), torch.zeros_like(weights)
    for t, g in enumerate(gradients, 1):
        m.lerp_(g, 1 - beta1)  # a running mean of the gradient: momentum
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)  # and of its square
        bias1, bias2 = 1 - beta1**t, 1 - beta2**t  # both means begin at 0: divide that out
        weights.addcdiv_(m, (v.sqrt() / bias2**0.5).add_(1e-8), value=-lr / bias1)
    return weights


def adam_of_torch(weights: Tensor, gradients: list[Tensor], lr: float, beta1: float, beta2: float) -> Tensor:
    """The same by `torch.optim.Adam`."""
    weights = weights.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr, (beta1, beta2), foreach=False)
    for gradient in gradients:
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach()


def dirac(beta1: float, steps: int) -> np.ndarray:
    """The path (steps, 2) of the smallest GAN: one real point at 0, one fake point g, and D(x) = sigmoid(d x)."""
    g, d = (torch.tensor(1.0, requires_grad=True) for _ in range(2))
    for_g, for_d = (torch.optim.Adam([w], GAME_RATE, (beta1, 0.999), foreach=False) for w in (g, d))
    path = np.zeros((steps, 2))
    for step in range(steps):
        (d.grad,) = torch.autograd.grad(F.softplus(d * g.detach()), d)
        for_d.step()
        (g.grad,) = torch.autograd.grad(F.softplus(-d.detach() * g), g)
        for_g.step()
        path[step] = g.item(), d.item()
    return path


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(1000, generator=random)
    gradients = [torch.randn(1000, generator=random) for _ in range(50)]
    both = [make(weights, gradients, 2e-4, 0.5, 0.999) for make in (adam, adam_of_torch)]
    first = adam_of_torch(weights, gradients[:1], 2e-4, 0.5, 0.999) - weights
    sign = (first + 2e-4 * gradients[0].sign()).abs().max().item()
    outcome.add(
        BY_HAND, 0, largest_difference=(both[0] - both[1]).abs().max().item(), first_step_from_lr_times_sign=sign
    )
    for beta1 in bench.each(MOMENTA, 0.05):
        path = dirac(beta1, bench.scaled(GAME_STEPS, 20))
        outcome.add(f"point game, beta_1 {beta1:g}", 0, distance_at_the_end=float(np.hypot(*path[-1])))
        outcome.shown[f"{beta1:g}"] = path
    for variant, seed in bench.each([(f"beta_1 {beta1:g}", seed) for beta1 in MOMENTA for seed in bench.seeds], 0.95):
        torch.manual_seed(seed)
        G, D = convolutional()
        betas = (float(variant.split()[1]), 0.999)
        log = train(G, D, digits()[0], bench.scaled(KIMG * 1000 // BATCH), betas=betas, seed=seed, bench=bench)
        measure_samples(outcome, bench, variant, seed, samples(G, bench.scaled(FAKES, 20)), log)
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    difference = outcome.mean(BY_HAND, "largest difference")
    zero, half, most = (outcome.mean(f"point game, beta_1 {beta:g}", "distance at the end") for beta in MOMENTA)
    kid = {beta: outcome.of(f"beta_1 {beta:g}", "KID") for beta in MOMENTA}
    return [
        Claim(
            "Adam is these few lines.",
            f"After 50 steps the largest difference from torch.optim.Adam is {difference:.1g}.",
            difference < 1e-6,
        ),
        Claim(
            "In a game momentum acts late, and turns a spiral inwards into a circle.",
            f"The two-number game ends {zero:.2g}, {half:.2g} and {most:.2g} from its solution for beta_1 0, 0.5, 0.9.",
            zero < half < most,
        ),
        Claim(
            "On images beta_1 0.9 makes the samples worse than 0.5.",
            f"KID was {kids(outcome, 'beta_1 0.9')} with 0.9, and {kids(outcome, 'beta_1 0.5')} with 0.5.",
            min(kid[0.9]) > 1.2 * max(kid[0.5]),
        ),
        Claim(
            "0.5 is no magic number: 0 does as well.",
            f"KID was {kids(outcome, 'beta_1 0')} with 0.",
            sum(kid[0.0]) < 1.25 * sum(kid[0.5]),
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    *paths, chart = figure.subplots(1, 4)
    limit = 1.1 * max(np.abs(outcome.shown[f"{beta:g}"]).max() for beta in MOMENTA)
    for axes, beta, colour in zip(paths, MOMENTA, COLOURS, strict=False):
        path = outcome.shown[f"{beta:g}"]
        axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.8)
        axes.plot(*path[-1], "o", color=colour)
        axes.plot(0, 0, "+", color="black", markersize=10)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        axes.set_title(f"Point game, beta_1 {beta:g}", fontsize=10)
        axes.set_xlabel("place of the fake", fontsize=8)
        axes.set_ylabel("slope of D", fontsize=8)
        clean(axes)
    bars(chart, outcome, "KID", "KID on digits\n(lower is better)")


EXPERIMENT = Experiment(measure, claims, draw, (11, 2.9))
