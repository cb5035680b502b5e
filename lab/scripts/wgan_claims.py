"""What Arjovsky 2017 and Gulrajani 2017 claim of the critic, measured on the bundled digits; the pages of
`wgan` and `wgan-gp` in docs/gans/ link to the entries.

python lab/scripts/wgan_claims.py estimate RUN...     does the critic's estimate follow the samples' quality?
python lab/scripts/wgan_claims.py gradients           which gradient does G get while D learns and G stands still?
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
from ganfold.gans import dcgan, find
from ganfold.gans.contract import GAN, Batch, Phase, Shape, Terms, adam_pair
from ganfold.networks import mlp
from ganfold.runs.record import DataRecord
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from harness import protocol_of, record

CHECKUPS = 4  # in each run; three times as many where the critic's estimate should be at its best
LOOKS = (1, 10, 100, 300, 1000)  # updates of D after which the gradient is measured
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
            self.G = mlp.Generator(config.z_dim, shape.channels, shape.resolution)
            self.D = mlp.Discriminator(shape.channels, shape.resolution)  # type: ignore[assignment]
            self.optimizers = adam_pair(self, config)
        self.phases = [
            Phase(self.discriminator, "D", rounds=config.rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def discriminator(self, batch: Batch) -> Terms:
        batch.update(self.fake(batch))  # G's weights are frozen meanwhile
        return super().discriminator(batch)


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def estimate(path: Path) -> None:
    """The rank correlation over a run of the critic's estimate, averaged between two checkups, and their KID."""
    pairs: list[tuple[float, float]] = []
    since: list[float] = []
    for row in rows(path):
        if "wasserstein" in row:
            since.append(row["wasserstein"])
        if "KID" in row and since:
            pairs.append((float(np.mean(since)), row["KID"]))
            since = []
    guesses, kids = np.array(pairs).T
    metrics = {
        "checkups": len(pairs),
        "Spearman": float(spearmanr(guesses, kids).statistic),
        "Spearman without the first": float(spearmanr(guesses[1:], kids[1:]).statistic),
        "estimate, first": guesses[0],
        "estimate, last": guesses[-1],
        "KID, first": kids[0],
        "KID, last": kids[-1],
        "KID, lowest": kids.min(),
    }
    print(
        f"{path.name}: {len(pairs)} checkups, Spearman {metrics['Spearman']:.2f}, "
        f"without the first {metrics['Spearman without the first']:.2f}; "
        f"estimate {guesses[0]:.3g} to {guesses[-1]:.3g}, KID {kids[0]:.3f} to {kids[-1]:.3f}, "
        f"lowest {kids.min():.3f}"
    )
    run = ganfold.load(path)
    record("wgan_estimate", metrics, seed=run.record.settings.seed, data=run.record.data, **protocol_of(run))


def gradients(seeds: list[int]) -> None:
    """While D learns and G stands still: the length of the gradient that G's loss has at a fake image."""
    losses: dict[str, tuple[str, dict[str, Any]]] = {
        "minimax": ("dcgan", {"loss": "minimax"}),
        "nonsaturating": ("dcgan", {}),
        "wgan": ("wgan", {}),
        "wgan-gp": ("wgan-gp", {}),
    }
    images = data.load("digits", resolution=16, progress=False)
    for name, (gan, options) in losses.items():
        for seed in seeds:
            metrics = {
                f"after {updates:,} updates": length for updates, length in lengths(find(gan), options, images, seed)
            }
            shown = ", ".join(f"{length:.3g} {after.removesuffix(' updates')}" for after, length in metrics.items())
            print(f"{name}, seed {seed}: {shown} updates of D", flush=True)
            record("wgan_gradients", metrics, seed=seed, data=DataRecord.of(images), loss=name)


def lengths(
    gan_class: type[GAN], options: dict[str, Any], images: data.ImageSet, seed: int
) -> Iterator[tuple[int, float]]:
    """The number of D's updates, and the mean length of the gradient at a fake image after them."""
    cpu, ranks = torch.device("cpu"), Ranks("cpu")
    batches = Batches(images, seed=seed, size=64, ranks=ranks, device=cpu, flips=False)
    torch.manual_seed(seed)
    gan: Any = gan_class(gan_class.config_class(batch=64, width=16, **options), Shape(1, 16))
    gan.G.requires_grad_(False)
    for update in range(LOOKS[-1] + 1):
        batch = batches.draw(update)
        batch.begin(seed, update)
        batch["fake"] = gan.G(batch.normal(*gan.latent))
        if update in LOOKS:
            batch["fake"].requires_grad_(True)
            (gradient,) = torch.autograd.grad(gan.generator(batch)["fake"], batch["fake"])
            yield update, float(gradient.flatten(1).norm(dim=1).mean() * len(gradient))  # the loss is a mean
            batch["fake"].requires_grad_(False)
        gan.optimizers["D"].zero_grad()
        sum(gan.phases[0].loss(batch).values()).backward()
        gan.optimizers["D"].step()


def rounds(out: Path, seeds: list[int], names: list[str], updates: int, networks: str) -> None:
    """The critics and DCGAN with their usual updates of D, and with ten times as many, at equal updates of G."""
    variants: dict[str, tuple[str | type[GAN], int, dict[str, Any]]] = {  # GAN, updates of D for each of G, options
        "dcgan": (Rounds, 1, {"rounds": 1}),
        "dcgan x10": (Rounds, 10, {"rounds": 10}),
        "dcgan minimax x10": (Rounds, 10, {"rounds": 10, "loss": "minimax"}),
        "wgan": ("wgan", 5, {}),
        "wgan x10": ("wgan", 50, {"critic_rounds": 50}),
        "wgan-gp": ("wgan-gp", 5, {}),
        "wgan-gp x10": ("wgan-gp", 50, {"critic_rounds": 50}),
    }
    common = NETWORKS[networks]
    for seed in seeds:
        for name in names or variants:
            gan, draws, options = variants[name]
            kimg = updates * draws * common["batch"] / 1000
            folder = out / f"{name.replace(' ', '-')}-{seed}"
            checkups = 3 * CHECKUPS if name == "wgan x10" else CHECKUPS
            every = {"evaluate_every": kimg / checkups, "report_kimg": kimg / 24}
            run = ganfold.train(
                gan, "digits", folder, kimg=kimg, seed=seed, progress=False, **every, **common, **options
            )
            kids = [row["KID"] for row in rows(folder) if "KID" in row]
            last = [row for row in rows(folder) if "grad_norm/G" in row][-1]
            print(
                f"{name}, seed {seed}: KID "
                + " ".join(f"{kid:.2f}" for kid in kids)
                + f"; at the end D(x) {last.get('D(x)', float('nan')):.4f}"
                + f", G's gradient {last['grad_norm/G']:.3g}",
                flush=True,
            )
            metrics = {
                "KID": kids[-1] if kids else None,
                "D(x)": last.get("D(x)"),
                "G's gradient": last["grad_norm/G"],
                "all KID": kids,
            }
            trained_on = run.record.data
            record("wgan_rounds", metrics, seed=seed, data=trained_on, variant=name, networks=networks, updates=updates)


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
    requested = parser.parse_args()
    if requested.verb == "gradients":
        gradients(requested.seeds)
    elif requested.verb == "rounds":
        rounds(requested.out, requested.seeds, requested.only, requested.updates, requested.networks)
    else:
        for run in requested.runs:
            estimate(run)


if __name__ == "__main__":
    main()
