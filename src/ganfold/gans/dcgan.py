"""DCGAN: Radford, Metz, Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", arXiv:1511.06434."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, adam, halvings
from ganfold.gans.losses import LOSSES
from ganfold.networks.augment import augment, noisy
from ganfold.networks.strided import Double, FromLatent, Halve, ToLogit


@dataclass(frozen=True)
class Config:
    batch: int = 128  # images a step, over all ranks together (sec. 4)
    z_dim: int = 100  # dimensions of the latent z (fig. 1; there uniform, here normal as is usual now)
    width: int = 64  # channels of the layer next to the image; doubles with each halving (fig. 1: 128)
    lr: float = 2e-4  # Adam's learning rate (sec. 4)
    betas: tuple[float, float] = (0.5, 0.999)  # Adam's beta_1, beta_2 (sec. 4)
    loss: Literal["nonsaturating", "minimax", "lsgan", "hinge"] = "nonsaturating"  # see docs/losses.md
    label_smoothing: float = 0.0  # one-sided: D is asked for 1 - this on reals (Salimans 2016, sec. 3.4)
    input_noise: float = 0.0  # deviation of normal noise added to all that D sees (Sonderby 2016, sec. 3)
    augment: float = 0.0  # share of D's images shifted, recoloured, cut out: for few images (Zhao 2020) [try 0.5]


class Generator(nn.Sequential):
    """z (B, z_dim) -> images (B, C, R, R) in (-1, 1): transposed convolutions 4-2-1 (sec. 3, fig. 1)."""

    def __init__(self, z_dim: int, width: int, shape: Shape) -> None:
        widths = _widths(width, shape)[::-1]  # from 4x4 up
        layers: list[nn.Module] = [FromLatent(z_dim, widths[0])]
        for before, after in pairwise([*widths, shape.channels]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(True), Double(before, after)]
        super().__init__(*layers, nn.Tanh())


class Discriminator(nn.Sequential):
    """Images (B, C, R, R) -> one logit each (B,): strided convolutions 4-2-1, no pooling, no dense layer.

    Without BatchNorm each image is judged by itself, and its gradient can be differentiated once more.
    """

    def __init__(self, width: int, shape: Shape, norm: bool = True) -> None:
        widths = _widths(width, shape)  # from the image down to 4x4
        layers: list[nn.Module] = [Halve(shape.channels, width, twice=not norm), nn.LeakyReLU(0.2, True)]
        for before, after in pairwise(widths):
            layers += [Halve(before, after, twice=not norm), *([nn.BatchNorm2d(after)] if norm else [])]
            layers += [nn.LeakyReLU(0.2, True)]
        super().__init__(nn.Sequential(*layers), ToLogit(widths[-1]))
        self.features = 16 * widths[-1]  # of the trunk: the last map, 4 x 4


def _widths(width: int, shape: Shape) -> list[int]:
    """Channels at R/2, R/4, ... 4 pixels."""
    return [width << halving for halving in range(halvings(shape))]


def initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02) (sec. 4); BatchNorm's N(1, 0.02) and 0, as in the authors' code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class DCGAN(GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.loss, self.logs = LOSSES[config.loss], config.loss in ("nonsaturating", "minimax")
        if config.label_smoothing and not self.logs:
            raise GanfoldError(f"--label-smoothing is for the losses of cross-entropy, not for --loss {config.loss}")
        self.G = Generator(config.z_dim, config.width, shape)
        self.D = Discriminator(config.width, shape)
        self.apply(initialise)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": adam(self.D.parameters(), config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(*self.latent))}

    def discriminator(self, batch: Batch) -> Terms:  # Goodfellow 2014, eq. 1; reals and fakes in separate
        real = self.judge(batch, batch["image"])  # batches, each with its own BatchNorm statistics
        fake = self.judge(batch, batch["fake"])
        batch.watch("logit/real", real.mean())
        batch.watch("logit/fake", fake.mean())
        if self.logs:
            batch.watch("D(x)", real.sigmoid().mean())
            batch.watch("D(G(z)) before", fake.sigmoid().mean())
        smoothing = self.config.label_smoothing  # cross-entropy to 1 - s is softplus(-logit) + s * logit
        return {
            "real": self.loss.real(real).mean() + smoothing * real.mean(),
            "fake": self.loss.fake(fake).mean(),
        }

    def generator(self, batch: Batch) -> Terms:  # by default the non-saturating loss, Goodfellow 2014, sec. 3
        fake = self.judge(batch, batch["fake"])
        if self.logs:
            batch.watch("D(G(z)) after", fake.sigmoid().mean())
        return {"fake": self.loss.generator(fake).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        return self.D(noisy(self.augment(batch, images), self.config.input_noise, batch.normal))

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(z)
