"""Plain training steps of the GANs, written anew after their best-known programs. `peers.py` compares with them.

Each has the networks, batch, losses and order of updates of that program at its own configuration, and the habits that
cost time: eager, NCHW, default optimizers, `.item()` after each loss. All are fed from memory.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, RMSprop

from turns import Step

IMAGES, CLASSES, WORDS, LENGTH = 256, 10, 40, 24  # of the random sets


def drawn(batch: int, *shape: int) -> Callable[[], Tensor]:
    """Draws batches of random images (batch, *shape) in [-1, 1]."""
    images = torch.randint(0, 256, (IMAGES, *shape), dtype=torch.uint8)
    return lambda: images[torch.randperm(IMAGES)[:batch]].float() / 127.5 - 1


def adam(*networks: nn.Module, lr: float = 2e-4, betas: tuple[float, float] = (0.5, 0.999)) -> Adam:
    return Adam(itertools.chain(*(network.parameters() for network in networks)), lr, betas)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss.item()


# PyTorch-GAN (E. Linder-Noren): fully connected networks for digits of 28 or 32 pixels.


def mlp_generator(inputs: int, side: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(inputs, 128), nn.LeakyReLU(0.2, True)]
    for before, after in pairwise((128, 256, 512, 1024)):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after, 0.8), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Linear(1024, side * side), nn.Tanh(), nn.Unflatten(1, (1, side, side)))


def mlp_discriminator(side: int, *last: nn.Module) -> nn.Sequential:
    hidden = [nn.Linear(side * side, 512), nn.LeakyReLU(0.2, True), nn.Linear(512, 256), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(256, 1), *last)


def gan(batch: int = 64) -> Step:
    G, D = mlp_generator(100, 28), mlp_discriminator(28, nn.Sigmoid())
    g, d, draw, bce = adam(G), adam(D), drawn(batch, 1, 28, 28), nn.BCELoss()

    def step() -> None:
        real, ones, zeros = draw(), torch.ones(batch, 1), torch.zeros(batch, 1)
        g.zero_grad()
        fake = G(torch.randn(batch, 100))
        update(g, bce(D(fake), ones))
        d.zero_grad()
        update(d, (bce(D(real), ones) + bce(D(fake.detach()), zeros)) / 2)

    return step


class LabelledGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.label, self.main = nn.Embedding(CLASSES, CLASSES), mlp_generator(100 + CLASSES, 32)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        made: Tensor = self.main(torch.cat([self.label(y), z], 1))
        return made


class LabelledDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(CLASSES, CLASSES)
        layers: list[nn.Module] = [nn.Linear(32 * 32 + CLASSES, 512), nn.LeakyReLU(0.2, True)]
        for _ in range(2):
            layers += [nn.Linear(512, 512), nn.Dropout(0.4), nn.LeakyReLU(0.2, True)]
        self.main = nn.Sequential(*layers, nn.Linear(512, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        value: Tensor = self.main(torch.cat([x.flatten(1), self.label(y)], 1))
        return value


def cgan(batch: int = 64) -> Step:
    G, D = LabelledGenerator(), LabelledDiscriminator()
    g, d, draw, mse = adam(G), adam(D), drawn(batch, 1, 32, 32), nn.MSELoss()

    def step() -> None:
        real, y, ones, zeros = draw(), torch.randint(CLASSES, (batch,)), torch.ones(batch, 1), torch.zeros(batch, 1)
        g.zero_grad()
        drawn_y = torch.randint(CLASSES, (batch,))
        fake = G(torch.randn(batch, 100), drawn_y)
        update(g, mse(D(fake, drawn_y), ones))
        d.zero_grad()
        update(d, (mse(D(real, y), ones) + mse(D(fake.detach(), drawn_y), zeros)) / 2)

    return step


def wgan(batch: int = 64) -> Step:
    G, D = mlp_generator(100, 28), mlp_discriminator(28)
    g, d, draw = RMSprop(G.parameters(), 5e-5), RMSprop(D.parameters(), 5e-5), drawn(batch, 1, 28, 28)

    def step() -> None:
        for _ in range(5):
            real = draw()
            d.zero_grad()
            fake = G(torch.randn(batch, 100)).detach()
            update(d, -D(real).mean() + D(fake).mean())
            for weight in D.parameters():
                weight.data.clamp_(-0.01, 0.01)
        g.zero_grad()
        update(g, -D(G(torch.randn(batch, 100))).mean())

    return step


def slopes(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The penalty, by a second derivative."""
    share = torch.rand(len(real), 1, 1, 1)
    mixed = (share * real + (1 - share) * fake).requires_grad_(True)
    value = D(mixed)
    (slope,) = torch.autograd.grad(value, mixed, torch.ones_like(value), create_graph=True, retain_graph=True)
    return ((slope.reshape(len(real), -1).norm(2, dim=1) - 1) ** 2).mean()


