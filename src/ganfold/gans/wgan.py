"""WGAN: Arjovsky, Chintala, Bottou 2017, "Wasserstein GAN", arXiv:1701.07875, with the networks of `dcgan` or, for its
claim that they will do, fully connected ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ganfold.gans import dcgan, gan
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms


@dataclass(frozen=True)
class Config:
    batch: int = 64  # images an update, over all ranks together (algorithm 1: m)
    networks: Literal["conv", "mlp"] = "conv"  # those of `dcgan`, or the fully connected ones of `gan`
    z_dim: int = 100  # dimensions of the latent z, normal
    width: int = 64  # of conv: channels of the layer next to the image; doubles with each halving
    critic_rounds: int = 5  # updates of D for each of G (algorithm 1: n_critic)
    clip: float = 0.01  # each weight of D stays within +- this (algorithm 1: c)
    lr: float = 5e-5  # RMSprop's learning rate (algorithm 1: alpha)


class ClippedRMSprop(torch.optim.RMSprop):
    """RMSprop, and each weight brought back within +- `clip` after each step (algorithm 1, lines 6 and 7)."""

    def __init__(self, weights: Any, lr: float, clip: float) -> None:
        super().__init__(weights, lr, foreach=True)
        self.clip = clip

    @torch.inference_mode()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            torch._foreach_clamp_min_(group["params"], -self.clip)
            torch._foreach_clamp_max_(group["params"], self.clip)
        return loss


class WGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.networks == "conv":
            self.G: torch.nn.Module = dcgan.Generator(config.z_dim, config.width, shape)
            self.D: torch.nn.Module = dcgan.Discriminator(config.width, shape)
            self.apply(dcgan.initialise)
        else:
            self.G, self.D = gan.Generator(config.z_dim, shape), gan.Discriminator(shape)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": ClippedRMSprop(self.D.parameters(), config.lr, config.clip),
            "G": torch.optim.RMSprop(self.G.parameters(), config.lr, foreach=True),
        }
        self.phases = [
            Phase(self.critic, "D", rounds=config.critic_rounds),
            Phase(self.generator, "G", early=self.fake),
        ]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def critic(self, batch: Batch) -> Terms:  # algorithm 1, line 5; each round has fresh reals and fresh fakes
        real = self.judge(batch, batch["image"])
        fake = self.judge(batch, self.G(batch.normal(*self.latent)))
        batch.watch("wasserstein", real.mean() - fake.mean())  # eq. 2: the estimate of the distance, up to a factor
        batch.watch("logit/real", real.mean())
        batch.watch("logit/fake", fake.mean())
        return {"real": -real.mean(), "fake": fake.mean()}

    def generator(self, batch: Batch) -> Terms:  # algorithm 1, line 10
        return {"fake": -self.judge(batch, batch["fake"]).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """The critic's values (B,), which are no logits: there is no sigmoid."""
        return self.D(images)

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(z)
