"""WGAN-GP: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, "Improved Training of Wasserstein GANs",
arXiv:1704.00028: `wgan` with a penalty in place of the clipped weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.gans import dcgan, gan
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, adam


@dataclass(frozen=True)
class Config:
    batch: int = 64  # images an update, over all ranks together (algorithm 1: m; their code for 64 px: 64)
    networks: Literal["conv", "mlp"] = "conv"  # those of `dcgan`, or the fully connected ones of `gan`
    z_dim: int = 100  # dimensions of the latent z, normal
    width: int = 64  # of conv: channels of the layer next to the image; doubles with each halving
    critic_rounds: int = 5  # updates of D for each of G (algorithm 1: n_critic)
    penalty: float = 10.0  # weight of the gradient penalty (algorithm 1: lambda)
    lr: float = 1e-4  # Adam's learning rate (algorithm 1: alpha)
    betas: tuple[float, float] = (0.0, 0.9)  # Adam's beta_1, beta_2 (algorithm 1)


def initialise(module: nn.Module) -> None:
    """He 2015, uniform, as in their code; with smaller weights the critic stays almost linear for long."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight)


class WGANGP(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.networks == "conv":
            self.G: nn.Module = dcgan.Generator(config.z_dim, config.width, shape)
            self.D: nn.Module = dcgan.Discriminator(config.width, shape, norm=False)
        else:
            self.G, self.D = gan.Generator(config.z_dim, shape), gan.Discriminator(shape)
        self.apply(initialise)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": adam(self.D.parameters(), config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [
            Phase(self.critic, "D", rounds=config.critic_rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def critic(self, batch: Batch) -> Terms:  # algorithm 1, lines 4 to 7; eq. 3
        x, fakes = batch["image"], self.G(batch.normal(*self.latent))
        real, fake = self.judge(batch, x), self.judge(batch, fakes)
        batch.watch("wasserstein", real.mean() - fake.mean())  # eq. 2: the estimate of the distance, up to a factor
        batch.watch("logit/real", real.mean())
        batch.watch("logit/fake", fake.mean())
        norm = self.gradient_norm(torch.lerp(x, fakes, batch.uniform(1, 1, 1)))
        batch.watch("gradient norm", norm.mean())
        return {"real": -real.mean(), "fake": fake.mean(), "penalty": self.config.penalty * ((norm - 1) ** 2).mean()}

    def gradient_norm(self, images: Tensor) -> Tensor:
        """The length (B,) of the critic's gradient at each image."""
        images = images.requires_grad_()
        (gradient,) = torch.autograd.grad(self.D(images).sum(), images, create_graph=True)
        return gradient.flatten(1).norm(dim=1)

    def generator(self, batch: Batch) -> Terms:  # algorithm 1, line 12
        return {"fake": -self.judge(batch, batch["fake"]).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """The critic's values (B,), which are no logits: there is no sigmoid."""
        return self.D(images)

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(z)
