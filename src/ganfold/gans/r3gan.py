"""A small R3GAN: Huang, Gokaslan, Kuleshov, Tompkin 2024, "The GAN is dead; long live the GAN!", arXiv:2501.05441: its
loss, its penalties without second derivatives, and networks for small budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam_pair, cosine
from ganfold.gans.losses import relativistic, watch_logits
from ganfold.interface.options import NOT_NEGATIVE, BatchSize, Betas, Count, NotNegative, Share
from ganfold.networks.augment import augment
from ganfold.networks.residual import Discriminator, Generator
from ganfold.networks.strided import pyramid

SIZES = {  # channels next to the image (they double with each halving), most channels, blocks for each map
    "nano": (16, 128, 1),
    "tiny": (24, 192, 1),
    "small": (48, 384, 1),
    "base": (64, 512, 2),
}


@dataclass(frozen=True)
class Config:
    batch: BatchSize = 32  # images per step, over all ranks
    size: Literal["nano", "tiny", "small", "base"] = "nano"  # of the networks
    z_dim: Count = 64  # dimensions of the latent z, normal (the authors' code: 64)
    norm: bool = True  # BatchNorm in G, which the paper lacks: G learns faster on small budgets
    gamma: Annotated[float | None, NOT_NEGATIVE] = None  # first weight of R1 and R2; ends at a tenth [5e-4 a pixel]
    penalty: Literal["difference", "exact"] = "difference"  # by differences, or by second derivatives as in the paper
    share: Share = 0.25  # share of the batch that is penalised by differences
    sigma: NotNegative = 0.01  # deviation of the noise in a difference
    centring: NotNegative = 0.01  # weight of (D(x) + D(G(z)))^2; the paper's loss lets this sum drift
    lr: NotNegative = 5e-4  # Adam's learning rate (the authors' code: 2e-4) ...
    lr_end: NotNegative = 5e-5  # ... and where its cosine ends (the authors' code: 5e-5)
    betas: Betas = (0.0, 0.99)  # Adam's beta_1, beta_2 (the authors' code: 0, 0.9 to 0.99)
    decay_kimg: NotNegative = 1000.0  # gamma and the learning rate fall over this many kimg
    augment: Share = 0.5  # share of D's images shifted, recoloured, cut out (Zhao 2020); 0 for many images
    labels: bool = True  # learn by class, if the images have classes
    labels_kimg: NotNegative = 50.0  # ramp labels in over this many kimg, or small classes collapse (Shahbazi 2022)
    temper: NotNegative = 0.5  # with labels: classes are drawn by their share to this power


class R3GAN(GAN):
    config_class = Config
    can_take_labels = True
    planned = ("batch", "augment", "decay_kimg", "labels_kimg")
    image_network = "D.trunk"  # the rest of D can take labels
    mixes_images = True  # the first images of a batch are penalised

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.conditional = config.labels and shape.classes > 1
        self.temper = config.temper if self.conditional else 1.0
        self.gamma = 5e-4 * shape.resolution**2 if config.gamma is None else config.gamma
        width, most, blocks = SIZES[config.size]
        widths = [min(most, channels) for channels in pyramid(width, shape.resolution)]
        classes = shape.classes if self.conditional else 0
        self.G = Generator(config.z_dim, widths[::-1], blocks, shape.channels, classes, config.norm)
        self.D = Discriminator(widths, blocks, shape.channels, classes)
        self.latent = (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return cosine(images, self.config.decay_kimg, self.config.lr_end / self.config.lr)

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.sample(batch.normal(*self.latent), self.condition(batch))}

    def discriminator(self, batch: Batch) -> Terms:
        x, fake = self.augment(batch, batch["image"]), self.augment(batch, batch["fake"])
        penalised = self.exact if self.config.penalty == "exact" else self.differences
        real, made, slopes = penalised(batch, x, fake)
        watch_logits(batch, real, made)
        return {
            "game": relativistic(real, made).mean(),  # eq. 2
            "penalty": self.gamma * (1 - 0.9 * self.progress()) / 2 * slopes,  # eq. 3
            "centring": self.config.centring * (real + made).square().mean(),
        }

    def differences(self, batch: Batch, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D of reals and fakes, and an estimate of R1 + R2 on a share of both, all in one pass.

        For normal n the mean of ((D(x + s n) - D(x)) / s)^2 is the squared length of D's gradient, up to s^2 times the
        curvature.
        """
        s, y, some = self.config.sigma, batch.get("label"), max(1, round(self.config.share * len(x)))
        noise = s * batch.normal(*x.shape[1:])[:some]
        moved = [x[:some] + noise, fake[:some] + noise]
        labels = None if y is None else torch.cat([y, y, y[:some], y[:some]])
        sizes = [len(x), len(x), some, some]
        real, made, near_real, near_made = self.logits(torch.cat([x, fake, *moved]), labels).split(sizes)  # type: ignore[no-untyped-call]
        r1, r2 = ((near_real - real[:some]) / s).square().mean(), ((near_made - made[:some]) / s).square().mean()
        return real, made, r1 + r2

    def exact(self, batch: Batch, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same by second derivatives, on all images."""
        images, y = torch.cat([x, fake]).requires_grad_(), batch.get("label")
        logits = self.logits(images, None if y is None else torch.cat([y, y]))
        (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        real, made = logits.chunk(2)
        return real, made, 2 * gradients.square().sum((1, 2, 3)).mean()

    def generator(self, batch: Batch) -> Terms:  # eq. 2 with real and fake exchanged
        made, real = self.judge(batch, batch["fake"]), self.judge(batch, batch["image"])
        return {"game": relativistic(made, real).mean()}

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        return self.logits(self.augment(batch, images), batch.get("label"))

    def logits(self, images: Tensor, label: Tensor | None) -> Tensor:
        return self.D(images, label, self.ramp())

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def progress(self) -> Tensor:
        """How far the schedules have come, 0 to 1, along half a cosine."""
        return (1 - torch.cos(math.pi * (self.seen / (1000 * self.config.decay_kimg)).clamp(max=1))) / 2

    def ramp(self) -> Tensor:
        """How much the labels count so far, 0 to 1."""
        return (self.seen / max(1, 1000 * self.config.labels_kimg)).clamp(max=1)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z, condition.get("label"), self.ramp())
