"""GANs on points in the plane: eight Gaussians on a circle and 25 on a grid, with a toy for each loss.

Here one sees what images hide: lost modes, and points between the modes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.gans import noise
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam
from ganfold.gans.losses import LOSSES, relativistic
from ganfold.gans.wgan import ClippedRMSprop
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

PLANE = Shape(2, 1)  # a point is an image of two channels and one pixel
SAMPLES, ENOUGH = 2500, 20  # samples in which modes are counted; a mode with so many samples counts as found


@dataclass(frozen=True)
class Config:
    loss: str  # key of LOSSES, or "relativistic"
    limit: Literal["", "clip", "penalty", "slopes"] = ""  # what keeps D from becoming steep
    strength: float = 0.0  # of the limit: the largest weight, or the factor of the penalty
    rounds: int = 1  # updates of D for each of G
    lr: float = 2e-3  # Adam's learning rate, or RMSprop's if weights are clipped
    betas: tuple[float, float] = (0.0, 0.99)  # Adam's beta_1, beta_2
    batch: int = 256  # points an update
    z_dim: int = 2  # dimensions of the latent z, normal
    width: int = 128  # of both hidden layers of G and of D


TOYS = {
    "nonsaturating": Config("nonsaturating"),
    "minimax": Config("minimax"),
    "lsgan": Config("lsgan"),
    "hinge": Config("hinge"),
    "wasserstein, clipped": Config("wasserstein", "clip", 0.1, rounds=2, lr=1e-3),
    "wasserstein, penalty": Config("wasserstein", "penalty", 1.0, rounds=2),
    "relativistic, R1 + R2": Config("relativistic", "slopes", 0.02),
}


class Toy(GAN):
    config_class = Config
    S = 0.01  # the distance of the two points between which a slope is measured

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        width = config.width
        self.G: nn.Module = nn.Sequential(
            *(nn.Linear(config.z_dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, 2), nn.Unflatten(1, (2, 1, 1))),
        )
        self.D = nn.Sequential(
            *(nn.Flatten(), nn.Linear(2, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)),
            *(nn.Linear(width, 1), nn.Flatten(0)),
        )
        self.latent = (config.z_dim,)
        weights = self.D.parameters()
        self.optimizers = {
            "D": ClippedRMSprop(weights, config.lr, config.strength)
            if config.limit == "clip"
            else adam(weights, config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D", rounds=config.rounds), Phase(self.generator, "G")]

    def discriminator(self, batch: Batch) -> Terms:
        x, fakes = batch["image"], self.G(batch.normal(*self.latent))
        real, fake = self.D(x), self.D(fakes)
        if self.config.loss == "relativistic":
            terms = {"pairs": relativistic(real, fake).mean()}
        else:
            loss = LOSSES[self.config.loss]
            terms = {"real": loss.real(real).mean(), "fake": loss.fake(fake).mean()}
        if self.config.limit == "penalty":  # Gulrajani 2017, arXiv:1704.00028, eq. 3
            between = torch.lerp(x, fakes, batch.uniform(1, 1, 1)).requires_grad_()
            (gradient,) = torch.autograd.grad(self.D(between).sum(), between, create_graph=True)
            terms["penalty"] = self.config.strength * ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
        if self.config.limit == "slopes":
            terms["R1"] = self.config.strength / 2 * self.slope(batch, x, real)
            terms["R2"] = self.config.strength / 2 * self.slope(batch, fakes, fake)
        return terms

    def slope(self, batch: Batch, points: Tensor, values: Tensor) -> Tensor:
        """The mean squared slope of D in random directions.

        It estimates the squared length of D's gradient without a second derivative: R1 at reals, R2 at fakes
        (Mescheder 2018, arXiv:1801.04406, eq. 9 and 10).
        """
        steps = self.S * batch.normal(*points.shape[1:])
        return (((self.D(points + steps) - values) / self.S) ** 2).mean()

    def generator(self, batch: Batch) -> Terms:
        fake = self.D(self.G(batch.normal(*self.latent)))
        if self.config.loss == "relativistic":
            return {"pairs": relativistic(fake, self.D(batch["image"])).mean()}
        return {"fake": LOSSES[self.config.loss].generator(fake).mean()}

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)


@dataclass(frozen=True)
class Mixture:
    """Equally heavy Gaussians in the plane."""

    centres: Tensor  # (M, 2)
    deviation: float

    def draw(self, seed: int, number: int, rows: Tensor) -> Tensor:
        """Points (len(rows), 2). They depend on the seed and the number alone."""
        which = noise.uniform(noise.key_of(seed, "mode", number), rows) * len(self.centres)
        place = noise.normal(noise.key_of(seed, "place", number), rows, self.centres.shape[1])
        return self.centres[which.long()] + self.deviation * place

    def modes(self, points: Tensor) -> tuple[int, float]:
        """How many modes are found, and the share of the points within three deviations of a mode.

        As in Srivastava 2017, arXiv:1705.07761, sec. 4. There one point is enough for a mode, here ENOUGH points.
        """
        near = torch.cdist(points, self.centres) < 3 * self.deviation
        return int((near.sum(0) >= ENOUGH).sum()), float(near.any(1).float().mean())


_turns = torch.arange(8) * (torch.pi / 4)
_line = torch.linspace(-1, 1, 5)
MIXTURES = {  # deviations are wider than the usual hundredth of the radius, for short runs
    "ring": Mixture(torch.stack([_turns.cos(), _turns.sin()], 1), 0.04),
    "grid": Mixture(torch.cartesian_prod(_line, _line), 0.04),
}


class Points(Batches):
    """Batches of points of a mixture, without end."""

    def __init__(self, mixture: Mixture, seed: int, size: int) -> None:
        self.mixture, self.seed, self.size = mixture, seed, size

    def draw(self, number: int) -> Batch:
        rows = torch.arange(self.size)
        return Batch({"image": self.mixture.draw(self.seed, number, rows)[:, :, None, None]}, rows)


def trained(config: Config, mixture: Mixture, seed: int, steps: int, looks: int = 1) -> Iterator[Tensor]:
    """Train a toy, and yield SAMPLES points of its averaged generator at evenly spaced times, the last at the end.

    Args:
        steps: updates of G.
        looks: how often to yield.
    """
    torch.manual_seed(seed)
    points, cpu = Points(mixture, seed, config.batch), torch.device("cpu")
    trainer = Trainer(Toy(config, PLANE), points, seed=seed, device=cpu, ranks=Ranks("cpu"), ema_images=10_000)
    z = noise.normal(noise.key_of(seed, "sample"), torch.arange(SAMPLES), config.z_dim)
    for look in range(1, looks + 1):
        while trainer.steps < steps * look // looks:
            trainer.step()
        yield trainer.sample(z).flatten(1)
