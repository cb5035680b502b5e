"""`wgan` and `wgan-gp` with the networks of their papers and programs, for equal computing time; see the entries
lab/entries/2026-11-25-does-wgan-train-a-fully-connected-generator.md and
lab/entries/2026-11-25-do-first-samples-begin-saturated.md.

python lab/scripts/wgan_networks.py OUT fully-connected --data digits --seeds 0 1
python lab/scripts/wgan_networks.py OUT gradient-penalty --data digits avatars --seeds 0
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import nn

import equal_time
from ganfold.gans import dcgan, wgan_gp
from ganfold.gans.contract import GAN, Shape, adam_pair
from ganfold.networks import mlp
from harness import record


class FullyConnected(dcgan.DCGAN):
    """The ordinary game with the networks of `wgan --networks mlp-g`."""

    def __init__(self, config: dcgan.Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.G = mlp.PlainGenerator(config.z_dim, shape.channels, shape.resolution)
        self.optimizers = adam_pair(self, config)


class FansOfTheTranspose(wgan_gp.WGANGP):
    """The first weights that PyTorch's `kaiming_uniform_` gives, as version 0.1.0 has them."""

    def __init__(self, config: wgan_gp.Config, shape: Shape) -> None:
        super().__init__(config, shape)
        for layer in self.G.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(layer.weight)


VARIANTS: dict[str, dict[str, tuple[str | type[GAN], dict[str, Any]]]] = {
    "fully-connected": {
        "wgan, G fully connected": ("wgan", {"networks": "mlp-g"}),
        "gan, G fully connected": (FullyConnected, {"batch": 64}),
        "wgan, convolutions": ("wgan", {}),
        "wgan, both fully connected": ("wgan", {"networks": "mlp"}),
    },
    "gradient-penalty": {
        "the defaults": ("wgan-gp", {}),
        "first weights by the output channels": (FansOfTheTranspose, {}),
        "layer normalisation in D": ("wgan-gp", {"norm": "layer"}),
        "kernels of 5 x 5": ("wgan-gp", {"kernel": 5}),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("question", choices=list(VARIANTS))
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--only", nargs="+", default=[], metavar="VARIANT")
    requested = parser.parse_args()
    torch.set_num_threads(1)
    for seed in requested.seeds:
        for source in requested.data:
            for variant in requested.only or VARIANTS[requested.question]:
                gan, options = VARIANTS[requested.question][variant]
                out = requested.out / f"{variant.replace(' ', '-').replace(',', '')}-{source}-{seed}"
                run = equal_time.train(gan, source, out, requested.minutes, seed, options)
                metrics = equal_time.seen(run) | equal_time.measure(run)
                print(f"{variant}, {source}, seed {seed}: {metrics}", flush=True)
                name = f"wgan-{requested.question}"
                protocol = {"variant": variant, "minutes": requested.minutes}
                record(name, metrics, seed=seed, data=run.record.data, source=source, **protocol)


if __name__ == "__main__":
    main()