def wgan_gp(batch: int = 64) -> Step:
    G, D = mlp_generator(100, 28), mlp_discriminator(28)
    g, d, draw = adam(G), adam(D), drawn(batch, 1, 28, 28)

    def step() -> None:
        for _ in range(5):
            real = draw()
            d.zero_grad()
            fake = G(torch.randn(batch, 100))  # not detached: G's gradients are computed, and dropped
            update(d, -D(real).mean() + D(fake).mean() + 10 * slopes(D, real.data, fake.data))
        g.zero_grad()
        update(g, -D(G(torch.randn(batch, 100))).mean())

    return step


class Codes(nn.Module):
    """InfoGAN's D and Q."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((1, 16, 32, 64, 128)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2, True), nn.Dropout2d(0.25)]
            layers += [nn.BatchNorm2d(after, 0.8)] if before > 1 else []
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.real, self.code = nn.Linear(512, 1), nn.Linear(512, 2)
        self.label = nn.Sequential(nn.Linear(512, CLASSES), nn.Softmax(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.trunk(x)
        return self.real(features), self.label(features), self.code(features)


def infogan(batch: int = 64) -> Step:
    first = nn.Sequential(nn.Linear(62 + CLASSES + 2, 128 * 64), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128))
    layers: list[nn.Module] = []
    for before, after in ((128, 128), (128, 64)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after, 0.8)]
        layers += [nn.LeakyReLU(0.2, True)]
    G, D = nn.Sequential(*first, *layers, nn.Conv2d(64, 1, 3, 1, 1), nn.Tanh()), Codes()
    g, d, both, draw, mse = adam(G), adam(D), adam(G, D), drawn(batch, 1, 32, 32), nn.MSELoss()

    def latent() -> tuple[Tensor, Tensor, Tensor]:
        y, code = torch.randint(CLASSES, (batch,)), torch.rand(batch, 2) * 2 - 1
        return torch.cat([torch.randn(batch, 62), F.one_hot(y, CLASSES).float(), code], 1), y, code

    def step() -> None:
        real, ones, zeros = draw(), torch.ones(batch, 1), torch.zeros(batch, 1)
        g.zero_grad()
        fake = G(latent()[0])
        update(g, mse(D(fake)[0], ones))
        d.zero_grad()
        update(d, (mse(D(real)[0], ones) + mse(D(fake.detach())[0], zeros)) / 2)
        both.zero_grad()
        z, y, code = latent()
        _, label, read = D(G(z))
        update(both, F.cross_entropy(label, y) + 0.1 * mse(read, code))

    return step


def context_encoder(batch: int = 8) -> Step:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in pairwise((64, 64, 128, 256, 512)):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after, 0.8), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(512, 4000, 1)]
    for before, after in pairwise((4000, 512, 256, 128, 64)):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.BatchNorm2d(after, 0.8), nn.ReLU()]
    G = nn.Sequential(*layers, nn.Conv2d(64, 3, 3, 1, 1), nn.Tanh())
    judged: list[nn.Module] = []
    for before, after, stride in ((3, 64, 2), (64, 128, 2), (128, 256, 2), (256, 512, 1)):
        judged += [nn.Conv2d(before, after, 3, stride, 1), *([nn.InstanceNorm2d(after)] if before > 3 else [])]
        judged += [nn.LeakyReLU(0.2, True)]
    D = nn.Sequential(*judged, nn.Conv2d(512, 1, 3, 1, 1))
    g, d, draw, mse, l1 = adam(G), adam(D), drawn(batch, 3, 128, 128), nn.MSELoss(), nn.L1Loss()

    def step() -> None:
        images, ones, zeros = draw(), torch.ones(batch, 1, 8, 8), torch.zeros(batch, 1, 8, 8)
        masked, hole = images.clone(), images[:, :, 32:96, 32:96].clone()
        masked[:, :, 32:96, 32:96] = 1
        g.zero_grad()
        fake = G(masked)
        update(g, 0.001 * mse(D(fake), ones) + 0.999 * l1(fake, hole))
        d.zero_grad()
        update(d, 0.5 * (mse(D(hole), ones) + mse(D(fake.detach()), zeros)))

    return step


class Added(nn.Sequential):
    """x + layers of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-untyped-call]


