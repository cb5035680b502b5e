"""pix2pix: Isola, Zhu, Zhou, Efros 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
arXiv:1611.07004."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import (
    GAN,
    NOTHING,
    Batch,
    Condition,
    DataKind,
    Phase,
    Shape,
    Terms,
    adam_pair,
    second_half,
)
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative
from ganfold.networks.dcgan import initialise
from ganfold.networks.degrade import edges, enlarge, grey, random_holes, shrink
from ganfold.networks.patch import PatchGAN
from ganfold.networks.strided import Double, Halve, halvings


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 16  # images per step, over all ranks (sec. 3.3: 1 to 10, which give BatchNorm poor averages)
    input: Literal["pairs", "edges", "grey", "lowres", "masked"] = "pairs"  # in the data, or made of each image
    scale: Count = 4  # of --input lowres: how many times smaller it is
    width: Count = 64  # channels next to the image; doubles with each halving, up to 8 times this (sec. 6.1)
    patch: Literal[16, 34, 70] = 70  # side of the patches that D judges, in pixels (sec. 4.4); at most the image's
    l1: NotNegative = 100.0  # weight of the absolute difference (sec. 4.2: lambda)
    lr: NotNegative = 2e-4  # Adam's learning rate (sec. 3.3) ...
    decay_kimg: NotNegative = 200.0  # ... falls to 1 % in the second half of this many kimg (the code: 200 epochs)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (sec. 3.3)


class Generator(nn.Module):
    """Inputs (B, C', H, W) and z -> images (B, C, H, W) in (-1, 1): a U-Net, down to 1 x 1 pixel (sec. 6.1.1).

    Dropout is its only noise (sec. 3.1): it drops a channel of the first maps on the way up where z < 0.
    """

    def __init__(self, inputs: int, width: int, shape: Shape) -> None:
        super().__init__()
        depth = halvings(shape.resolution) + 2
        widths = [width * min(8, 1 << number) for number in range(depth)]
        self.down, self.up = nn.ModuleList([Halve(inputs, width)]), nn.ModuleList()
        for before, after in pairwise(widths):  # BatchNorm at 1 x 1 would erase a lone image
            norm = [nn.BatchNorm2d(after)] if len(self.down) < depth - 1 else []
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), Halve(before, after), *norm))
        for before, after in pairwise(widths[::-1]):
            joined = 2 * before if len(self.up) else before
            self.up.append(nn.Sequential(nn.ReLU(), Double(joined, after), nn.BatchNorm2d(after)))
        self.up.append(nn.Sequential(nn.ReLU(), Double(2 * width, shape.channels), nn.Tanh()))
        self.dropped = widths[-2::-1][: min(3, depth - 2)]  # channels of the first three maps up

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        maps, kept = [], iter(torch.split(z, self.dropped, 1))
        for down in self.down:
            x = down(x)
            maps.append(x)
        maps.pop()
        for up in self.up:
            x = up(x)
            if (mask := next(kept, None)) is not None:
                x = x * (2 * (mask > 0))[:, :, None, None]
            if maps:
                x = torch.cat([x, maps.pop()], 1)
        return x


class Pix2Pix(GAN):
    config_class = Config
    task = "translation"
    conditioned_on_images = True
    planned = ("batch", "width", "decay_kimg")
    image_network = None  # D sees the input too

    @staticmethod
    def data_kind(config: Config) -> DataKind:
        return "pairs" if config.input == "pairs" else "images"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.input == "grey" and shape.channels == 1:
            raise GanfoldError("--input grey makes colours of grey, and these images have none: give --channels 3")
        if config.input == "lowres" and shape.resolution % config.scale:
            raise GanfoldError(f"--scale {config.scale} must divide the resolution, {shape.resolution}")
        self.loss, self.multiple = LOSSES["nonsaturating"], shape.resolution
        self.input_kind = "image" if config.input == "pairs" else config.input
        self.scale = config.scale if config.input == "lowres" else 1
        inputs = {"pairs": shape.inputs, "edges": 1, "grey": 1, "lowres": shape.channels, "masked": shape.channels + 1}
        self.G = Generator(inputs[config.input], config.width, shape)
        seen = inputs[config.input] + shape.channels
        self.D = PatchGAN(seen, config.width, shape.resolution, config.patch, nn.BatchNorm2d)
        self.apply(initialise)
        self.latent = (sum(self.G.dropped),)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return second_half(images, self.config.decay_kimg)

    def condition(self, batch: Batch) -> Terms:
        y = batch["image"]
        match self.config.input:
            case "pairs":
                x = batch["input"]
            case "edges":
                x = edges(y)
            case "grey":
                x = grey(y)
            case "lowres":
                x = enlarge(shrink(y, self.config.scale), self.config.scale)
            case "masked":
                seen = 1 - random_holes(y, batch.uniform)
                x = torch.cat([y * seen, 2 * seen - 1], 1)  # the last channel is 1 where x is known
        return {"input": x}

    def fake(self, batch: Batch) -> Terms:
        condition = self.condition(batch)
        return {"fake": self.sample(batch.normal(*self.latent), condition), **condition}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 1, halved (sec. 3.3); D sees the input too
        real = self.D(torch.cat([batch["input"], batch["image"]], 1))
        fake = self.D(torch.cat([batch["input"], batch["fake"]], 1))
        watch_logits(batch, real, fake)
        batch.watch("D(x, y)", real.sigmoid().mean())
        batch.watch("D(x, G(x)) before", fake.sigmoid().mean())
        return {"real": self.loss.real(real).mean() / 2, "fake": self.loss.fake(fake).mean() / 2}

    def generator(self, batch: Batch) -> Terms:  # eq. 4; the non-saturating game (sec. 3.3)
        fake = self.D(torch.cat([batch["input"], batch["fake"]], 1))
        batch.watch("D(x, G(x)) after", fake.sigmoid().mean())
        difference = (batch["fake"] - batch["image"]).abs().mean()  # eq. 3
        return {"fake": self.loss.generator(fake).mean(), "l1": self.config.l1 * difference}

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(condition["input"], z)
