"""The latent whose image is nearest to a given one: a search from several starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfold.gans import noise
from ganfold.gans.contract import GAN, Terms, cosine
from ganfold.latent.layers import labels_in_turn

Loss = Callable[[Tensor, Terms], Tensor]  # images (B, C, R, R) and their condition -> what to make small, (B,)
Watch = Callable[[int, Tensor], object]  # is told each step, and the latents before it

RATE = 0.03  # Adam's learning rate on z at first ...
RATE_END = 0.1  # ... falls to this share along a cosine
COMPARED = 256  # samples of the generator whose distances to each other say what is near
AT_ONCE = 32  # of them
UNSEEN = 3.0  # levels of 255: a difference that nobody sees, even where a collapsed generator's samples are one
FEATURES = 0.5  # weight of the distance in features beside the mean difference of pixels
REFINED = 0.25  # share of the steps in which the best start is refined by features too


@dataclass(frozen=True)
class Inversion:
    """The latents that a search found for an image, the nearest first."""

    z: Tensor  # (starts, *latent)
    labels: Tensor | None  # (starts,) the class of each, where the generator takes labels
    residuals: tuple[float, ...]  # the mean difference of each image, in levels of 255
    usual: float  # half of the generator's samples differ less than this from another one of 256
    path: Tensor  # (times, starts, *latent) on the way
    steps: tuple[int, ...]  # the steps of these times

    @property
    def is_far(self) -> bool:
        """Whether the image is far from what the generator makes, since chance comes as near to its samples."""
        return self.residuals[0] > max(self.usual, UNSEEN)

    @property
    def sentence(self) -> str:
        """How near the search came, and what that means."""
        told = f"{self.residuals[0]:.1f} of 255 levels"
        usual = f"two samples of the generator can be within {self.usual:.1f} by chance"
        if self.is_far:
            return f"This image is far from what the generator makes: the search ended at {told}, and {usual}."
        return f"The search ended at {told} ({usual})."


def search(
    gan: GAN, z: Tensor, condition: Terms, loss: Loss, steps: int, watch: Watch | None = None
) -> tuple[Tensor, Tensor]:
    """Move latents downhill. Each row is searched by itself; its length stays at most that of normal noise.

    Args:
        z: where each search starts, (B, *latent).
        condition: of each.

    Returns:
        The latents, (B, *latent), and the loss of each, (B,).
    """
    z = z.clone().requires_grad_()
    length = math.sqrt(z[0].numel())
    optimizer = torch.optim.Adam([z], RATE)
    for step in range(steps):
        if watch:
            watch(step, z.detach().clone())
        optimizer.param_groups[0]["lr"] = RATE * cosine(step, steps / 1000, RATE_END)
        optimizer.zero_grad()
        loss(gan.sample(z, condition), condition).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            z.mul_((length / z.flatten(1).norm(dim=1)).clamp(max=1).view(-1, *[1] * (z.ndim - 1)))
    with torch.no_grad():
        return z.detach(), loss(gan.sample(z, condition), condition)


def invert(
    gan: GAN,
    image: Tensor,
    *,
    steps: int = 400,
    starts: int = 8,
    seed: int = 0,
    times: int = 8,
    label: int | None = None,
    watch: Watch | None = None,
) -> Inversion:
    """Look for the latent of an image.

    All starts are searched by the mean difference of pixels. The best one is then refined by that and by the distance
    in the features of EfficientNet-Lite0. It is kept only where its pixels are no farther.

    Args:
        image: (1, C, R, R) in [-1, 1].
        steps: updates of z; the last quarter refines.
        starts: searches at once. They take the classes in turn where the generator takes labels.
        seed: decides where they start.
        times: how often the way is noted.
        label: the class of all starts [each class in turn, where the generator takes labels].
        watch: is told each step.
    """
    rows = torch.arange(starts)
    condition = labels_in_turn(gan, rows) if label is None else {"label": torch.full_like(rows, label)}
    first = steps - round(REFINED * steps)
    noted = sorted({round(place) for place in torch.linspace(0, max(0, first - 1), times).tolist()})
    path: list[Tensor] = []

    def note(step: int, z: Tensor) -> None:
        if step in noted:
            path.append(z)
        if watch:
            watch(step, z)

    def pixels(made: Tensor, _: Terms) -> Tensor:
        return 127.5 * (made - image).abs().mean((1, 2, 3))

    begin = noise.normal(noise.key_of(seed, "invert"), rows, *gan.latent)
    z, losses = search(gan, begin, condition, pixels, first, note)
    order = losses.argsort()
    z, condition = z[order], {name: value[order] for name, value in condition.items()}
    best = {name: value[:1] for name, value in condition.items()}
    later = None if watch is None else lambda step, z: watch(first + step, z)
    refined, _ = search(gan, z[:1], best, _with_features(image, pixels), steps - first, later)
    with torch.no_grad():
        if float(pixels(gan.sample(refined, best), best)) <= float(losses[order[0]]):
            z[:1] = refined
        residuals = pixels(gan.sample(z, condition), condition).tolist()
    return Inversion(
        z,
        condition.get("label"),
        tuple(residuals),
        usual_distance(gan, seed),
        torch.stack(path)[:, order],
        tuple(noted),
    )


def _with_features(image: Tensor, pixels: Loss) -> Loss:
    """The difference of pixels, and of features relative to the image's own."""
    from ganfold.networks.perceptual import Stages, rgb

    network = Stages().eval()
    with torch.no_grad():
        targets = network(rgb(image))

    def loss(made: Tensor, condition: Terms) -> Tensor:
        pairs = zip(network(rgb(made)), targets, strict=True)
        shares = [(mine - other).square().mean((1, 2, 3)) / other.square().mean() for mine, other in pairs]
        return pixels(made, condition) / 127.5 + FEATURES * torch.stack(shares).mean(0)

    return loss


def usual_distance(gan: GAN, seed: int) -> float:
    """How near the nearest other sample is to a sample: the median over samples, in levels of 255."""
    parts = []
    for start in range(0, COMPARED, AT_ONCE):
        rows = torch.arange(start, start + AT_ONCE)
        z = noise.normal(noise.key_of(seed, "invert-usual"), rows, *gan.latent)
        with torch.inference_mode():
            parts.append(gan.sample(z, labels_in_turn(gan, rows)).flatten(1))
    samples = torch.cat(parts)
    distances = torch.cdist(samples, samples, 1).fill_diagonal_(torch.inf).amin(1)
    return float(127.5 * distances.median() / samples.shape[1])
