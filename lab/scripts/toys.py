"""Every loss on points in the plane, eight Gaussians on a circle and 25 on a grid: python lab/scripts/toys.py

Prints the table of docs/losses.md, and films the first seed. Here one sees what images hide: lost modes, and points
between the modes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ganfold.files import write_atomically
from ganfold.gans import noise
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, adam
from ganfold.gans.losses import LOSSES, relativistic
from ganfold.gans.wgan import ClippedRMSprop
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

PLANE = Shape(2, 1)  # a point is an image of two channels and one pixel
SAMPLES, ENOUGH = 2500, 20  # samples to count modes by; so many of them make a mode found
TILE, DOTS, FRAMES = 110, 300, 50  # of the film: pixels of a tile, points in it, pictures
FILM = Path(__file__).parent.parent / "docs/pictures/toys.webp"


@dataclass(frozen=True)
class Config:
    loss: str  # key of LOSSES, or "relativistic"
    limit: Literal["", "clip", "penalty", "slopes"] = ""  # what keeps D from growing steep
    strength: float = 0.0  # of it: where weights are clipped, or the penalty's factor
    rounds: int = 1  # updates of D for each of G
    lr: float = 2e-3  # Adam's learning rate, or RMSprop's where weights are clipped
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
    S = 0.01  # how far apart the two points are by which a slope is measured

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        width = config.width
        self.G = nn.Sequential(
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
        """The squared slope of D in random directions: in the mean the squared length of its gradient, so R1 at reals
        and R2 at fakes (Mescheder 2018, arXiv:1801.04406, eq. 9 and 10), without a second derivative."""
        steps = self.S * batch.normal(*points.shape[1:])
        return (((self.D(points + steps) - values) / self.S) ** 2).mean()

    def generator(self, batch: Batch) -> Terms:
        fake = self.D(self.G(batch.normal(*self.latent)))
        if self.config.loss == "relativistic":
            return {"pairs": relativistic(fake, self.D(batch["image"])).mean()}
        return {"fake": LOSSES[self.config.loss].generator(fake).mean()}

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(z)


@dataclass(frozen=True)
class Mixture:
    """Equally heavy Gaussians in the plane."""

    centres: Tensor  # (M, 2)
    deviation: float

    def draw(self, seed: int, number: int, rows: Tensor) -> Tensor:
        """Points (len(rows), 2), which follow from (seed, number) alone."""
        which = noise.uniform(noise.key_of(seed, "mode", number), rows) * len(self.centres)
        place = noise.normal(noise.key_of(seed, "place", number), rows, self.centres.shape[1])
        return self.centres[which.long()] + self.deviation * place

    def modes(self, points: Tensor) -> tuple[int, float]:
        """How many modes are found, and the share of the points within three deviations of one (Srivastava 2017,
        arXiv:1705.07761, sec. 4; there one point makes a mode found, here ENOUGH)."""
        near = torch.cdist(points, self.centres) < 3 * self.deviation
        return int((near.sum(0) >= ENOUGH).sum()), float(near.any(1).float().mean())


_turns = torch.arange(8) * (torch.pi / 4)
_line = torch.linspace(-1, 1, 5)
MIXTURES = {  # customary are deviations of a hundredth of the radius: here wider, for short runs
    "ring": Mixture(torch.stack([_turns.cos(), _turns.sin()], 1), 0.04),
    "grid": Mixture(torch.cartesian_prod(_line, _line), 0.04),
}


class Points(Batches):
    """Batches of a mixture without end."""

    def __init__(self, mixture: Mixture, seed: int, size: int) -> None:
        self.mixture, self.seed, self.size = mixture, seed, size

    def draw(self, number: int) -> Batch:
        rows = torch.arange(self.size)
        return Batch({"image": self.mixture.draw(self.seed, number, rows)[:, :, None, None]}, rows)


def trained(config: Config, mixture: Mixture, seed: int, steps: int, looks: int = 1) -> Iterator[Tensor]:
    """Train for so many updates of G; give SAMPLES points of the averaged one so many times, the last at the end."""
    torch.manual_seed(seed)
    points, cpu = Points(mixture, seed, config.batch), torch.device("cpu")
    trainer = Trainer(Toy(config, PLANE), points, seed=seed, device=cpu, ranks=Ranks("cpu"), ema_images=10_000)
    z = noise.normal(noise.key_of(seed, "sample"), torch.arange(SAMPLES), config.z_dim)
    for look in range(1, looks + 1):
        while trainer.steps < steps * look // looks:
            trainer.step()
        yield trainer.sample(z).flatten(1)


def frame(looks: dict[str, list[Tensor]], caption: str) -> Image.Image:
    """One picture of the film: of each mixture a row, of each toy a column; reals grey, fakes blue."""
    font, head = ImageFont.load_default(11), 32
    sheet = Image.new("RGB", (TILE * len(TOYS), head + TILE * len(looks) + 18), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((6, sheet.height - 16), caption, "black", font)
    for column, name in enumerate(TOYS):
        draw.multiline_text((TILE * column + 6, 2), name.replace(", ", ",\n"), "black", font, spacing=2)
    for row, (mixture, toys) in enumerate(looks.items()):
        reals = MIXTURES[mixture].draw(0, 0, torch.arange(DOTS))
        for column, fakes in enumerate(toys):
            left, top = TILE * column, head + TILE * row
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline="#dddddd")
            for points, colour in ((reals, "#c8c8c8"), (fakes[:DOTS], "#1f5fbf")):
                places = ((points + 1.3) / 2.6 * TILE).round().int()  # what lies outside the tile is left out
                for x, y in places[((places > 0) & (places < TILE - 2)).all(1)].tolist():
                    draw.rectangle((left + x, top + y, left + x + 1, top + y + 1), fill=colour)
    return sheet


def save_film(looks: dict[str, list[list[Tensor]]], steps: int, path: Path) -> None:
    """Write it: of each mixture, of each toy, the points at FRAMES times. Dots are smaller without loss."""
    frames = [
        frame({name: [toy[number] for toy in toys] for name, toys in looks.items()}, f"after {done} updates of G")
        for number, done in enumerate(steps * (look + 1) // FRAMES for look in range(FRAMES))
    ]
    durations = [120] * (FRAMES - 1) + [3000]

    def write(temporary: Path) -> None:
        frames[0].save(
            temporary, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, lossless=True
        )

    write_atomically(path, write)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=5000, help="updates of G")
    said = parser.parse_args()
    torch.set_num_threads(1)
    looks: dict[str, list[list[Tensor]]] = {mixture: [] for mixture in MIXTURES}
    print("| loss | " + " | ".join(f"{mixture}: modes | good samples" for mixture in MIXTURES) + " |")
    print("|---|" + "---|---|" * len(MIXTURES))
    for name, config in TOYS.items():
        cells = []
        for title, mixture in MIXTURES.items():
            runs = [list(trained(config, mixture, seed, said.steps, FRAMES)) for seed in said.seeds]
            looks[title].append(runs[0])
            modes, shares = zip(*(mixture.modes(run[-1]) for run in runs), strict=True)
            cells += [", ".join(map(str, modes)), ", ".join(f"{share:.2f}" for share in shares)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    save_film(looks, said.steps, FILM)


if __name__ == "__main__":
    main()
