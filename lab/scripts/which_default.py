"""Which GAN learns most in a few minutes on a CPU: DCGAN and what could be better, each for the same time; see
lab/entries/2026-11-24-which-gan-is-best-in-fifteen-minutes.md.

    OMP_NUM_THREADS=1 python lab/scripts/which_default.py relativistic --minutes 5 --seed 0

Minutes are of the process's own computing: other work on the machine does not count. KID and the other metrics are
those of `ganfold evaluate`, of the last checkpoint, against the held-out images. They are taken twice: of the samples
as they are, and of samples that are flattened as `rsgan --flatten` does it, whatever the GAN.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import ganfold
from equal_time import measure, seen, train
from ganfold import data as ganfold_data
from ganfold.gans import GANS
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair, cosine
from ganfold.gans.losses import LOSSES, relativistic
from ganfold.metrics.features import efficientnet
from ganfold.metrics.manifold import manifold
from ganfold.networks import dcgan, residual
from ganfold.networks.augment import augment
from ganfold.networks.smooth import flatten
from ganfold.networks.strided import pyramid
from ganfold.training.checkups import SIZE
from harness import record


@dataclass(frozen=True)
class Config:
    batch: int = 32
    z_dim: int = 64
    width: int = 32  # of G
    width_d: int = 32
    generator: Literal["dcgan", "residual"] = "dcgan"
    critic: Literal["dcgan", "group norm", "no norm", "residual"] = "dcgan"
    loss: str = "nonsaturating"  # or relativistic
    gamma: float = 0.0  # R1 + R2 by differences on a quarter of the batch
    lr: float = 2e-4
    decay_kimg: float = 0.0  # a cosine to a tenth; 0: none
    betas: tuple[float, float] = (0.5, 0.999)
    augment: float = 0.0


class Variant(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        channels, resolution = shape.channels, shape.resolution
        if config.generator == "residual":
            widths = pyramid(config.width, resolution)[::-1]
            self.G: nn.Module = residual.Generator(config.z_dim, widths, 1, channels, 0, norm=False)
        else:
            self.G = dcgan.Generator(config.z_dim, config.width, channels, resolution).apply(dcgan.initialise)
        if config.critic == "residual":
            self.D: nn.Module = residual.Discriminator(pyramid(config.width_d, resolution), 1, channels, 0)
        else:
            norm = nn.BatchNorm2d if config.critic != "no norm" else None
            self.D = dcgan.Discriminator(config.width_d, channels, resolution, norm=norm, twice=norm is None)
            self.D.apply(dcgan.initialise)
        if config.critic == "no norm":
            for layer in self.D.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, a=0.2)
        if config.critic == "group norm":
            trunk: Any = next(self.D.children())
            for number, layer in enumerate(trunk):
                if isinstance(layer, nn.BatchNorm2d):
                    trunk[number] = nn.GroupNorm(layer.num_features // 16, layer.num_features)
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return cosine(images, self.config.decay_kimg, 0.1) if self.config.decay_kimg else 1.0

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.sample(batch.normal(*self.latent))}

    def discriminator(self, batch: Batch) -> Terms:
        images = self.augment(batch, batch["image"]), self.augment(batch, batch["fake"])
        if self.config.critic == "dcgan":  # reals and fakes apart, each with their own BatchNorm statistics
            real, fake = map(self.score, images)
        else:
            some = len(images[0]) // 4 if self.config.gamma else 0
            near = [part[:some] + 0.01 * batch.normal(*part.shape[1:])[:some] for part in images]
            sizes = [len(part) for part in (*images, *near)]
            real, fake, *moved = self.score(torch.cat([*images, *near])).split(sizes)  # type: ignore[no-untyped-call]
        terms = {"game": relativistic(real, fake).mean()}
        if self.config.loss != "relativistic":
            loss = LOSSES[self.config.loss]
            terms = {"real": loss.real(real).mean(), "fake": loss.fake(fake).mean()}
        if self.config.gamma:
            slopes = [((a - b[: len(a)]) / 0.01).square().mean() for a, b in zip(moved, (real, fake), strict=True)]
            terms |= {"penalty": self.config.gamma / 2 * (slopes[0] + slopes[1])}
            if self.config.loss == "relativistic":
                terms |= {"centring": 0.01 * (real + fake).square().mean()}
        return terms

    def generator(self, batch: Batch) -> Terms:
        fake = self.score(self.augment(batch, batch["fake"]))
        if self.config.loss != "relativistic":
            return {"fake": LOSSES[self.config.loss].generator(fake).mean()}
        return {"game": relativistic(fake, self.score(self.augment(batch, batch["image"]))).mean()}

    def score(self, images: Tensor) -> Tensor:
        if self.config.critic != "residual":
            return self.D(images)
        return self.D(images, None, torch.ones(()))

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z, None, torch.ones(())) if self.config.generator == "residual" else self.G(z)


PENALISED = {"loss": "relativistic", "augment": 0.5, "betas": (0.0, 0.99)}
VARIANTS: dict[str, dict[str, Any]] = {
    "small dcgan": {"z_dim": 100},
    "faster": {"z_dim": 100, "lr": 5e-4},
    "narrow": {"z_dim": 100, "width": 16, "width_d": 16, "batch": 16, "lr": 5e-4},
    "narrow d": {"width_d": 16, "lr": 5e-4},
    "residual": PENALISED
    | {"generator": "residual", "critic": "residual", "width": 16, "width_d": 16, "lr": 5e-4, "gamma": 0.2},
    "no norm": PENALISED | {"critic": "no norm", "lr": 5e-4, "gamma": 0.2},
    "group norm": PENALISED | {"critic": "group norm", "gamma": 0.05, "betas": (0.5, 0.999)},
    "no norm, long": PENALISED | {"critic": "no norm", "lr": 5e-4, "gamma": 0.05, "augment": 0.3, "decay_kimg": 300.0},
    "cosine": {"width_d": 24, "lr": 1e-3, "decay_kimg": 150.0},
    "cosine, faster": {"width_d": 24, "lr": 2e-3, "decay_kimg": 150.0},
    "relativistic": {"width_d": 24, "lr": 1e-3, "decay_kimg": 150.0, "loss": "relativistic"},
}


def few(source: str, count: int, seed: int, out: Path) -> tuple[Path, Path]:
    """Write two files of images, drawn by the seed: `count` images of the source, and 1,200 others."""
    images = ganfold_data.load(source, resolution=32, progress=False)
    order = np.random.default_rng(seed).permutation(len(images))
    out.mkdir(parents=True, exist_ok=True)
    paths = out / f"{source}-{count}-{seed}.npy", out / f"{source}-others-{count}-{seed}.npy"
    for path, chosen in zip(paths, (order[:count], order[count : count + 1200]), strict=True):
        np.save(path, images.images[np.sort(chosen)].transpose(0, 2, 3, 1))
    return paths


def coarse(run: ganfold.Run) -> dict[str, float]:
    """The shares as checkups measure them, from features at 112 px. At 224 px they can be 0 for every GAN."""
    images = run.images(progress=False)
    samples = run.sample(len(images.held_out)).transpose(0, 3, 1, 2)
    features = efficientnet(SIZE, torch.device("cpu"))
    shares = manifold(features(np.ascontiguousarray(samples)), features(images.images[images.held_out]))
    return {name: round(getattr(shares, name)[0], 4) for name in ("precision", "recall", "coverage")}


def flattened(run: ganfold.Run) -> ganfold.Run:
    """The same run, with its samples flattened."""
    copy = ganfold.load(run.path, "last", run.gan_class)
    draw = copy.gan.sample
    vars(copy.gan)["sample"] = lambda z, condition=NOTHING: flatten(draw(z, condition))
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=[*VARIANTS, *GANS], help="one of ours, or a GAN of the package as it is")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="avatars")
    parser.add_argument("--few", type=int, help="train on so many of the images, measured against 1,200 others")
    parser.add_argument("--out", type=Path, default=Path("runs", "which-default"))
    parser.add_argument("--options", default="{}", help="more of `ganfold.train`'s options, as JSON")
    requested = parser.parse_args()
    variant, seed, minutes = requested.variant, requested.seed, requested.minutes
    options = json.loads(requested.options)
    name = f"{variant.replace(' ', '-')}-{requested.data}{requested.few or ''}-{minutes:g}-{seed}"
    source, others = requested.data, None
    if requested.few:
        source, others = few(requested.data, requested.few, seed, requested.out)
    gan: str | type[GAN] = Variant if variant in VARIANTS else variant
    last = train(gan, source, requested.out / name, minutes, seed, VARIANTS.get(variant, {}) | options)
    amount, flat = seen(last), measure(flattened(last), others)
    print(name, "flattened", flat, flush=True)
    plain = measure(last, others)
    print(name, f"{amount['kimg']:g} kimg {amount['updates']} updates", plain, flush=True)
    metrics = amount | plain | {f"{metric}, flattened": value for metric, value in flat.items()}
    if not others:
        shares = coarse(last)
        print(name, "at 112 px", shares, flush=True)
        metrics |= {f"{metric} at 112 px": value for metric, value in shares.items()}
    data = f"{requested.few} images of {requested.data}" if requested.few else last.record.data
    record("which_default", metrics, seed=seed, data=data, variant=variant, minutes=minutes, **options)


if __name__ == "__main__":
    main()
