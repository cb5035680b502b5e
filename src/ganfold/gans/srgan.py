"""SRGAN: Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
arXiv:1609.04802. Up to `pretrain_kimg` it is the SRResNet of that paper."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative
from ganfold.networks.degrade import shrink
from ganfold.networks.perceptual import Perceptual
from ganfold.networks.subpixel import OnShuffled


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 16  # images per step, over all ranks (sec. 3.2)
    scale: Literal[2, 4, 8] = 4  # how many times larger the image becomes (sec. 3.2: 4)
    width: Count = 64  # channels of G's maps and of D's first (fig. 4)
    blocks: Count = 16  # residual blocks of G (fig. 4)
    pretrain_kimg: NotNegative = 100.0  # kimg of pixel loss without D: SRResNet (sec. 3.2: 16,000)
    pretrain_lr: NotNegative = 1e-4  # Adam's learning rate meanwhile (sec. 3.2) [try 1e-3 if time is short]
    lr: NotNegative = 1e-4  # Adam's learning rate after that (sec. 3.2) ...
    drop_kimg: NotNegative = 1600.0  # ... which falls to a tenth after this many kimg with D (sec. 3.2)
    betas: Betas = (0.9, 0.999)  # Adam's beta_1 (sec. 3.2) and beta_2
    content: Literal["both", "features", "pixels"] = "both"  # what G must match (sec. 2.2.1; table 1: one of them)
    vgg: str | None = None  # file of VGG-19's weights; its features then replace EfficientNet's (sec. 2.2.1)
    vgg_layer: Literal["relu5_4", "conv5_4"] = "relu5_4"  # the layer of VGG-19 (sec. 3.2: relu5_4)
    adversarial: NotNegative = 1e-3  # weight of the adversarial loss (eq. 3)


class Block(nn.Module):
    """x + (convolution, BatchNorm, PReLU, convolution, BatchNorm) of x (fig. 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*_conv(width, width), nn.PReLU(), *_conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Module):
    """Images of any size (B, C, H, W) -> (B, C, scale H, scale W), by sub-pixel convolutions (fig. 4)."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        width, ups = config.width, config.scale.bit_length() - 1
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, 1, 4), nn.PReLU())
        self.body = nn.Sequential(*(Block(width) for _ in range(config.blocks)), *_conv(width, width))
        self.last = nn.Sequential()
        for _ in range(ups - 1):
            self.last.extend([nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU()])
        self.last.extend([nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PReLU(), OnShuffled(width, channels)])

    def forward(self, low: Tensor) -> Tensor:
        x = self.first(low)
        return self.last(x + self.body(x))


class Discriminator(nn.Sequential):
    """Images (B, C, R, R) -> one logit each (B,): eight convolutions, of which every second halves (fig. 4)."""

    def __init__(self, width: int, shape: Shape) -> None:
        layers: list[nn.Module] = [nn.Conv2d(shape.channels, width, 3, 1, 1), nn.LeakyReLU(0.2, True)]
        widths = [width << number // 2 for number in range(8)]  # width, width, 2 width, ... 8 width
        for number, (before, after) in enumerate(pairwise(widths), 1):
            layers += [*_conv(before, after, 1 + number % 2), nn.LeakyReLU(0.2, True)]
        features = 8 * width * (shape.resolution // 16) ** 2
        layers += [nn.Flatten(), nn.Linear(features, 16 * width), nn.LeakyReLU(0.2, True)]
        super().__init__(*layers, nn.Linear(16 * width, 1), nn.Flatten(0))


def _conv(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)]


class SRGAN(GAN):
    config_class = Config
    task = "super-resolution"
    conditioned_on_images = True
    planned = ("batch", "width", "pretrain_kimg")
    crops_natively = True  # sec. 3.2: what is learnt from images made small does not hold for a user's, at full size

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if shape.resolution % 16 or shape.resolution > 256:
            sizes = "16, 32, 48, ... 256 pixels a side"
            raise GanfoldError(f"srgan makes images of {sizes}, not {shape.resolution}: give --resolution")
        self.loss = LOSSES["nonsaturating"]
        self.G = Generator(config, shape.channels)
        self.D = Discriminator(config.width, shape)
        self.features = Perceptual(config.vgg, config.vgg_layer)  # frozen: no optimizer has it, and it is never saved
        self.scale, self.reach = config.scale, 9 + 2 * config.blocks
        self.latent = (1,)  # unused: the image follows from the small one
        self.optimizers = {  # two for G: Adam's moments from pretraining do not leak into adversarial training
            "pretraining": adam(self.G.parameters(), config.pretrain_lr, config.betas),
            "D": adam(self.D.parameters(), config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [
            Phase(self.pretraining, "pretraining", until=config.pretrain_kimg),
            Phase(self.discriminator, "D", since=config.pretrain_kimg, since_option="pretrain_kimg"),
            Phase(self.generator, "G", since=config.pretrain_kimg, since_option="pretrain_kimg", early=self.fake),
        ]

    def condition(self, batch: Batch) -> Terms:
        return {"low": shrink(batch["image"], self.config.scale)}

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(self.condition(batch)["low"])}

    def pretraining(self, batch: Batch) -> Terms:  # eq. 4
        if self.config.content != "pixels":
            self.features.load()  # a wrong file fails now, not hours later
        return {"pixels": F.mse_loss(self.fake(batch)["fake"], batch["image"])}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 2
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake, probabilities=True)
        return {"real": self.loss.real(real).mean(), "fake": self.loss.fake(fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # the perceptual loss, eq. 3: content (eq. 4 or 5) and eq. 6
        fake = self.judge(batch, batch["fake"])
        batch.watch("D(G(z)) after", fake.sigmoid().mean())
        terms = {"fake": self.config.adversarial * self.loss.generator(fake).mean()}
        if self.config.content != "features":
            terms["pixels"] = F.mse_loss(batch["fake"], batch["image"])
        if self.config.content != "pixels":
            terms["features"] = self.features(batch["fake"], batch["image"])
        return terms

    def rate(self, images: int) -> float:
        kimg = images / 1000 - self.config.pretrain_kimg
        return 1.0 if kimg < self.config.drop_kimg else 0.1

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        return self.D(images)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(condition["low"]).clamp(-1, 1)
