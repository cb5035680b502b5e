"""InfoGAN: Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel 2016, "InfoGAN: Interpretable Representation Learning by
Information Maximizing Generative Adversarial Nets", arXiv:1606.03657."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam
from ganfold.gans.losses import LOSSES, watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative
from ganfold.networks import dcgan, mlp
from ganfold.networks.augment import warp
from ganfold.networks.uniform import Uniform, with_largest_at


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 128  # images per step, over all ranks (the authors' code: 128)
    z_dim: Count = 62  # dimensions of the latent's incompressible part (app. C.1: 62)
    latent: Literal["normal", "uniform"] = "normal"  # its distribution; uniform in [-1, 1] (the authors' code: uniform)
    categories: Count = 10  # values of the categorical code (app. C.1)
    continuous: Count = 2  # number of continuous codes, uniform in [-1, 1] (app. C.1)
    networks: Literal["conv", "mlp"] = "conv"  # those of `dcgan`, or the fully connected ones of `gan`
    width: Count = 64  # of conv: channels of the layer next to the image; doubles with each halving (app. C.1: 64)
    information: NotNegative = 1.0  # weight of the category's mutual information (eq. 6: lambda; sec. 6: 1)
    information_continuous: NotNegative = 0.1  # the same of the continuous codes (sec. 6: smaller; the code: 1)
    invariance: NotNegative = 0.0  # weight of a term, not in the paper: the category survives small distortions [try 3]
    lr: NotNegative = 2e-4  # Adam's learning rate of D and Q (app. C.1)
    lr_generator: NotNegative = 1e-3  # Adam's learning rate of G (app. C.1)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (the authors' code)


class Recogniser(nn.Sequential):
    """Features of D's trunk -> the codes (B, categories + continuous): logits of the category, then means."""

    def __init__(self, features: int, codes: int) -> None:
        super().__init__(
            *(nn.Flatten(), nn.Linear(features, 128, bias=False), nn.BatchNorm1d(128), nn.LeakyReLU(0.1, True)),
            nn.Linear(128, codes),
        )


def mutual_information(p: Tensor, q: Tensor) -> Tensor:
    """The information in nats that the categories of images and of their copies share (Ji, Henriques, Vedaldi 2019,
    "Invariant information clustering", arXiv:1807.06653, eq. 3).

    Both are (B, categories), and each row sums to 1. The maximum, log(categories), takes pairs that agree for certain
    and categories of equal frequency.
    """
    joint = p.T @ q / len(p)
    joint = ((joint + joint.T) / 2).clamp_min(1e-6)
    return (joint * (joint.log() - joint.sum(0).log() - joint.sum(1, keepdim=True).log())).sum()


class InfoGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        codes, size = config.categories + config.continuous, (shape.channels, shape.resolution)
        self.loss, self.mixes_images = LOSSES["nonsaturating"], config.invariance > 0
        if config.networks == "mlp":
            self.G: nn.Module = mlp.Generator(config.z_dim + codes, *size)
            self.D: Any = mlp.Discriminator(*size)
        else:
            self.G = dcgan.Generator(config.z_dim + codes, config.width, *size)
            self.D = dcgan.Discriminator(config.width, *size)
        self.uniform = Uniform()
        self.Q = Recogniser(self.D.features, codes)  # it shares D's trunk (sec. 6)
        self.apply(dcgan.initialise)
        self.latent = (config.z_dim + codes,)
        self.code_values = (config.categories, *[0] * config.continuous)
        # Q learns with D, as in the authors' code: a trunk that knows real images reads codes better.
        self.optimizers = {
            "D": adam([*self.D.parameters(), *self.Q.parameters()], config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr_generator, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def codes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The category (B,) and the continuous codes (B, continuous) of normal latents."""
        first = self.config.z_dim
        category = z[:, first : first + self.config.categories].argmax(1)
        return category, self.uniform(z[:, first + self.config.categories :])

    def with_code(self, z: Tensor, code: int, value: float) -> Tensor:
        z, first, last = z.clone(), self.config.z_dim, self.config.z_dim + self.config.categories
        if code > 0:
            z[:, last + code - 1] = self.uniform.inverse(value)
        else:  # the largest of the category's numbers changes places: they stay normal noise
            z[:, first:last] = with_largest_at(int(value), z[:, first:last])
        return z

    def read(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D's logits (B,), and what Q reads: logits (B, categories) and means (B, continuous)."""
        trunk, head = self.D
        features = trunk(images)
        logits, means = self.Q(features).split([self.config.categories, self.config.continuous], 1)
        return head(features), logits, means

    def fake(self, batch: Batch) -> Terms:
        z = batch.normal(*self.latent)
        return {"fake": self.sample(z), "z": z}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 6, for D and Q
        real, category, _ = self.read(batch["image"])
        fake, *codes = self.read(batch["fake"])
        watch_logits(batch, real, fake, probabilities=True)
        terms = {"real": self.loss.real(real).mean(), "fake": self.loss.fake(fake).mean()}
        terms |= self.information(batch, *codes)
        if self.config.invariance:
            _, warped, _ = self.read(warp(batch["image"], batch.uniform))
            shared = mutual_information(category.softmax(1), warped.softmax(1))
            batch.watch("information/real and warped", shared)
            terms["invariance"] = -self.config.invariance * shared
        return terms

    def generator(self, batch: Batch) -> Terms:  # eq. 6, for G
        fake, *codes = self.read(batch["fake"])
        batch.watch("D(G(z)) after", fake.sigmoid().mean())
        return {"fake": self.loss.generator(fake).mean()} | self.information(batch, *codes)

    def information(self, batch: Batch, logits: Tensor, means: Tensor) -> Terms:
        """Minus the lower bound of the mutual information between codes and images (eq. 5), up to a constant."""
        category, continuous = self.codes(batch["z"])
        if self.config.invariance:  # the category must not be a matter of position, size, slant or thickness
            _, logits, _ = self.read(warp(batch["fake"], batch.uniform))
        batch.watch("Q reads the category", (logits.argmax(1) == category).float().mean())
        error = (means - continuous).square().sum(1).mean() / 2  # of a Gaussian with deviation 1
        return {
            "category": self.config.information * F.cross_entropy(logits, category),
            "continuous": self.config.information_continuous * error,
        }

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        return self.D(images)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        category, continuous = self.codes(z)
        rest, c = z[:, : self.config.z_dim], torch.zeros_like(z[:, : self.config.categories])
        c = c.scatter(1, category[:, None], 1.0)  # `F.one_hot` may wait for the device, to check its input
        rest = self.uniform(rest) if self.config.latent == "uniform" else rest
        return self.G(torch.cat([rest, c, continuous], 1))