def srgan(batch: int = 4) -> Step:
    def conv(before: int, after: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after, 0.8)]

    blocks = [Added(*conv(64, 64), nn.PReLU(), *conv(64, 64)) for _ in range(16)]
    ups = [layer for _ in range(2) for layer in (*conv(64, 256), nn.PixelShuffle(2), nn.PReLU())]
    first = nn.Sequential(nn.Conv2d(3, 64, 9, 1, 4), nn.PReLU())
    G = nn.Sequential(first, Added(*blocks, *conv(64, 64)), *ups, nn.Conv2d(64, 3, 9, 1, 4), nn.Tanh())
    judged: list[nn.Module] = []
    for before, after in pairwise((3, 64, 128, 256, 512)):
        judged += [*conv(before, after)[: 1 if before == 3 else 2], nn.LeakyReLU(0.2, True)]
        judged += [*conv(after, after, 2), nn.LeakyReLU(0.2, True)]
    D = nn.Sequential(*judged, nn.Conv2d(512, 1, 3, 1, 1))
    seen: list[nn.Module] = []  # the first 18 layers of VGG-19; its speed needs no trained weights
    for before, after in ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 256)):
        seen += [nn.MaxPool2d(2)] if before in (64, 128) and after == 2 * before else []
        seen += [nn.Conv2d(before, after, 3, 1, 1), nn.ReLU(True)]
    vgg = nn.Sequential(*seen).eval()  # not frozen: the gradients of its weights are computed too
    g, d, draw, mse, l1 = adam(G), adam(D), drawn(batch, 3, 256, 256), nn.MSELoss(), nn.L1Loss()

    def step() -> None:
        high, ones, zeros = draw(), torch.ones(batch, 1, 16, 16), torch.zeros(batch, 1, 16, 16)
        low = F.interpolate(high, scale_factor=0.25, mode="bicubic", antialias=True)
        g.zero_grad()
        fake = G(low)
        judged_fake, content = mse(D(fake), ones), l1(vgg(fake), vgg(high).detach())
        update(g, content + 1e-3 * judged_fake)
        d.zero_grad()
        update(d, (mse(D(high), ones) + mse(D(fake.detach()), zeros)) / 2)

    return step


# pytorch-CycleGAN-and-pix2pix (J.-Y. Zhu, T. Park)


class Level(nn.Module):
    """A level of the U-Net: down, what lies below, up, joined with its input unless it is the outermost one."""

    def __init__(self, outer: int, inner: int, below: Level | None, ends: tuple[int, int] | None = None) -> None:
        super().__init__()
        before, after = ends or (outer, outer)
        down: list[nn.Module] = [nn.Conv2d(before, inner, 4, 2, 1, bias=False)]
        down = down if ends else [nn.LeakyReLU(0.2, True), *down]
        down += [nn.BatchNorm2d(inner)] if below and not ends else []
        joined = 2 * inner if below else inner
        up: list[nn.Module] = [nn.ReLU(True), nn.ConvTranspose2d(joined, after, 4, 2, 1, bias=bool(ends))]
        up += [nn.Tanh()] if ends else [nn.BatchNorm2d(outer)]
        up += [nn.Dropout(0.5)] if below and outer == inner else []
        self.main, self.outermost = nn.Sequential(*down, *([below] if below else []), *up), bool(ends)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.main(x)
        return made if self.outermost else torch.cat([x, made], 1)


