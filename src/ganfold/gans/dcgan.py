"""DCGAN: Radford, Metz, Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", arXiv:1511.06434."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative, Share, Smoothing
from ganfold.networks.augment import augment, noisy
from ganfold.networks.dcgan import Discriminator, Generator, initialise
from ganfold.networks.uniform import Uniform


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 128  # images per step, over all ranks (sec. 4)
    z_dim: Count = 100  # dimensions of the latent z (fig. 1: 100)
    latent: Literal["normal", "uniform"] = "normal"  # distribution of z; uniform in [-1, 1] (fig. 1: uniform)
    width: Count = 64  # channels of the layer next to the image; doubles with each halving (fig. 1: 128)
    kernel: Literal[4, 5] = 4  # side of the kernels (the authors' code: 5)
    lr: NotNegative = 2e-4  # Adam's learning rate (sec. 4)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (sec. 4)
    loss: Literal["nonsaturating", "minimax", "lsgan", "hinge"] = "nonsaturating"  # adversarial loss
    label_smoothing: Smoothing = 0.0  # one-sided: D's target on reals is 1 - this (Salimans 2016, sec. 3.4)
    input_noise: NotNegative = 0.0  # deviation of normal noise on all images that D sees (Sonderby 2016, sec. 3)
    augment: Share = 0.0  # share of D's images shifted, recoloured, cut out; for few images (Zhao 2020) [try 0.5]


class DCGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss, self.logs = LOSSES[config.loss], config.loss in ("nonsaturating", "minimax")
        if config.label_smoothing and not self.logs:
            raise GanfoldError(f"--label-smoothing is for the losses of cross-entropy, not for --loss {config.loss}")
        size = config.width, shape.channels, shape.resolution
        self.G: nn.Module = Generator(config.z_dim, *size, config.kernel)
        if config.latent == "uniform":
            self.G = nn.Sequential(Uniform(), self.G)
        self.D = Discriminator(*size, kernel=config.kernel)
        self.apply(initialise)
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def discriminator(self, batch: Batch) -> Terms:  # Goodfellow 2014, eq. 1
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake, probabilities=self.logs)
        smoothing = self.config.label_smoothing  # cross-entropy to 1 - s is softplus(-logit) + s * logit
        return {"real": self.loss.real(real).mean() + smoothing * real.mean(), "fake": self.loss.fake(fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # by default the non-saturating loss, Goodfellow 2014, sec. 3
        fake = self.judge(batch, batch["fake"])
        if self.logs:
            batch.watch("D(G(z)) after", fake.sigmoid().mean())
        return {"fake": self.loss.generator(fake).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,). Reals and fakes go through D apart, each with their own BatchNorm statistics."""
        images = noisy(self.augment(batch, images), self.config.input_noise, batch.normal)
        return self.D(images)

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)
