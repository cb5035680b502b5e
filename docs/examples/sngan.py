"""SNGAN: Miyato, Kataoka, Koyama, Yoshida 2018, "Spectral Normalization for Generative Adversarial Networks",
arXiv:1802.05957, with the networks of DCGAN. This file is all that a GAN from outside the package needs:

    ganfold train docs/examples/sngan.py:SNGAN --data photos/ --out runs/faces
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative, Share
from ganfold.networks.augment import augment
from ganfold.networks.dcgan import Discriminator, Generator, initialise


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 64  # images per step, over all ranks
    z_dim: Count = 128  # dimensions of the latent z, normal (table 3)
    width: Count = 64  # channels of the layer next to the image; doubles with each halving
    rounds: Count = 1  # updates of D for each of G (table 1, setting C: n_dis)
    lr: NotNegative = 2e-4  # Adam's learning rate (table 1, setting C)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (table 1, setting C)
    augment: Share = 0.0  # share of D's images shifted, recoloured, cut out; for few images (Zhao 2020) [try 0.5]


class SNGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss = LOSSES["hinge"]
        self.G = Generator(config.z_dim, config.width, shape.channels, shape.resolution)
        self.D = Discriminator(config.width, shape.channels, shape.resolution, norm=None)
        self.apply(initialise)
        for layer in self.D.modules():  # after `initialise`, which would not reach a normalised weight
            if isinstance(layer, nn.Conv2d):
                spectral_norm(layer)  # sec. 2.1, eq. 8: W / sigma(W), sigma by one power iteration at each use
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [
            Phase(self.discriminator, "D", rounds=config.rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 16
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake)
        return {"real": self.loss.real(real).mean(), "fake": self.loss.fake(fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # eq. 17
        fake = self.judge(batch, batch["fake"])
        return {"fake": self.loss.generator(fake).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's values (B,)."""
        images = self.augment(batch, images)
        return self.D(images)

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)
