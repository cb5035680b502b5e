"""WGAN: Arjovsky, Chintala, Bottou 2017, "Wasserstein GAN", arXiv:1701.07875, with the networks of `dcgan`, or with
fully connected ones for G alone, as in fig. 7, or for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms
from ganfold.gans.losses import watch_logits
from ganfold.interface.options import BatchSize, Count, NotNegative
from ganfold.networks import mlp
from ganfold.networks.dcgan import Discriminator, Generator, initialise


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 64  # images per update, over all ranks (algorithm 1: m)
    networks: Literal["conv", "mlp-g", "mlp"] = "conv"  # of `dcgan`; G fully connected (fig. 7); both, as in `gan`
    z_dim: Count = 100  # dimensions of the latent z, normal
    width: Count = 64  # of conv: channels of the layer next to the image; doubles with each halving
    critic_rounds: Count = 5  # updates of D for each of G (algorithm 1: n_critic)
    clip: NotNegative = 0.01  # each weight of D stays within +- this (algorithm 1: c)
    lr: NotNegative = 5e-5  # RMSprop's learning rate (algorithm 1: alpha)


class ClippedRMSprop(torch.optim.RMSprop):
    """RMSprop that clips each weight to +- `clip` after each step (algorithm 1, lines 6 and 7)."""

    def __init__(self, weights: Any, lr: float, clip: float) -> None:
        super().__init__(weights, lr)
        self.clip = clip

    @torch.inference_mode()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                weight.clamp_(-self.clip, self.clip)
        return loss


class WGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        size = shape.channels, shape.resolution
        match config.networks:
            case "conv":
                self.G: nn.Module = Generator(config.z_dim, config.width, *size)
            case "mlp-g":
                self.G = mlp.PlainGenerator(config.z_dim, *size)
            case "mlp":
                self.G = mlp.Generator(config.z_dim, *size)
        is_dense = config.networks == "mlp"
        self.D: nn.Module = mlp.Discriminator(*size) if is_dense else Discriminator(config.width, *size)
        self.apply(initialise)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": ClippedRMSprop(self.D.parameters(), config.lr, config.clip),
            "G": torch.optim.RMSprop(self.G.parameters(), config.lr),
        }
        self.phases = [
            Phase(self.critic, "D", rounds=config.critic_rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def critic(self, batch: Batch) -> Terms:  # algorithm 1, line 5; each round has fresh reals and fresh fakes
        fakes = self.G(batch.normal(*self.latent))
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, fakes)
        batch.watch("wasserstein", real.mean() - fake.mean())  # eq. 2: the distance, up to a factor
        watch_logits(batch, real, fake)
        return {"real": -real.mean(), "fake": fake.mean()}

    def generator(self, batch: Batch) -> Terms:  # algorithm 1, line 10
        fake = self.judge(batch, batch["fake"])
        return {"fake": -fake.mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """The critic's values (B,). These are no logits: there is no sigmoid."""
        return self.D(images)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)