def unet() -> nn.Module:
    level = Level(512, 512, None)
    for outer, inner in ((512, 512), (512, 512), (512, 512), (256, 512), (128, 256), (64, 128)):
        level = Level(outer, inner, level)
    return Level(64, 64, level, (3, 3))


def patches(channels: int, norm: Callable[[int], nn.Module], bias: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for before, after, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=bias), norm(after), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


def frozen(networks: Iterable[nn.Module], yes: bool) -> None:
    for network in networks:
        network.requires_grad_(not yes)


def pix2pix(batch: int = 2) -> Step:
    G, D = unet(), patches(6, nn.BatchNorm2d, False)
    g, d, draw, draw_input = adam(G), adam(D), drawn(batch, 3, 256, 256), drawn(batch, 3, 256, 256)
    bce, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()

    def step() -> None:
        x, y = draw_input(), draw()
        fake = G(x)
        frozen([D], False)
        d.zero_grad()
        out, real = D(torch.cat([x, fake], 1).detach()), D(torch.cat([x, y], 1))
        update(d, (bce(out, torch.zeros_like(out)) + bce(real, torch.ones_like(real))) * 0.5)
        frozen([D], True)
        g.zero_grad()
        out = D(torch.cat([x, fake], 1))
        update(g, bce(out, torch.ones_like(out)) + 100 * l1(fake, y))

    return step


def resnet(blocks: int = 6) -> nn.Sequential:
    def conv(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
        pad: list[nn.Module] = [nn.ReflectionPad2d(size // 2)] if stride == 1 else []
        return [*pad, nn.Conv2d(before, after, size, stride, 0 if pad else 1), nn.InstanceNorm2d(after)]

    layers = [*conv(3, 64, 7), nn.ReLU(True), *conv(64, 128, 3, 2), nn.ReLU(True), *conv(128, 256, 3, 2), nn.ReLU(True)]
    layers += [Added(*conv(256, 256, 3), nn.ReLU(True), *conv(256, 256, 3)) for _ in range(blocks)]
    for before, after in ((256, 128), (128, 64)):
        layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), nn.InstanceNorm2d(after), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())


def pooled(pool: list[Tensor], images: Tensor) -> Tensor:
    shown = []
    for image in images.data:
        if len(pool) < 50:
            pool.append(image[None])
            shown.append(image[None])
        elif random.random() > 0.5:
            place = random.randrange(50)
            shown.append(pool[place].clone())
            pool[place] = image[None]
        else:
            shown.append(image[None])
    return torch.cat(shown)


def cyclegan(batch: int = 2) -> Step:
    G, H = resnet(), resnet()  # A -> B, B -> A
    D_A, D_B = (patches(3, nn.InstanceNorm2d, True) for _ in range(2))
    g, d, draw_a, draw_b = adam(G, H), adam(D_A, D_B), drawn(batch, 3, 128, 128), drawn(batch, 3, 128, 128)
    mse, l1, pool_a, pool_b = nn.MSELoss(), nn.L1Loss(), [], []  # type: ignore[var-annotated]

    def judged(out: Tensor, target: float) -> Tensor:
        return mse(out, torch.full_like(out, target))

    def step() -> None:
        a, b = draw_a(), draw_b()
        fake_b = G(a)
        again_a, fake_a = H(fake_b), H(b)
        again_b = G(fake_a)
        frozen([D_A, D_B], True)
        g.zero_grad()
        same = 5 * (l1(G(b), b) + l1(H(a), a))
        game = judged(D_B(fake_b), 1) + judged(D_A(fake_a), 1)
        update(g, game + 10 * (l1(again_a, a) + l1(again_b, b)) + same)
        frozen([D_A, D_B], False)
        d.zero_grad()
        for D, real, fake, pool in ((D_B, b, fake_b, pool_b), (D_A, a, fake_a, pool_a)):
            shown = pooled(pool, fake)
            loss = (judged(D(real), 1) + judged(D(shown.detach()), 0)) * 0.5
            loss.backward()  # type: ignore[no-untyped-call]
            loss.item()
        d.step()

    return step


# The rest have no program that everybody uses: plain loops with the networks that ganfold has for them.


def halved(widths: Iterable[int], norm: bool = True) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), *([nn.BatchNorm2d(after)] if norm else [])]
        layers += [nn.LeakyReLU(0.2, True)]
    return layers


