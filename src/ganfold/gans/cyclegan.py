"""CycleGAN: Zhu, Park, Isola, Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", arXiv:1703.10593."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, DataKind, Phase, Shape, Terms, adam, second_half
from ganfold.gans.losses import LOSSES
from ganfold.interface.options import BatchSize, Betas, Count, NotNegative
from ganfold.networks.dcgan import initialise
from ganfold.networks.patch import PatchGAN
from ganfold.networks.pool import Pool
from ganfold.networks.smooth import Smooth


@dataclass(frozen=True)
class Config:
    target: str = ""  # images of the kind to make, Y, named as in --data, which names X
    batch: BatchSize = 4  # images of each kind per step, over all ranks (sec. 4: 1)
    width: Count = 64  # channels next to the image (sec. 7.2)
    blocks: Count = 6  # residual blocks (sec. 7.2: 6 for 128 px, 9 from 256 px on)
    patch: Literal[16, 34, 70] = 70  # side of the patches that D judges, in pixels (sec. 7.2); at most the image's
    cycle: NotNegative = 10.0  # weight of the cycle loss (sec. 4: lambda)
    identity: NotNegative = 0.0  # share of that weight to keep images of the target kind (sec. 7.1) [try 0.5]
    smooth: bool = False  # the last layers of G and F smooth areas that they deem flat, as in `rsgan`; for drawings
    pool: Count = 50  # earlier fakes that each D sees again (sec. 4)
    lr: NotNegative = 2e-4  # Adam's learning rate (sec. 4) ...
    decay_kimg: NotNegative = 200.0  # ... falls to 1 % in the second half of this many kimg (sec. 4: 200 epochs, to 0)
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2 (the authors' code)


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
    """A convolution that keeps the size, with mirrored borders, and its norm."""
    return [nn.ReflectionPad2d(size // 2), nn.Conv2d(before, after, size, bias=False), nn.InstanceNorm2d(after)]


class CycleGAN(GAN):
    config_class = Config
    task = "translation"
    conditioned_on_images = two_way = True
    planned = ("batch", "width", "decay_kimg")
    image_network = None  # there are two, one for each kind
    averaged = ("G", "F")
    multiple = 4

    @staticmethod
    def data_kind(config: Config) -> DataKind:
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
        self.apply(initialise)
        self.latent = (1,)  # unused: there is no noise
        self.optimizers = {
            "D": adam([*self.D_X.parameters(), *self.D_Y.parameters()], config.lr, config.betas),
            "G": adam([*self.G.parameters(), *self.F.parameters()], config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return second_half(images, self.config.decay_kimg)

    def condition(self, batch: Batch) -> Terms:
        return {"input": batch["input"]}

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch["input"]), "fake_x": self.F(batch["image"])}

    def discriminator(self, batch: Batch) -> Terms:  # eq. 1 by least squares (sec. 4), halved (sec. 7.1)
        loss = LOSSES["lsgan"]
        terms: Terms = {}
        kinds = {"x": (self.D_X, "input", "fake_x", self.pool_x), "y": (self.D_Y, "image", "fake", self.pool_y)}
        for kind, (D, reals, fakes, pool) in kinds.items():
            real, fake = D(batch[reals]), D(pool(batch[fakes], batch.uniform(2)))
            batch.watch(f"logit/real {kind}", real.mean())
            batch.watch(f"logit/fake {kind}", fake.mean())
            terms |= {f"real {kind}": loss.real(real).mean(), f"fake {kind}": loss.fake(fake).mean()}
        return terms

    def generator(self, batch: Batch) -> Terms:  # eq. 3
        x, y, fake_x, fake_y = (batch[name] for name in ("input", "image", "fake_x", "fake"))
        game, weight = LOSSES["lsgan"].generator, self.config.cycle
        cycle = (self.F(fake_y) - x).abs().mean() + (self.G(fake_x) - y).abs().mean()  # eq. 2
        terms = {"game": 2 * (game(self.D_Y(fake_y)).mean() + game(self.D_X(fake_x)).mean()), "cycle": weight * cycle}
        if self.config.identity:
            same = (self.G(y) - y).abs().mean() + (self.F(x) - x).abs().mean()
            terms["identity"] = self.config.identity * weight * same
        return terms

    def translate(self, x: Tensor, z: Tensor, reverse: bool = False) -> Tensor:
        return self.F(x) if reverse else self.G(x)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(condition["input"])
