"""docs/learn/asking-for-things.md: a label as a condition, a D that does not see it, and what z still decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.lessons.drawing import bars, pictures
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome, several
from ganfold.lessons.plain import SIDE, Z, as_bytes, digits, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BATCH, CLASSES, HELD_OUT = 1500, 64, 10, 500
SEES, BLIND = "D sees the label", "D is blind to it"
OBEYED = "requested class, share"


class ConditionalG(nn.Module):
    """z and a label -> an image: both are joined, and go through dense layers (Mirza 2014, arXiv:1411.1784)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((Z + CLASSES, 256), (256, 512)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(512, SIDE * SIDE), nn.Tanh())

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        made: Tensor = self.net(torch.cat([z, F.one_hot(label, CLASSES).float()], 1))
        return made


class ConditionalD(nn.Module):
    """An image and a label -> a logit. A blind one gets 0 for every label."""

    def __init__(self, sees: bool) -> None:
        super().__init__()
        self.sees = sees
        self.net = nn.Sequential(
            nn.Linear(SIDE * SIDE + CLASSES, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
        )

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        condition = F.one_hot(label, CLASSES).float() * self.sees
        made: Tensor = self.net(torch.cat([images, condition], 1))
        return made


def train(G: nn.Module, D: nn.Module, images: Tensor, labels: Tensor, steps: int, seed: int, bench: Bench) -> None:
    """The plain loop; the label goes along."""
    random = torch.Generator().manual_seed(seed)
    for_D, for_G = (torch.optim.Adam(player.parameters(), 5e-4, (0.5, 0.999), fused=True) for player in (D, G))
    for step in range(steps):
        rows = torch.randint(len(images), (BATCH,), generator=random)
        real, label = images[rows], labels[rows]
        fake = G(torch.randn(BATCH, Z, generator=random), label)
        loss_D = F.softplus(-D(real, label)).mean() + F.softplus(D(fake.detach(), label)).mean()
        for_D.zero_grad()
        loss_D.backward()  # type: ignore[no-untyped-call]
        for_D.step()
        loss_G = F.softplus(-D(fake, label)).mean()
        for_G.zero_grad()
        loss_G.backward()  # type: ignore[no-untyped-call]
        for_G.step()
        bench.tick(step / steps)


def nearest(images: np.ndarray, real: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class of each image by its five nearest real ones."""
    from sklearn.neighbors import KNeighborsClassifier

    found: np.ndarray = KNeighborsClassifier(5).fit(real, labels).predict(images)
    return found


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    images, labels = digits()
    flat, classes = images.flatten(1)[:-HELD_OUT], torch.from_numpy(labels[:-HELD_OUT].copy()).long()
    known = (flat.numpy(), labels[:-HELD_OUT])
    held = images.flatten(1)[-HELD_OUT:].numpy()
    outcome.add("real held-out digits", 0, **{OBEYED: float((nearest(held, *known) == labels[-HELD_OUT:]).mean())})
    requested = torch.arange(CLASSES).repeat_interleave(30)
    outcome.shown["samples"] = {}
    for variant, seed in bench.each([(variant, seed) for variant in (SEES, BLIND) for seed in bench.seeds]):
        torch.manual_seed(seed)
        G, D = ConditionalG(), ConditionalD(variant == SEES)
        train(G, D, flat, classes, bench.scaled(STEPS), seed, bench)
        random = torch.Generator().manual_seed(12_345)
        normal = torch.randn(len(requested), Z, generator=random)
        uniform = torch.rand(len(requested), Z, generator=random) * 2 - 1
        with torch.no_grad():
            made, other = G(normal, requested), G(uniform, requested)
        obeyed = float((nearest(made.numpy(), *known) == requested.numpy()).mean())
        same = float(np.mean([spread(made[requested == label]) for label in range(CLASSES)]))
        outcome.add(variant, seed, **{OBEYED: obeyed, "spread within a class": same})
        if variant == SEES:
            values = {"normal z, as trained": spread(made), "uniform z in [-1, 1]": spread(other)}
            for name, value in values.items():
                outcome.add(name, seed, spread_of_all=value)
        shown = made.view(CLASSES, 30, 1, SIDE, SIDE)[:, :5].transpose(0, 1).flatten(0, 1)
        outcome.shown["samples"].setdefault(variant, as_bytes(shown))
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    obeyed = {variant: outcome.of(variant, OBEYED) for variant in (SEES, BLIND)}
    within = outcome.of(SEES, "spread within a class")
    spreads = [outcome.of(name, "spread of all") for name in ("normal z, as trained", "uniform z in [-1, 1]")]
    real = outcome.mean("real held-out digits", OBEYED)
    return [
        Claim(
            "A label reaches the image if D sees it.",
            f"{several(obeyed[SEES])} of the samples are of the requested class; of real digits the same test finds "
            f"{real:.2f}.",
            min(obeyed[SEES]) > 3 * max(obeyed[BLIND]),
        ),
        Claim(
            "If D is blind to the label, G has no reason to obey: chance is 0.1.",
            f"{several(obeyed[BLIND])} are of the requested class.",
            max(obeyed[BLIND]) < 0.3,
        ),
        Claim(
            "Within a class z still makes different digits.",
            f"The spread of a pixel is {several(within)}.",
            min(within) > 0.1,
        ),
        Claim(
            "A narrower uniform z changes little: BatchNorm, by the statistics of the batch, scales it up again.",
            f"The spread is {several(spreads[0])} with normal z, and {several(spreads[1])} with uniform z.",
            all(0.8 < uniform / normal < 1.25 for normal, uniform in zip(*spreads, strict=True)),
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    chart, *parts = figure.subplots(1, 3, width_ratios=[1.3, 2, 2])
    bars(chart, outcome, OBEYED, "Share of the requested class")
    chart.axvline(1 / CLASSES, color="black", linewidth=0.8, linestyle=":")
    chart.set_xlabel("dotted: chance", fontsize=8)
    for axes, (variant, images) in zip(parts, outcome.shown["samples"].items(), strict=True):
        pictures(axes, images, f"{variant}: a column for each requested digit, 0 to 9", CLASSES)


EXPERIMENT = Experiment(measure, claims, draw, (11, 2.6))
