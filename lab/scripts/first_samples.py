"""Do the first samples of a GAN, before any update, lie at the ends of the range, where tanh has no slope?

python lab/scripts/first_samples.py [--seeds 0 1 2] [--gans wgan-gp]

A pixel beyond 0.99 in [-1, 1] counts as saturated. One row for each GAN, kind of image and seed.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from ganfold.gans import noise
from ganfold.gans.contract import Shape
from ganfold.gans.registry import find
from harness import record

GANS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gan", {}),
    ("dcgan", {}),
    ("wgan", {}),
    ("wgan-gp", {"networks": "conv"}),
    ("wgan-gp", {"networks": "mlp"}),
    ("rsgan", {}),
    ("r3gan", {}),
)
IMAGES = {"grey, 32 px": Shape(1, 32), "RGB, 32 px": Shape(3, 32), "RGB, 64 px": Shape(3, 64)}
COUNT = 256


def saturated(name: str, options: dict[str, Any], shape: Shape, seed: int) -> float:
    """The share of the pixels of first samples that lie beyond 0.99."""
    torch.manual_seed(seed)
    gan_class = find(name)
    gan = gan_class(gan_class.config_class(**options), shape).train()
    z = noise.normal(noise.key_of(seed, "first samples"), torch.arange(COUNT), *gan.latent)
    with torch.no_grad():
        return (gan.sample(z).abs() > 0.99).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--gans", nargs="+", default=[name for name, _ in GANS])
    requested = parser.parse_args()
    for name, options in GANS:
        for images, shape in IMAGES.items():
            for seed in requested.seeds if name in requested.gans else ():
                share = saturated(name, options, shape, seed)
                networks = options.get("networks", "the default")
                print(f"{name}, {networks} networks, {images}, seed {seed}: {share:.4f}")
                record("first_samples", {"saturated": share}, seed=seed, gan=name, networks=networks, images=images)


if __name__ == "__main__":
    main()