def doubled(widths: Iterable[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(True)]
    return layers


def first_map(inputs: int, width: int) -> list[nn.Module]:
    layer = nn.ConvTranspose2d(inputs, width, 4, 1, 0, bias=False)
    return [nn.Unflatten(1, (inputs, 1, 1)), layer, nn.BatchNorm2d(width), nn.ReLU(True)]


def rsgan(batch: int = 16) -> Step:
    first = [nn.Conv2d(3, 48, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    D = nn.Sequential(*first, *halved((48, 96, 192, 384)), nn.Conv2d(384, 1, 4, 1, 0, bias=False), nn.Flatten(0))
    last = nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False)
    G = nn.Sequential(*first_map(64, 256), *doubled((256, 128, 64, 32)), last, nn.Tanh())
    g, d, draw = adam(G, lr=1e-3), adam(D, lr=1e-3), drawn(batch, 3, 64, 64)

    def step() -> None:
        real = draw()
        d.zero_grad()
        fake = G(torch.randn(batch, 64))
        update(d, F.relu(1 - (D(real) - D(fake.detach()))).mean())
        g.zero_grad()
        update(g, F.relu(1 - (D(fake) - D(real))).mean())

    return step


class Residual(Added):
    def __init__(self, width: int, norm: bool) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [*([nn.BatchNorm2d(width)] if norm else []), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, 1, 1)]
        super().__init__(*layers)


def r3gan(batch: int = 32) -> Step:
    widths = (16, 32, 64, 128)
    up: list[nn.Module] = [nn.Linear(64, 16 * 128), nn.Unflatten(1, (128, 4, 4)), Residual(128, True)]
    for before, after in pairwise(widths[::-1]):
        up += [nn.Conv2d(before, after, 1), nn.Upsample(scale_factor=2, mode="bilinear"), Residual(after, True)]
    G = nn.Sequential(
        *up, nn.BatchNorm2d(16), nn.LeakyReLU(0.2), nn.Conv2d(16, 12, 3, 1, 1), nn.PixelShuffle(2), nn.Tanh()
    )
    down: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(12, 16, 3, 1, 1)]
    for before, after in pairwise(widths):
        down += [Residual(before, False), nn.AvgPool2d(2), nn.Conv2d(before, after, 1)]
    D = nn.Sequential(*down, Residual(128, False), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16 * 128, 1))
    g, d, draw = adam(G, lr=5e-4, betas=(0.0, 0.99)), adam(D, lr=5e-4, betas=(0.0, 0.99)), drawn(batch, 3, 64, 64)

    def penalty(images: Tensor, value: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(value.sum(), images, create_graph=True)
        return slope.square().sum((1, 2, 3))

    def step() -> None:
        d.zero_grad()
        real, fake = draw().requires_grad_(), G(torch.randn(batch, 64)).detach().requires_grad_()
        value, other = D(real), D(fake)
        slopes = penalty(real, value) + penalty(fake, other)
        update(d, (F.softplus(other - value).flatten() + slopes).mean())
        g.zero_grad()
        real = draw()
        update(g, F.softplus(D(real) - D(G(torch.randn(batch, 64)))).mean())

    return step


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word, self.near, self.last = nn.Embedding(WORDS, 64), nn.Conv1d(64, 64, 3, 1, 1), nn.Linear(64, 64)

    def forward(self, text: Tensor) -> Tensor:
        found: Tensor = self.last(self.near(self.word(text).transpose(1, 2)).relu().amax(2))
        return found


def placed(maps: Tensor, box: Tensor, inside: bool) -> Tensor:
    """A spatial transformer: the part of maps in boxes, or maps pasted into boxes."""
    left, top, width, height = box.unbind(1)
    across, down = 2 * left + width - 1, 2 * top + height - 1
    zero = torch.zeros_like(left)
    rows = (width, zero, across, zero, height, down)
    if not inside:
        rows = (1 / width, zero, -across / width, zero, 1 / height, -down / height)
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, align_corners=False)


