"""What Arjovsky 2017 and Gulrajani 2017 claim of the critic, measured on the bundled digits; see docs/gans/wgan.md.

python lab/scripts/wgan_claims.py estimate RUN...     does the critic's estimate follow the samples' quality?
python lab/scripts/wgan_claims.py rounds OUT          does G still learn from a critic that is trained too well?
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import spearmanr

import ganfold
from ganfold import data
from ganfold.gans import GANS, dcgan, find, gan
from ganfold.gans.contract import Batch, Phase, Shape, Terms, adam
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks

CHECKUPS = 4  # in each of them; three times as many where the critic's estimate should be at its best
LOOKS = (1, 10, 100, 300, 1000)  # updates of D after which its gradient is looked at
NETWORKS: dict[str, dict[str, Any]] = {
    "conv": {"resolution": 16, "width": 8, "batch": 32},
    "mlp": {"resolution": 32, "networks": "mlp", "batch": 64},
}


@dataclass(frozen=True)
class Config(dcgan.Config):
    rounds: int = 1  # updates of D for each of G
    networks: Literal["conv", "mlp"] = "conv"  # as `wgan` has them


class Rounds(dcgan.DCGAN):
    """DCGAN whose D is updated several times a step, each time on fresh reals and fresh fakes."""

    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.networks == "mlp":
            self.G, self.D = gan.Generator(config.z_dim, shape), gan.Discriminator(shape)  # type: ignore[assignment]
            self.optimizers = {
                name: adam(network.parameters(), config.lr, config.betas)
                for name, network in (("D", self.D), ("G", self.G))
            }
        self.phases = [
            Phase(self.discriminator, "D", rounds=config.rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def discriminator(self, batch: Batch) -> Terms:
        batch.update(self.fake(batch))  # G's weights are frozen meanwhile
        return super().discriminator(batch)


GANS["dcgan-rounds"] = (__name__, "Rounds", "")


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def estimate(run: Path) -> None:
    """The rank correlation over a run of the critic's estimate, averaged between two checkups, and their KID."""
    pairs: list[tuple[float, float]] = []
    since: list[float] = []
    for row in rows(run):
        if "wasserstein" in row:
            since.append(row["wasserstein"])
        if "KID" in row and since:
            pairs.append((float(np.mean(since)), row["KID"]))
            since = []
    guesses, kids = np.array(pairs).T
    print(
        f"{run.name}: {len(pairs)} checkups, Spearman {spearmanr(guesses, kids).statistic:.2f}, "
        f"without the first {spearmanr(guesses[1:], kids[1:]).statistic:.2f}; "
        f"estimate {guesses[0]:.3g} to {guesses[-1]:.3g}, KID {kids[0]:.3f} to {kids[-1]:.3f}, "
        f"lowest {kids.min():.3f}"
    )


def gradients(seeds: list[int]) -> None:
    """D alone is trained against a fixed G: the length of the gradient that G's loss has at a fake image."""
    losses: dict[str, tuple[str, dict[str, Any]]] = {
        "minimax": ("dcgan", {"loss": "minimax"}),
        "nonsaturating": ("dcgan", {}),
        "wgan": ("wgan", {}),
        "wgan-gp": ("wgan-gp", {}),
    }
    for name, (kind, options) in losses.items():
        for seed in seeds:
            found = ", ".join(f"{length:.3g} after {updates:,}" for updates, length in lengths(kind, options, seed))
            print(f"{name}, seed {seed}: {found} updates of D", flush=True)


def lengths(kind: str, options: dict[str, Any], seed: int) -> Iterator[tuple[int, float]]:
    images, cpu, ranks = data.load("digits", resolution=16, progress=False), torch.device("cpu"), Ranks("cpu")
    batches = Batches(images, seed=seed, size=64, ranks=ranks, device=cpu, flips=False)
    torch.manual_seed(seed)
    made: Any = find(kind)(find(kind).config_class(batch=64, width=16, **options), Shape(1, 16))
    made.G.requires_grad_(False)
    for update in range(LOOKS[-1] + 1):
        batch = batches.draw(update)
        batch.begin(seed, update)
        batch["fake"] = made.G(batch.normal(*made.latent))
        if update in LOOKS:
            batch["fake"].requires_grad_(True)
            (gradient,) = torch.autograd.grad(made.generator(batch)["fake"], batch["fake"])
            yield update, float(gradient.flatten(1).norm(dim=1).mean() * len(gradient))  # the loss is a mean
            batch["fake"].requires_grad_(False)
        made.optimizers["D"].zero_grad()
        sum(made.phases[0].loss(batch).values()).backward()
        made.optimizers["D"].step()


def rounds(out: Path, seeds: list[int], names: list[str], updates: int, common: dict[str, Any]) -> None:
    """The critics and DCGAN with their usual updates of D, and with ten times as many, at equal updates of G."""
    kinds: dict[str, tuple[str, int, dict[str, Any]]] = {
        "dcgan": ("dcgan-rounds", 1, {"rounds": 1}),
        "dcgan x10": ("dcgan-rounds", 10, {"rounds": 10}),
        "dcgan minimax x10": ("dcgan-rounds", 10, {"rounds": 10, "loss": "minimax"}),
        "wgan": ("wgan", 5, {}),
        "wgan x10": ("wgan", 50, {"critic_rounds": 50}),
        "wgan-gp": ("wgan-gp", 5, {}),
        "wgan-gp x10": ("wgan-gp", 50, {"critic_rounds": 50}),
    }
    for seed in seeds:
        for name in names or kinds:
            kind, draws, options = kinds[name]
            kimg = updates * draws * common["batch"] / 1000
            folder = out / f"{name.replace(' ', '-')}-{seed}"
            checkups = 3 * CHECKUPS if name == "wgan x10" else CHECKUPS
            every = {"evaluate_every": kimg / checkups, "report_kimg": kimg / 24}
            ganfold.train(kind, "digits", folder, kimg=kimg, seed=seed, progress=False, **every, **common, **options)
            kids = [row["KID"] for row in rows(folder) if "KID" in row]
            last = [row for row in rows(folder) if "grad_norm/G" in row][-1]
            print(
                f"{name}, seed {seed}: KID "
                + " ".join(f"{kid:.2f}" for kid in kids)
                + f"; at the end D(x) {last.get('D(x)', float('nan')):.4f}"
                + f", G's gradient {last['grad_norm/G']:.3g}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("estimate").add_argument("runs", nargs="+", type=Path)
    verbs.add_parser("gradients").add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    over = verbs.add_parser("rounds")
    over.add_argument("out", type=Path)
    over.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    over.add_argument("--updates", type=int, default=300, help="of G, in each run")
    over.add_argument("--networks", choices=list(NETWORKS), default="conv")
    over.add_argument("--only", nargs="+", default=[], metavar="NAME")
    said = parser.parse_args()
    if said.verb == "gradients":
        gradients(said.seeds)
    elif said.verb == "rounds":
        rounds(said.out, said.seeds, said.only, said.updates, NETWORKS[said.networks])
    else:
        for run in said.runs:
            estimate(run)


if __name__ == "__main__":
    main()
