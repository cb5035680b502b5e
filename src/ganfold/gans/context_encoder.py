"""Context encoder: Pathak, Krahenbuhl, Donahue, Darrell, Efros 2016, "Context Encoders: Feature Learning by
Inpainting", arXiv:1604.07379."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative
from ganfold.networks.dcgan import Discriminator, initialise
from ganfold.networks.degrade import centre_hole, random_holes
from ganfold.networks.strided import Double, Halve, pyramid

COLOUR = (123.7, 116.3, 103.5, 255.0)  # the mean of ImageNet in RGB, opaque ...
GREY = (118.0,)  # ... and its mean luminance


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 64  # images per step, over all ranks (the authors' code: 64)
    holes: Literal["centre", "random"] = "centre"  # the middle square of half the side, or three rectangles (sec. 3.3)
    width: Count = 64  # channels of the layer next to the image; doubles with each halving (fig. 9: 64)
    lr: NotNegative = 2e-3  # Adam's learning rate of G, ten times that of D (sec. 5.1) ...
    lr_d: NotNegative = 2e-4  # ... and of D (as in DCGAN)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (as in DCGAN)
    reconstruction: NotNegative = 0.999  # weight of the masked L2 (sec. 5.1: lambda_rec)
    adversarial: NotNegative = 0.001  # weight of D's opinion (sec. 5.1: lambda_adv)
    overlap: Count = 7  # border around the hole that is painted too, in pixels of an image of 128 (sec. 5.1) ...
    overlap_weight: NotNegative = 10.0  # ... and the weight of its L2 (sec. 5.1)


class ChannelWise(nn.Module):
    """A map (B, C, 4, 4) -> the same shape: connects the 16 pixels of each channel, then mixes channels (sec. 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 16, 16).normal_(0.0, 0.02))
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.einsum("bci,cij->bcj", x.flatten(2), self.weight).view_as(x))


class Encoder(nn.Sequential):
    """Images with a hole (B, C, R, R) -> whole images (B, C, R, R) in (-1, 1): DCGAN's D, then its G."""

    def __init__(self, width: int, shape: Shape) -> None:
        widths = pyramid(width, shape.resolution)  # from the image down to 4x4
        layers: list[nn.Module] = [Halve(shape.channels, width), nn.LeakyReLU(0.2, True)]
        for before, after in pairwise(widths):
            layers += [Halve(before, after), nn.BatchNorm2d(after), nn.LeakyReLU(0.2, True)]
        layers += [ChannelWise(widths[-1])]
        for before, after in pairwise([*widths[::-1], shape.channels]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(True), Double(before, after)]
        super().__init__(*layers, nn.Tanh())


class ContextEncoder(GAN):
    config_class = Config
    task = "inpainting"
    conditioned_on_images = True
    image_network = "D.0"  # D's head fits the hole alone

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss = LOSSES["nonsaturating"]
        self.side = max(16, shape.resolution // 2) if config.holes == "centre" else shape.resolution  # of what D sees
        self.border = max(1, round(config.overlap * shape.resolution / 128))
        self.G = Encoder(config.width, shape)
        self.D = Discriminator(config.width, shape.channels, self.side)
        self.apply(initialise)
        self.latent = (1,)  # unused: there is no noise (sec. 5.1)
        self.optimizers = {
            "D": adam(self.D.parameters(), config.lr_d, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def condition(self, batch: Batch) -> Terms:
        x = batch["image"]
        mask = centre_hole(x) if self.config.holes == "centre" else random_holes(x, batch.uniform)
        return {"input": self.masked(x, mask), "mask": mask}

    def masked(self, images: Tensor, mask: Tensor) -> Tensor:
        """Images with a constant colour where the mask is 1 (sec. 4)."""
        channels = images.shape[1]
        mean = images.new_tensor(COLOUR[:channels] if channels >= 3 else GREY).div(127.5).sub(1)
        return torch.where(mask > 0, mean[:, None, None], images)

    def fake(self, batch: Batch) -> Terms:
        condition = self.condition(batch)
        painted = self.G(condition["input"])
        return {"painted": painted, "mask": condition["mask"], "fake": self.composed(painted, condition)}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 2; D does not see the context
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake, probabilities=True)
        return {"real": self.loss.real(real).mean(), "fake": self.loss.fake(fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # eq. 3
        fake = self.judge(batch, batch["fake"])
        batch.watch("D(G(z)) after", fake.sigmoid().mean())
        adversarial = self.loss.generator(fake).mean()
        return {
            "reconstruction": self.config.reconstruction * self.reconstruction(batch),
            "adversarial": self.config.adversarial * adversarial,
        }

    def reconstruction(self, batch: Batch) -> Tensor:
        """The mean squared error in the hole and, with more weight, in a border around it (eq. 1, sec. 5.1)."""
        mask, border = batch["mask"], self.border
        around = F.max_pool2d(mask, 2 * border + 1, 1, border)
        weight = mask + self.config.overlap_weight * (around - mask)
        error = (batch["image"] - batch["painted"]).square().mean(1, keepdim=True)
        return ((weight * error).sum((1, 2, 3)) / around.sum((1, 2, 3))).mean()

    def composed(self, painted: Tensor, condition: Condition) -> Tensor:
        """The painted image inside the hole, the input outside."""
        return torch.where(condition["mask"] > 0, painted, condition["input"])

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,), of the middle alone if the hole is there (at least 16 pixels), else of the whole image."""
        start = (self.shape.resolution - self.side) // 2
        return self.D(images[:, :, start : start + self.side, start : start + self.side])

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.composed(self.G(condition["input"]), condition)
