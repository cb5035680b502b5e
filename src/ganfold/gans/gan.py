"""The first GAN: Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661, fully connected, with the
layers that later practice gave it (BatchNorm, LeakyReLU, Adam) in place of maxout, dropout and momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, adam
from ganfold.networks.augment import noisy


@dataclass(frozen=True)
class Config:
    batch: int = 64  # images a step, over all ranks together (the paper's code: 100)
    z_dim: int = 100  # dimensions of the latent z, normal (the paper's code: uniform)
    lr: float = 2e-4  # Adam's learning rate
    betas: tuple[float, float] = (0.5, 0.999)  # Adam's beta_1, beta_2
    label_smoothing: float = 0.0  # one-sided: D is asked for 1 - this on reals (Salimans 2016, sec. 3.4)
    input_noise: float = 0.0  # deviation of normal noise added to all that D sees (Sonderby 2016, sec. 3)


class Generator(nn.Sequential):
    """z (B, z_dim) -> images (B, C, R, R) in (-1, 1)."""

    def __init__(self, z_dim: int, shape: Shape) -> None:
        image = (shape.channels, shape.resolution, shape.resolution)
        layers: list[nn.Module] = []
        for before, after in [(z_dim, 128), (128, 256), (256, 512), (512, 1024)]:
            # 0.2 is what Keras calls momentum 0.8. `BatchNorm1d(after, 0.8)`, often seen, sets eps to 0.8.
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, momentum=0.2), nn.LeakyReLU(0.2, True)]
        super().__init__(*layers, nn.Linear(1024, math.prod(image)), nn.Tanh(), nn.Unflatten(1, image))


class Discriminator(nn.Sequential):
    """Images (B, C, R, R) -> one logit each (B,)."""

    def __init__(self, shape: Shape) -> None:
        trunk = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape.channels * shape.resolution**2, 512),
            nn.LeakyReLU(0.2, True),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2, True),
        )
        super().__init__(trunk, nn.Sequential(nn.Linear(256, 1), nn.Flatten(0)))
        self.features = 256  # of the trunk


class MLPGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.G = Generator(config.z_dim, shape)
        self.D = Discriminator(shape)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": adam(self.D.parameters(), config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    @staticmethod
    def resolution(native: int) -> int:
        """MNIST's 28, or the images' own size where that is smaller."""
        return min(28, native)

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def discriminator(self, batch: Batch) -> Terms:  # Goodfellow 2014, eq. 1; reals and fakes in separate
        real = self.judge(batch, batch["image"])  # batches, each with its own BatchNorm statistics
        fake = self.judge(batch, batch["fake"])
        batch.watch("logit/real", real.mean())
        batch.watch("logit/fake", fake.mean())
        batch.watch("D(x)", real.sigmoid().mean())
        batch.watch("D(G(z)) before", fake.sigmoid().mean())
        smoothing = self.config.label_smoothing  # cross-entropy to 1 - s is softplus(-logit) + s * logit
        return {
            "real": F.softplus(-real).mean() + smoothing * real.mean(),  # -log D(x)
            "fake": F.softplus(fake).mean(),  # -log(1 - D(G(z)))
        }

    def generator(self, batch: Batch) -> Terms:  # the non-saturating loss, Goodfellow 2014, sec. 3
        fake = self.judge(batch, batch["fake"])
        batch.watch("D(G(z)) after", fake.sigmoid().mean())
        return {"fake": F.softplus(-fake).mean()}  # -log D(G(z))

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        return self.D(noisy(images, self.config.input_noise, batch.normal))

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(z)
