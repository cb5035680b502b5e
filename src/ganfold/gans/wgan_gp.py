"""WGAN-GP: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, "Improved Training of Wasserstein GANs",
arXiv:1704.00028: `wgan` with a gradient penalty in place of clipped weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair
from ganfold.gans.losses import watch_logits
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative
from ganfold.networks import mlp
from ganfold.networks.dcgan import Discriminator, Generator
from ganfold.networks.strided import FromLatent


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 64  # images per update, over all ranks (algorithm 1: m)
    networks: Literal["conv", "mlp"] = "conv"  # those of `dcgan`, or the fully connected ones of `gan`
    z_dim: Count = 100  # dimensions of the latent z, normal
    width: Count = 64  # of conv: channels of the layer next to the image; doubles with each halving
    kernel: Literal[4, 5] = 4  # of conv: side of the kernels (the authors' code: 5)
    norm: Literal["none", "layer"] = "none"  # of conv: in D (sec. 4: layer, which the code has at 64 px)
    critic_rounds: Count = 5  # updates of D for each of G (algorithm 1: n_critic)
    penalty: NotNegative = 10.0  # weight of the gradient penalty (algorithm 1: lambda)
    lr: NotNegative = 1e-4  # Adam's learning rate (algorithm 1: alpha)
    betas: Betas = (0.0, 0.9)  # Adam's beta_1, beta_2 (algorithm 1)


def initialise(module: nn.Module) -> None:
    """He 2015, uniform. With smaller weights the critic stays almost linear for long."""
    if isinstance(module, nn.ConvTranspose2d):
        he_uniform(module)
    elif isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight)


def he_uniform(layer: nn.ConvTranspose2d, gain: float = math.sqrt(2)) -> None:
    """The same for a transposed convolution, whose stride leaves an output pixel few of the kernel's places.

    PyTorch's `kaiming_uniform_` counts the terms of the convolution that it transposes.
    """
    share = 1 if isinstance(layer, FromLatent) else math.prod(layer.kernel_size) / math.prod(layer.stride)
    terms = layer.in_channels * share  # of each output pixel
    bound = gain * math.sqrt(3 / terms)
    nn.init.uniform_(layer.weight, -bound, bound)


class WGANGP(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        size = shape.channels, shape.resolution
        if config.networks == "mlp":
            self.G: nn.Module = mlp.Generator(config.z_dim, *size)
            self.D: nn.Module = mlp.Discriminator(*size)
        else:
            norm = (lambda channels: nn.GroupNorm(1, channels)) if config.norm == "layer" else None
            self.G = Generator(config.z_dim, config.width, *size, config.kernel)
            self.D = Discriminator(config.width, *size, norm=norm, twice=True, kernel=config.kernel)
        self.apply(initialise)
        if isinstance(self.G, Generator):
            he_uniform(self.G.last, gain=1)  # tanh follows, and must not begin saturated
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [
            Phase(self.critic, "D", rounds=config.critic_rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def critic(self, batch: Batch) -> Terms:  # algorithm 1, lines 4 to 7; each round has fresh reals and fresh fakes
        fakes = self.G(batch.normal(*self.latent))
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, fakes)
        batch.watch("wasserstein", real.mean() - fake.mean())  # eq. 2: the distance, up to a factor
        watch_logits(batch, real, fake)
        norm = self.gradient_norm(torch.lerp(batch["image"], fakes, batch.uniform(1, 1, 1)))
        batch.watch("gradient norm", norm.mean())
        penalty = self.config.penalty * ((norm - 1) ** 2).mean()  # eq. 3
        return {"real": -real.mean(), "fake": fake.mean(), "penalty": penalty}

    def gradient_norm(self, images: Tensor) -> Tensor:
        """The length (B,) of the critic's gradient at each image."""
        images = images.requires_grad_()
        (gradient,) = torch.autograd.grad(self.D(images).sum(), images, create_graph=True)
        return gradient.flatten(1).norm(dim=1)

    def generator(self, batch: Batch) -> Terms:  # algorithm 1, line 12
        fake = self.judge(batch, batch["fake"])
        return {"fake": -fake.mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """The critic's values (B,). These are no logits: there is no sigmoid."""
        return self.D(images)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)
