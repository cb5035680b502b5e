"""CGAN: Mirza, Osindero 2014, "Conditional Generative Adversarial Nets", arXiv:1411.1784, with the networks of `dcgan`
or, as in the paper, fully connected ones."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative, Share
from ganfold.networks import dcgan, mlp
from ganfold.networks.augment import augment
from ganfold.networks.uniform import Uniform


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 64  # images per step, over all ranks (sec. 4.1: 100)
    networks: Literal["conv", "mlp"] = "conv"  # those of `dcgan`, or those of `gan` as in the paper
    z_dim: Count = 100  # dimensions of the latent z (sec. 4.1: 100)
    latent: Literal["normal", "uniform"] = "normal"  # distribution of z; uniform in [-1, 1] (sec. 4.1: uniform)
    label_dim: Count = 50  # dimensions of G's embedding of the label (sec. 4.1: a hidden layer of 1000 for y)
    width: Count = 64  # of conv: channels of the layer next to the image; doubles with each halving
    lr: NotNegative = 2e-4  # Adam's learning rate (sec. 4.1: SGD, from 0.1 down to 1e-6)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2
    augment: Share = 0.0  # share of D's images shifted, recoloured, cut out; for few images (Zhao 2020) [try 0.5]


class Generator(nn.Module):
    """z (B, z_dim) and y (B,) -> images (B, C, R, R): an embedding of y joined to z (fig. 1)."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        z_dim, size = config.z_dim + config.label_dim, (shape.channels, shape.resolution)
        self.spread = Uniform() if config.latent == "uniform" else nn.Identity()
        self.label = nn.Embedding(shape.classes, config.label_dim)
        nn.init.normal_(self.label.weight, 0, 0.1)  # small: if it is as large as z, each class becomes one image
        conv = config.networks == "conv"
        self.main = dcgan.Generator(z_dim, config.width, *size) if conv else mlp.Generator(z_dim, *size)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.main(torch.cat([self.spread(z), self.label(y)], 1))


class Discriminator(nn.Module):
    """Images (B, C, R, R) and y (B,) -> one logit each (B,): an embedding of y joined to x as one more channel."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        size = (shape.channels + 1, shape.resolution)
        self.label = nn.Sequential(
            nn.Embedding(shape.classes, shape.resolution**2), nn.Unflatten(1, (1, shape.resolution, shape.resolution))
        )
        conv = config.networks == "conv"
        self.main = dcgan.Discriminator(config.width, *size) if conv else mlp.Discriminator(*size)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.main(torch.cat([x, self.label(y)], 1))


class CGAN(GAN):
    config_class = Config
    study_options = MappingProxyType({"width": 32})
    conditional = needs_labels = can_take_labels = True
    image_network = None  # D sees the label too

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if shape.classes < 2:
            raise GanfoldError("cgan needs labels: give each class a sub-folder, or metadata.csv a column `label`")
        self.loss = LOSSES["nonsaturating"]
        self.G = Generator(config, shape)
        self.D = Discriminator(config, shape)
        self.apply(dcgan.initialise)
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.sample(batch.normal(*self.latent), self.condition(batch))}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 2; a fake is judged with the label that it was made for
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake, probabilities=True)
        return {"real": self.loss.real(real).mean(), "fake": self.loss.fake(fake).mean()}

    def generator(self, batch: Batch) -> Terms:
        fake = self.judge(batch, batch["fake"])
        batch.watch("D(G(z)) after", fake.sigmoid().mean())
        return {"fake": self.loss.generator(fake).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        images = self.augment(batch, images)
        return self.D(images, batch["label"])

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z, condition["label"])
