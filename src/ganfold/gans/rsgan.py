"""RSGAN: Jolicoeur-Martineau 2018, "The relativistic discriminator: a key element missing from standard GAN",
arXiv:1807.00734, with the networks of `dcgan` and what makes them learn fast: the default on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair, cosine
from ganfold.gans.losses import relativistic, relativistic_hinge, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative, Share
from ganfold.networks.augment import augment, noisy
from ganfold.networks.dcgan import initialise
from ganfold.networks.labelled import Discriminator, Generator
from ganfold.networks.smooth import flatten


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 16  # images per step, over all ranks; small, for many updates
    z_dim: Count = 64  # dimensions of the latent z, normal
    width: Count = 32  # of G: channels of the layer next to the image; doubles with each halving
    width_d: Count = 48  # of D; wider than G: the better gradient outweighs the updates it costs
    loss: Literal["hinge", "logistic"] = "hinge"  # of the difference; the paper's is logistic (eq. 4, 5): D wins late
    lr: NotNegative = 1e-3  # Adam's learning rate (sec. 6: 2e-4, which takes three times as long)
    lr_end: NotNegative = 1e-4  # where the cosine of the learning rate ends ...
    decay_kimg: NotNegative = 0.0  # ... after this many kimg; 0: it never falls, which is better
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (sec. 6)
    smooth: bool = True  # G's last layer smooths areas that G deems flat; this removes grain from backgrounds
    flatten: bool = False  # smooth samples over wide areas too, unseen by D; for drawings
    input_noise: NotNegative = 0.1  # deviation of normal noise on all images that D sees; keeps variety
    augment: Share = 0.0  # share of D's images shifted, recoloured, cut out; for few images (Zhao 2020) [try 0.5]
    labels: bool = False  # learn by class, if the images have classes
    label_dim: Count = 32  # dimensions of G's embedding of the label
    temper: NotNegative = 0.5  # with labels: classes are drawn by their share to this power


class RSGAN(GAN):
    config_class = Config
    study_options = MappingProxyType({"labels": True})
    can_take_labels = True
    planned = ("batch", "width", "augment", "flatten", "input_noise", "decay_kimg")
    image_network = "D.0"  # D's head can take labels
    ema_kimg, ema_share = 100.0, 0.2  # a long average removes the noise that a high learning rate leaves

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss = relativistic_hinge if config.loss == "hinge" else relativistic
        self.conditional = config.labels and shape.classes > 1
        self.temper = config.temper if self.conditional else 1.0
        classes, size = shape.classes if self.conditional else 0, (shape.channels, shape.resolution)
        self.G = Generator(config.z_dim, config.width, *size, classes, config.label_dim, config.smooth)
        self.D = Discriminator(config.width_d, *size, classes)
        self.apply(initialise)
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        falls = self.config.decay_kimg > 0
        return cosine(images, self.config.decay_kimg, self.config.lr_end / self.config.lr) if falls else 1.0

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent), self.condition(batch).get("label"))}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 4: each real is to be more real than a fake (of its class)
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, batch["fake"])
        watch_logits(batch, real, fake)
        batch.watch("D(x, G(z))", (real - fake).sigmoid().mean())  # how surely D tells real from fake; 0.5 is blind
        return {"game": self.loss(real, fake).mean()}

    def generator(self, batch: Batch) -> Terms:  # eq. 5: the reverse
        fake = self.judge(batch, batch["fake"])
        real = self.judge(batch, batch["image"])
        return {"game": self.loss(fake, real).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,). Only their differences have a meaning."""
        images = noisy(self.augment(batch, images), self.config.input_noise, batch.normal)
        return self.D(images, batch.get("label"))

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        images: Tensor = self.G(z, condition.get("label"))
        return flatten(images) if self.config.flatten else images
