"""A GAN in plain PyTorch: the loop of docs/learn/the-loop.md, small networks, and ways to change one thing in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold import data
from ganfold.lessons.experiment import Bench, Outcome, several
from ganfold.metrics.distances import kid
from ganfold.metrics.features import efficientnet
from ganfold.networks.dcgan import Discriminator, Generator, initialise

Z = 100  # dimensions of the latent
SIDE = 16  # pixels a side
SIZE = 112  # pixels a side that the network of KID receives
KIMG, BATCH = 32, 16  # of the image experiments
REALS, FAKES = 500, 250  # images that KID compares
STATS = ("D(x)", "D(G(z))", "loss of D", "loss of G")

Change = Callable[[nn.Module, nn.Module], None]  # changes a new G and D in place


def train(
    G: nn.Module, D: nn.Module, images: Tensor, steps: int, *, batch: int = BATCH, lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999), seed: int = 0, bench: Bench | None = None,
) -> Tensor:  # fmt: skip
    """Train a GAN, and return D(x), D(G(z)) and both losses of each step: (steps, 4)."""
    random = torch.Generator().manual_seed(seed)
    for_D = torch.optim.Adam(D.parameters(), lr, betas, fused=True)
    for_G = torch.optim.Adam(G.parameters(), lr, betas, fused=True)
    log = torch.zeros(steps, 4)
    for step in range(steps):
        real = images[torch.randint(len(images), (batch,), generator=random)]
        fake = G(torch.randn(batch, Z, generator=random))

        on_real, on_fake = D(real), D(fake.detach())  # D is no way back to G here
        loss_D = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()  # -log D(x) - log(1 - D(G(z)))
        for_D.zero_grad()
        loss_D.backward()  # type: ignore[no-untyped-call]
        for_D.step()

        loss_G = F.softplus(-D(fake)).mean()  # -log D(G(z)), by the new D
        for_G.zero_grad()
        loss_G.backward()  # type: ignore[no-untyped-call]
        for_G.step()

        log[step] = torch.stack([on_real.sigmoid().mean(), on_fake.sigmoid().mean(), loss_D, loss_G]).detach()
        if bench:
            bench.tick(step / steps)
    return log


@cache
def digits() -> tuple[Tensor, np.ndarray]:
    """The bundled digits as images in [-1, 1], float32 (N, 1, 16, 16), in a random order, and their classes."""
    images = data.load("digits", resolution=SIDE, progress=False)
    order = np.random.default_rng(0).permutation(len(images))
    assert images.labels is not None
    return torch.from_numpy(images.images[order]).float() / 127.5 - 1, images.labels[order]


def convolutional(width: int = 16) -> tuple[nn.Module, nn.Module]:
    """DCGAN's networks for these digits, with its first weights."""
    G, D = Generator(Z, width, 1, SIDE), Discriminator(width, 1, SIDE)
    return G.apply(initialise), D.apply(initialise)


def as_bytes(images: Tensor) -> np.ndarray:
    """Images in [-1, 1] as uint8."""
    pixels: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    return pixels


@torch.no_grad()
def samples(G: nn.Module, count: int, seed: int = 12_345) -> Tensor:
    """Images that G makes in one batch, each BatchNorm by the statistics of that batch."""
    made: Tensor = G(torch.randn(count, Z, generator=torch.Generator().manual_seed(seed)))
    return made


@cache
def _reals(count: int) -> Tensor:
    return efficientnet(SIZE).cached(as_bytes(digits()[0][:count]))


def distance(images: Tensor, reals: int) -> float:
    """KID: how far these images are from real digits. Lower is better, and real digits score about 0."""
    return kid(efficientnet(SIZE)(as_bytes(images)), _reals(reals))[0]


def spread(images: Tensor) -> float:
    """The deviation of a pixel over the images, as a mean over pixels. 0: all images are one."""
    return float(images.std(0).mean())


def compare(bench: Bench, variants: dict[str, Change]) -> Outcome:
    """Train DCGAN's networks with one thing changed, for each variant and seed, and measure the samples."""
    outcome = Outcome()
    steps = bench.scaled(KIMG * 1000 // BATCH)
    grids: dict[str, np.ndarray] = {}
    for variant, seed in bench.each([(variant, seed) for variant in variants for seed in bench.seeds]):
        torch.manual_seed(seed)
        G, D = convolutional()
        variants[variant](G, D)
        log = train(G, D, digits()[0], steps, seed=seed, bench=bench)
        measure(outcome, bench, variant, seed, samples(G, bench.scaled(FAKES, 20)), log)
        grids.setdefault(variant, as_bytes(samples(G, 16)))
    outcome.shown["samples"] = grids
    return outcome


def measure(outcome: Outcome, bench: Bench, variant: str, seed: int, made: Tensor, log: Tensor | None) -> None:
    """Add a row for a GAN; `log` is what its training returned."""
    end = [] if log is None else log[-max(1, len(log) // 10) :].mean(0).tolist()
    distances = {"KID": distance(made, bench.scaled(REALS, 40)), "spread": spread(made)}
    outcome.add(variant, seed, **distances, **dict(zip(STATS[:2], end, strict=False)))


def kids(outcome: Outcome, variant: str) -> str:
    """The KID of each seed, for a sentence."""
    return several(outcome.of(variant, "KID"))


def swapped(network: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> None:
    """Put another layer in the place of each layer of a kind."""
    for name, layer in network.named_children():
        if isinstance(layer, kind):
            setattr(network, name, make(layer))
        else:
            swapped(layer, kind, make)


def nothing(G: nn.Module, D: nn.Module) -> None:
    """Change nothing."""
