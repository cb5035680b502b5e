"""docs/learn/what-goes-wrong.md: failures planted in a GAN on the plane, and how each looks in the numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.lessons.drawing import COLOURS, clean, rolling
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome, several

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BATCH, MODES, NEAR = 2000, 128, 8, 0.15
ANGLES = torch.arange(MODES) * (2 * math.pi / MODES)
CENTRES = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
HEALTHY, FROZEN, WINNER = "healthy", "D never learns", "D far ahead"
COLLAPSE, FAST = "z ignored", "steps too large"


@dataclass(frozen=True)
class Setting:
    """How a GAN on the plane is trained."""

    lr_D: float = 2e-3
    lr_G: float = 5e-4
    beta1: float = 0.5
    latents: float = 1.0  # deviation of z


SETTINGS = {
    HEALTHY: Setting(),
    FROZEN: Setting(lr_D=0.0),
    WINNER: Setting(lr_G=1e-5),
    COLLAPSE: Setting(latents=0.0),
    FAST: Setting(lr_D=0.05, lr_G=0.05),
}


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


def reals(count: int, random: torch.Generator) -> Tensor:
    """Points around eight places on a circle."""
    places = CENTRES[torch.randint(MODES, (count,), generator=random)]
    return places + 0.05 * torch.randn(count, 2, generator=random)


def play(setting: Setting, steps: int, seed: int, bench: Bench) -> tuple[Tensor, Tensor]:
    """Train; return D(x), D(G(z)) and the norm of G's gradient at each step (steps, 3), and points of the last G."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    G, D = network(8, 2), network(2, 1)
    for_D = torch.optim.Adam(D.parameters(), setting.lr_D, (setting.beta1, 0.999), fused=True)
    for_G = torch.optim.Adam(G.parameters(), setting.lr_G, (setting.beta1, 0.999), fused=True)
    log = torch.zeros(steps, 3)
    for step in range(steps):
        on_real = D(reals(BATCH, random))
        fake = G(setting.latents * torch.randn(BATCH, 8, generator=random))
        on_fake = D(fake.detach())
        loss_D = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        for_D.zero_grad()
        loss_D.backward()  # type: ignore[no-untyped-call]
        for_D.step()
        loss_G = F.softplus(-D(fake)).mean()
        for_G.zero_grad()
        loss_G.backward()  # type: ignore[no-untyped-call]
        for_G.step()
        slope = torch.stack([weight.grad.square().sum() for weight in G.parameters() if weight.grad is not None])
        log[step] = torch.stack([on_real.sigmoid().mean(), on_fake.sigmoid().mean(), slope.sum().sqrt()]).detach()
        bench.tick(step / steps)
    with torch.no_grad():
        return log, G(setting.latents * torch.randn(1000, 8, generator=random))


def found(points: Tensor) -> tuple[int, float]:
    """How many modes have at least 1 % of the points nearby, and the share of points near a mode."""
    distances = torch.cdist(points, CENTRES)
    near = distances.min(1).values < NEAR
    counts = torch.bincount(distances.argmin(1)[near], minlength=MODES)
    return int((counts >= len(points) / 100).sum()), near.float().mean().item()


def apart(distance: float) -> tuple[float, float]:
    """Two points this far apart: the Jensen-Shannon divergence and the Wasserstein distance of the two."""
    return (math.log(2) if distance else 0.0), abs(distance)


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    for variant, seed in bench.each([(variant, seed) for variant in SETTINGS for seed in bench.seeds]):
        log, points = play(SETTINGS[variant], bench.scaled(STEPS, 20), seed, bench)
        modes, good = found(points)
        on_real, on_fake, slope = log[-max(1, len(log) // 5) :].mean(0).tolist()
        values = {"D(x)": on_real, "D(G(z))": on_fake, "slope of G": slope, "modes of 8": modes, "good points": good}
        outcome.add(variant, seed, **values)
        outcome.shown.setdefault(variant, (log.numpy(), points.numpy()))
    for distance in (1.0, 0.1, 0.0):
        divergence, wasserstein = apart(distance)
        outcome.add(f"two points {distance:g} apart", 0, Jensen_Shannon=divergence, Wasserstein=wasserstein)
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    def shown(variant: str, name: str) -> str:
        return several(outcome.of(variant, name))

    far, near = (f"two points {distance} apart" for distance in ("1", "0.1"))
    js, wasserstein = (
        [outcome.mean(where, name) for where in (far, near)] for name in ("Jensen Shannon", "Wasserstein")
    )
    return [
        Claim(
            "A healthy game finds nearly all modes.",
            f"It found {shown(HEALTHY, 'modes of 8')} of 8, with D(x) {shown(HEALTHY, 'D(x)')}.",
            min(outcome.of(HEALTHY, "modes of 8")) >= 7,
        ),
        Claim(
            "A D that never learns is fooled completely, and the points are nowhere.",
            f"D(G(z)) was {shown(FROZEN, 'D(G(z))')}, and {shown(FROZEN, 'good points')} of the points were good.",
            min(outcome.of(FROZEN, "D(G(z))")) > max(outcome.of(HEALTHY, "D(G(z))")) + 0.2
            and max(outcome.of(FROZEN, "good points")) < 0.2,
        ),
        Claim(
            "A D far ahead of G knows every fake, and G stays behind.",
            f"D(x) was {shown(WINNER, 'D(x)')}, D(G(z)) {shown(WINNER, 'D(G(z))')}, and of the points "
            f"{shown(WINNER, 'good points')} were good.",
            min(outcome.of(WINNER, "D(x)")) > max(outcome.of(HEALTHY, "D(x)"))
            and max(outcome.of(WINNER, "good points")) < 0.5 * min(outcome.of(HEALTHY, "good points")),
        ),
        Claim(
            "A G that ignores z makes one point, and covers one mode at most.",
            f"It covers {shown(COLLAPSE, 'modes of 8')} of 8 modes.",
            max(outcome.of(COLLAPSE, "modes of 8")) <= 1,
        ),
        Claim(
            "Steps that are too large lose modes.",
            f"They leave {shown(FAST, 'modes of 8')} of 8.",
            max(outcome.of(FAST, "modes of 8")) <= 4,
        ),
        Claim(
            "Why WGAN: of two points that do not meet, only the Wasserstein distance says how far.",
            f"At 1 and at 0.1 the Jensen-Shannon divergence is {several(js)}, and the distance {several(wasserstein)}.",
            js[0] == js[1] and wasserstein[0] > wasserstein[1],
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    parts = figure.subplots(2, len(SETTINGS), height_ratios=[1.3, 1])
    for column, variant in enumerate(SETTINGS):
        (above, below), (log, points) = parts[:, column], outcome.shown[variant]
        above.scatter(*CENTRES.T, s=90, color=COLOURS[1], alpha=0.5, label="reals")
        above.scatter(*points[:400].T, s=2, color=COLOURS[0], label="fakes")
        above.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xticks=[], yticks=[])
        above.set_title(variant, fontsize=10)
        for place, name in enumerate(("D(x)", "D(G(z))")):
            below.plot(rolling(log[:, place], 30), color=COLOURS[1 - place], label=name)
        below.set(ylim=(0, 1), xlabel="steps")
        clean(below)
    parts[0, 0].legend(fontsize=7, loc="center")
    parts[1, 0].legend(fontsize=7)


EXPERIMENT = Experiment(measure, claims, draw, (12, 4.4))
