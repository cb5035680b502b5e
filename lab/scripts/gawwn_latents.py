"""Why does z do next to nothing in `gawwn`? Its D with a joint head, and a term of its own, for equal computing time;
see lab/entries/2026-11-25-can-z-matter-in-gawwn.md.

python lab/scripts/gawwn_latents.py OUT --minutes 3 --seeds 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import equal_time
import ganfold
from ganfold.gans import gawwn
from ganfold.gans.contract import Batch, Shape, Terms, adam_pair
from ganfold.networks.dcgan import initialise
from ganfold.networks.placing import crop
from harness import record

COUNT = 64
BOX = (0.2, 0.15, 0.6, 0.7)
CAPTIONS = ("short black hair, pale skin", "long orange hair, pale skin, glasses", "blond mohawk, tan skin, sad")
HAIR = ("black", "brown", "blond", "orange", "pink", "blue", "green", "white")
SKIN = ("pale skin", "tan skin", "brown skin", "dark skin")


class JointD(gawwn.Discriminator):
    """Both pathways end in a vector, and two layers judge the joined vectors, as in the authors' program."""

    def __init__(self, config: gawwn.Config, shape: Shape) -> None:
        super().__init__(config, shape)
        for pathway in (self.everywhere, self.local):
            last = pathway[-1]
            assert isinstance(last, nn.Conv2d)
            pathway[-1] = nn.Sequential(nn.Conv2d(last.in_channels, 2 * config.width, 4), nn.Flatten())
        layers = (nn.Linear(4 * config.width, config.width), nn.LeakyReLU(0.2), nn.Linear(config.width, 1))
        self.head = nn.Sequential(nn.LeakyReLU(0.2), *layers, nn.Flatten(0))

    def forward(self, x: Tensor, place: Tensor, *texts: Tensor) -> list[Tensor]:
        (box, maps), x = self.place(place), self.trunk(x)
        seen = self.seen(crop(torch.cat([x, maps], 1), box, self.place.side))
        everywhere = self.everywhere(x)
        said = [self.local(seen + self.said(self.text(text))[:, :, None, None]) for text in texts]
        return [self.head(torch.cat([everywhere, local], 1)) for local in said]


class JointHead(gawwn.GAWWN):
    def __init__(self, config: gawwn.Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.D = JointD(config, shape)
        self.D.apply(initialise)
        for layer in (self.D.seen, *self.D.local):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, 0.2)
        self.optimizers = adam_pair(self, config)


class ModeSeeking(gawwn.GAWWN):
    """G is paid for images that differ as their latents do (Mao 2019, "Mode seeking GANs", arXiv:1903.05628, eq. 2)."""

    def fake(self, batch: Batch) -> Terms:
        z = batch.normal(*self.latent)
        return {"fake": self.sample(z, self.condition(batch)), "z": z}

    def generator(self, batch: Batch) -> Terms:
        z = batch.normal(*self.latent)
        images = (self.sample(z, self.condition(batch)) - batch["fake"]).abs().mean()
        ratio = images / (z - batch["z"]).abs().mean()
        return super().generator(batch) | {"variety": 1 / (ratio + 1e-5)}


class WeakModeSeeking(ModeSeeking):
    """The same with a tenth of the weight."""

    def generator(self, batch: Batch) -> Terms:
        terms = super().generator(batch)
        return terms | {"variety": terms["variety"] / 10}


VARIANTS = {
    "as it is": gawwn.GAWWN,
    "joint head": JointHead,
    "mode seeking": ModeSeeking,
    "mode seeking, a tenth": WeakModeSeeking,
}


def deviations(run: ganfold.Run) -> dict[str, float]:
    """How much a pixel deviates, in levels of 255: over latents with one caption, and over captions with one latent."""
    over_z = [run.sample(COUNT, 0, text=text, box=BOX).astype(float).std(0).mean() for text in CAPTIONS]
    texts = [f"short {hair} hair, {skin}" for hair in HAIR for skin in SKIN]
    over_texts = torch.stack([torch.tensor(run.sample(1, 0, text=text, box=BOX)[0]).float() for text in texts])
    return {"over latents": float(sum(over_z) / len(over_z)), "over captions": over_texts.std(0).mean().item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    requested = parser.parse_args()
    torch.set_num_threads(1)
    for seed in requested.seeds:
        for variant in requested.only:
            out = requested.out / f"{variant.replace(' ', '-').replace(',', '')}-{seed}"
            options = {"decay_kimg": 12.0 * requested.minutes}
            run = equal_time.train(VARIANTS[variant], "scenes", out, requested.minutes, seed, options)
            found = ganfold.evaluate(run, progress=False)
            metrics = equal_time.seen(run) | deviations(run)
            metrics |= {metric.name: round(metric.value, 4) for metric in found.metrics}
            metrics |= {metric.name: round(next(iter(metric.values.values())), 4) for metric in found.task}
            print(f"{variant}, seed {seed}: {metrics}", flush=True)
            protocol = {"variant": variant, "minutes": requested.minutes}
            record("gawwn-latents", metrics, seed=seed, data=run.record.data, **protocol)


if __name__ == "__main__":
    main()