def spread(what: Tensor) -> Tensor:
    return what[:, :, None, None].expand(-1, -1, 16, 16)


class CaptionGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = Text()
        first = [nn.Conv2d(65, 32, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
        self.coarse = nn.Sequential(*first, nn.Flatten(), nn.Linear(32 * 64, 64))
        self.everywhere = nn.Sequential(*first_map(192, 128), *doubled((128, 64, 32)))
        self.local = nn.Sequential(*first_map(192, 256), *doubled((256, 128, 64)))
        last = nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False)
        self.merged = nn.Sequential(*doubled((97, 32)), last, nn.Tanh())

    def forward(self, z: Tensor, text: Tensor, box: Tensor) -> Tensor:
        what, mask = self.text(text), placed(torch.ones(len(z), 1, 16, 16), box, False)
        inputs = torch.cat([z, what, self.coarse(torch.cat([spread(what) * mask, mask], 1))], 1)
        local = placed(self.local(inputs), box, False)
        made: Tensor = self.merged(torch.cat([self.everywhere(inputs), local, mask], 1))
        return made


class CaptionDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = Text()
        self.trunk = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True), *halved((32, 64)))
        self.everywhere = nn.Sequential(*halved((64, 128, 256)), nn.Conv2d(256, 1, 4, bias=False), nn.Flatten(0))
        first = [nn.Conv2d(64 + 1 + 64, 64, 1), nn.LeakyReLU(0.2, True)]
        last = [nn.Conv2d(256, 1, 4, bias=False), nn.Flatten(0)]
        self.local = nn.Sequential(*first, *halved((64, 128, 256), norm=False), *last)

    def forward(self, x: Tensor, text: Tensor, box: Tensor) -> Tensor:
        maps, mask = self.trunk(x), placed(torch.ones(len(x), 1, 16, 16), box, False)
        seen = placed(torch.cat([maps, mask], 1), box, True)
        value: Tensor = self.everywhere(maps) + self.local(torch.cat([seen, spread(self.text(text))], 1))
        return value


def gawwn(batch: int = 32) -> Step:
    G, D = CaptionGenerator(), CaptionDiscriminator()
    g, d, draw, bce = adam(G, lr=1e-3), adam(D, lr=1e-3), drawn(batch, 3, 64, 64), nn.BCEWithLogitsLoss()

    def step() -> None:
        real, text = draw(), torch.randint(WORDS, (batch, LENGTH))
        box = torch.cat([torch.rand(batch, 2) * 0.4, torch.rand(batch, 2) * 0.3 + 0.3], 1)
        ones, zeros = torch.ones(batch), torch.zeros(batch)
        d.zero_grad()
        fake = G(torch.randn(batch, 64), text, box)
        wrong, made = bce(D(real, text.roll(1, 0), box), zeros), bce(D(fake.detach(), text, box), zeros)
        update(d, bce(D(real, text, box), ones) + (wrong + made) / 2)
        g.zero_grad()
        update(g, bce(D(fake, text, box), ones))

    return step


STEPS: dict[str, Callable[..., Any]] = {
    "gan": gan,
    "cgan": cgan,
    "wgan": wgan,
    "wgan-gp": wgan_gp,
    "infogan": infogan,
    "context-encoder": context_encoder,
    "srgan": srgan,
    "pix2pix": pix2pix,
    "cyclegan": cyclegan,
    "gawwn": gawwn,
    "r3gan": r3gan,
    "rsgan": rsgan,
}
