"""CycleGAN: Zhu, Park, Isola, Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", arXiv:1703.10593."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans import dcgan
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, Wants, adam, second_half
from ganfold.gans.losses import LOSSES
from ganfold.networks.patch import PatchGAN
from ganfold.networks.smooth import Smooth


@dataclass(frozen=True)
class Config:
    target: str = ""  # images of the kind to be made, Y: as --data, which gives X
    batch: int = 4  # images of each kind a step (sec. 4: 1)
    width: int = 64  # channels next to the image (sec. 7.2)
    blocks: int = 6  # residual blocks (sec. 7.2: 6 for 128 px, 9 from 256 px on)
    patch: Literal[16, 34, 70] = 70  # pixels a side that a D judges at once (sec. 7.2), at most the image's
    cycle: float = 10.0  # weight of the cycle (sec. 4: lambda)
    identity: float = 0.0  # share of it for leaving alone what is of the wanted kind (sec. 7.1) [try 0.5]
    smooth: bool = False  # G and F end by evening out what they deem flat, as `rsgan` does: for drawings
    pool: int = 50  # earlier fakes that each D is reminded of (sec. 4)
    lr: float = 2e-4  # Adam's learning rate (sec. 4) ...
    decay_kimg: float = 200.0  # ... falls to 1 % in the second half of so many images (sec. 4: 200 epochs, to 0)
    betas: tuple[float, float] = (0.5, 0.999)  # Adam's beta_1, beta_2 (the authors' code)


class Residual(nn.Module):
    """x + two 3x3 convolutions of x (sec. 7.2: R)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*convolution(width, width, 3), nn.ReLU(True), *convolution(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Sequential):
    """Images (B, before, H, W) -> images (B, after, H, W) in (-1, 1), H and W multiples of 4 (sec. 7.2)."""

    def __init__(self, before: int, after: int, width: int, blocks: int, smooth: bool = False) -> None:
        layers: list[nn.Module] = [*convolution(before, width, 7), nn.ReLU(True)]
        for wide in (2 * width, 4 * width):
            layers += [nn.Conv2d(wide // 2, wide, 3, 2, 1, bias=False), nn.InstanceNorm2d(wide), nn.ReLU(True)]
        layers += [Residual(4 * width) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, 1, bias=False), nn.InstanceNorm2d(wide // 2)]
            layers.append(nn.ReLU(True))
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, after + smooth, 7), nn.Tanh()]
        super().__init__(*layers, *([Smooth()] if smooth else []))


def convolution(before: int, after: int, size: int) -> list[nn.Module]:
    """A convolution of the mirrored image that keeps its size, and its norm."""
    return [nn.ReflectionPad2d(size // 2), nn.Conv2d(before, after, size, bias=False), nn.InstanceNorm2d(after)]


class Pool(nn.Module):
    """Earlier fakes (sec. 4): half of the time D sees one of them instead of a fresh one, which takes its place."""

    images: Tensor
    count: Tensor

    def __init__(self, size: int, channels: int, resolution: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, channels, resolution, resolution))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, fresh: Tensor, uniform: Tensor) -> Tensor:
        """The images to judge, of fresh ones and uniform numbers (B, 2), in order of their rows."""
        shown, size = [], len(self.images)
        for image, drawn in zip(fresh[:, None], uniform, strict=True):
            full = self.count >= size
            place = torch.where(full, (drawn[0] * size).long().clamp(max=size - 1), self.count)[None]
            old, swap = self.images[place], full & (drawn[1] < 0.5)
            shown.append(torch.where(swap, old, image))
            self.images[place] = torch.where(swap | ~full, image, old)
            self.count += ~full
        return torch.cat(shown)


class CycleGAN(GAN):
    config_class = Config
    averaged = ("G", "F")

    @staticmethod
    def wants(config: Config) -> Wants:
        return "domains"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.identity and shape.inputs != shape.channels:
            raise GanfoldError(f"--identity: {shape.inputs} and {shape.channels} channels differ: give --channels")
        size = config.width, config.blocks, config.smooth
        self.G = Generator(shape.inputs, shape.channels, *size)  # X -> Y
        self.F = Generator(shape.channels, shape.inputs, *size)  # Y -> X
        seen = config.width, shape.resolution, config.patch, nn.InstanceNorm2d
        self.D_X, self.D_Y = PatchGAN(shape.inputs, *seen), PatchGAN(shape.channels, *seen)
        self.pool_x = Pool(config.pool, shape.inputs, shape.resolution)
        self.pool_y = Pool(config.pool, shape.channels, shape.resolution)
        self.apply(dcgan.initialise)
        self.latent = (1,)  # it has no noise
        self.optimizers = {
            "D": adam([*self.D_X.parameters(), *self.D_Y.parameters()], config.lr, config.betas),
            "G": adam([*self.G.parameters(), *self.F.parameters()], config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminators, "D"), Phase(self.generators, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return second_half(images, self.config.decay_kimg)

    def given(self, batch: Batch) -> Terms:
        return {"input": batch["input"]}

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch["input"]), "fake_x": self.F(batch["image"])}

    def discriminators(self, batch: Batch) -> Terms:  # eq. 1 by least squares (sec. 4), halved (sec. 7.1)
        loss = LOSSES["lsgan"]
        terms: Terms = {}
        kinds = {"x": (self.D_X, "input", "fake_x", self.pool_x), "y": (self.D_Y, "image", "fake", self.pool_y)}
        for kind, (D, reals, fakes, pool) in kinds.items():
            real, fake = D(batch[reals]), D(pool(batch[fakes], batch.uniform(2)))
            batch.watch(f"logit/real {kind}", real.mean())
            batch.watch(f"logit/fake {kind}", fake.mean())
            terms |= {f"real {kind}": loss.real(real).mean(), f"fake {kind}": loss.fake(fake).mean()}
        return terms

    def generators(self, batch: Batch) -> Terms:  # eq. 3
        x, y, fake_x, fake_y = (batch[name] for name in ("input", "image", "fake_x", "fake"))
        game, weight = LOSSES["lsgan"].generator, self.config.cycle
        cycle = (self.F(fake_y) - x).abs().mean() + (self.G(fake_x) - y).abs().mean()  # eq. 2
        terms = {"game": 2 * (game(self.D_Y(fake_y)).mean() + game(self.D_X(fake_x)).mean()), "cycle": weight * cycle}
        if self.config.identity:
            same = (self.G(y) - y).abs().mean() + (self.F(x) - x).abs().mean()
            terms["identity"] = self.config.identity * weight * same
        return terms

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(given["input"])
