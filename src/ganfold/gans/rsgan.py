"""RSGAN: Jolicoeur-Martineau 2018, "The relativistic discriminator: a key element missing from standard GAN",
arXiv:1807.00734, with the networks of `dcgan` and what else makes them learn fast: the default on a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.gans import dcgan
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, adam, cosine
from ganfold.gans.losses import relativistic, relativistic_hinge
from ganfold.networks.augment import augment, noisy
from ganfold.networks.smooth import Smooth, flatten


@dataclass(frozen=True)
class Config:
    batch: int = 16  # images a step, over all ranks together: small, for many updates
    z_dim: int = 64  # dimensions of the latent z, normal
    width: int = 32  # of G: channels of the layer next to the image; doubles with each halving
    width_d: int = 48  # of D: wider, which teaches G more than the updates do that it costs
    loss: Literal["hinge", "logistic"] = "hinge"  # of the difference; eq. 4 and 5: logistic, with which D wins late
    lr: float = 1e-3  # Adam's learning rate (sec. 6: 2e-4, which takes three times as long)
    lr_end: float = 1e-4  # where its cosine ends ...
    decay_kimg: float = 0.0  # ... after so many images; 0: it never falls, which learns more: see the page
    betas: tuple[float, float] = (0.5, 0.999)  # Adam's beta_1, beta_2 (sec. 6)
    smooth: bool = True  # G ends by evening out what it deems flat: takes grain off grounds
    flatten: bool = False  # samples are evened out over wide places too, which D does not see: for drawings
    input_noise: float = 0.1  # deviation of normal noise added to all that D sees: keeps variety
    augment: float = 0.0  # share of D's images shifted, recoloured, cut out: for few images (Zhao 2020) [try 0.5]
    labels: bool = False  # learn by class, where the images have classes
    label_dim: int = 32  # dimensions of G's embedding of the label
    temper: float = 0.5  # with labels, classes are drawn by their share to this power


class Generator(nn.Module):
    """z (B, z_dim), and labels (B,) if there are `classes`, -> images (B, C, R, R) in (-1, 1)."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, config.label_dim) if classes else None
        if self.label:  # small: as large as z it takes over, and each class becomes one image
            nn.init.normal_(self.label.weight, 0, 0.1)
        drawn = replace(shape, channels=shape.channels + config.smooth)  # one more says where edges are to stay
        self.main = dcgan.Generator(config.z_dim + (config.label_dim if classes else 0), config.width, drawn)
        self.last = Smooth() if config.smooth else nn.Identity()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        images: Tensor = self.last(self.main(torch.cat([z, self.label(label)], 1) if self.label else z))
        return images


class Discriminator(dcgan.Discriminator):
    """That of `dcgan`; if there are `classes`, labels (B,) are compared with the sum of the trunk's features over all
    places (Miyato, Koyama 2018, "cGANs with projection discriminator", arXiv:1802.05637, eq. 3)."""

    def __init__(self, width: int, shape: Shape, classes: int) -> None:
        super().__init__(width, shape)
        self.label = nn.Embedding(classes, self.features // 16) if classes else None
        if self.label:
            nn.init.normal_(self.label.weight, 0, 0.02)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        trunk, last = self[0], self[1]
        features = trunk(x)
        logit: Tensor = last(features)
        return logit + (features.sum((2, 3)) * self.label(label)).sum(1) if self.label else logit


class RSGAN(GAN):
    config_class = Config
    ema_kimg, ema_share = 100.0, 0.2  # a high learning rate leaves noise that a long average takes out: see the page

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss = relativistic_hinge if config.loss == "hinge" else relativistic
        self.conditional = config.labels and shape.classes > 1
        self.temper = config.temper if self.conditional else 1.0
        classes = shape.classes if self.conditional else 0
        self.G = Generator(config, shape, classes)
        self.D = Discriminator(config.width_d, shape, classes)
        self.apply(dcgan.initialise)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": adam(self.D.parameters(), config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        falls = self.config.decay_kimg > 0
        return cosine(images, self.config.decay_kimg, self.config.lr_end / self.config.lr) if falls else 1.0

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent), self.given(batch).get("label"))}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 4: each real more real than a fake (of its class)
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        batch.watch("logit/real", real.mean())
        batch.watch("logit/fake", fake.mean())
        batch.watch("D(x, G(z))", (real - fake).sigmoid().mean())  # how surely it tells a real from a fake; blind: 0.5
        return {"game": self.loss(real, fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # eq. 5: the reverse
        fake = self.judge(batch, batch["fake"])
        real = self.judge(batch, batch["image"])
        return {"game": self.loss(fake, real).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,), of which only differences mean anything."""
        images = noisy(self.augment(batch, images), self.config.input_noise, batch.normal)
        return self.D(images, batch.get("label"))

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        images: Tensor = self.G(z, given.get("label"))
        return flatten(images) if self.config.flatten else images
