"""The first GAN: Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661, fully connected, with the
layers that later practice gave it (BatchNorm, LeakyReLU, Adam) in place of maxout, dropout and momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative, Smoothing
from ganfold.networks.augment import noisy
from ganfold.networks.mlp import Discriminator, Generator
from ganfold.networks.uniform import Uniform


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 64  # images per step, over all ranks (the paper's code: 100)
    z_dim: Count = 100  # dimensions of the latent z (the paper's code: 100)
    latent: Literal["normal", "uniform"] = "normal"  # distribution of z; uniform in [-1, 1] (the code: in [0, 1])
    lr: NotNegative = 2e-4  # Adam's learning rate
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2
    label_smoothing: Smoothing = 0.0  # one-sided: D's target on reals is 1 - this (Salimans 2016, sec. 3.4)
    input_noise: NotNegative = 0.0  # deviation of normal noise on all images that D sees (Sonderby 2016, sec. 3)


class MLPGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss = LOSSES["nonsaturating"]
        self.G: nn.Module = Generator(config.z_dim, shape.channels, shape.resolution)
        if config.latent == "uniform":
            self.G = nn.Sequential(Uniform(), self.G)
        self.D = Discriminator(shape.channels, shape.resolution)
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    @staticmethod
    def resolution(native: int) -> int:
        """MNIST's 28, or the images' own size if that is smaller."""
        return min(28, native)

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def discriminator(self, batch: Batch) -> Terms:  # Goodfellow 2014, eq. 1
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake, probabilities=True)
        smoothing = self.config.label_smoothing  # cross-entropy to 1 - s is softplus(-logit) + s * logit
        return {"real": self.loss.real(real).mean() + smoothing * real.mean(), "fake": self.loss.fake(fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # the non-saturating loss, Goodfellow 2014, sec. 3
        fake = self.judge(batch, batch["fake"])
        batch.watch("D(G(z)) after", fake.sigmoid().mean())
        return {"fake": self.loss.generator(fake).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,). Reals and fakes go through D apart, each with their own BatchNorm statistics."""
        images = noisy(images, self.config.input_noise, batch.normal)
        return self.D(images)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)
