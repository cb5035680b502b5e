"""What a GAN says and what it is handed: the whole contract between a GAN's file and the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganfold.errors import GanfoldError
from ganfold.gans import noise

Terms = dict[str, Tensor]
Given = Mapping[str, Tensor]  # what a sample is made from beside its latent: fields, each with a row for each image
NOTHING: Given = MappingProxyType({})
Wants = Literal["images", "pairs", "domains", "captions"]


class Batch(dict[str, Tensor]):
    """One mini-batch: its fields by name, randomness of its own, and a place for statistics to report.

    Each field has a row for each image: `image`, float32 (B, C, H, W) in [-1, 1], the real images that D sees; `label`,
    int64 (B,), where there are classes; and what `GAN.wants` says. The trainer begins it anew before each phase, so
    that what `normal` and `uniform` give follows from (seed, step, phase) and the image's place in the batch over all
    ranks.
    """

    def __init__(self, fields: dict[str, Tensor], rows: Tensor) -> None:
        super().__init__(fields)
        self.rows = rows  # (B,) int64: places in the batch joined over all ranks
        self.stats: Terms = {}
        self._words: tuple[int | str, ...] = ()
        self._keys: Iterator[int] = iter(())

    def begin(self, *words: int | str) -> None:
        """Start a phase: new randomness, no statistics. The trainer's to call."""
        self.stats, self._words = {}, words
        self._keys = (noise.key_of(*words, call) for call in range(2**31))

    def split(self, parts: int) -> list[Batch]:
        """Its rows in so many batches, each at the start of the phase and drawing what its rows would draw here."""
        fields = {name: value.tensor_split(parts) for name, value in self.items()}
        batches = [
            Batch({name: values[part] for name, values in fields.items()}, rows)
            for part, rows in enumerate(self.rows.tensor_split(parts))
        ]
        for batch in batches:
            batch.begin(*self._words)
        return batches

    def normal(self, *shape: int) -> Tensor:
        """Fresh standard normal numbers, (B, *shape)."""
        return noise.normal(next(self._keys), self.rows, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Fresh uniform numbers in (0, 1), (B, *shape)."""
        return noise.uniform(next(self._keys), self.rows, *shape)

    def watch(self, name: str, value: Tensor) -> None:
        """Report the mean of a scalar under this name; it trains nothing."""
        self.stats[name] = value.detach()


@dataclass(frozen=True)
class Phase:
    """One update: a loss that trains exactly the weights which the named optimizer owns."""

    loss: Callable[[Batch], Terms]  # batch -> {term: scalar}; the trainer adds the terms and logs each
    optimizer: str  # key into `GAN.optimizers`; every other weight is frozen meanwhile
    rounds: int = 1  # updates a step; each after the first sees a fresh batch (a critic's n_critic)
    every: int = 1  # only each n-th step (lazy regularisers)
    since: float = 0.0  # only from so many kimg on ...
    until: float = math.inf  # ... and before so many (a beginning without a discriminator)
    early: Callable[[Batch], dict[str, Tensor]] | None = None
    """The first half of this phase's forward pass, run at the start of the step: fields for the batch. The
    phase itself differentiates through them, the others see them as constants. A fake made here is made once
    a step: D judges the very images through which G then learns. Where the trainer takes a batch in parts,
    it is run again for each part of this phase: no phase before may have moved the weights that it uses."""


@dataclass(frozen=True)
class Shape:
    """What the networks are built for."""

    channels: int  # 1 grey, 3 RGB, 4 RGBA
    resolution: int  # height and width in pixels
    classes: int = 0  # number of labels; 0 without labels
    inputs: int = 0  # channels of `batch["input"]`, where the data have it
    words: int = 0  # size of the vocabulary of `batch["text"]`, 0 for padding counted, where the data have it
    keypoints: int = 0  # how many `batch["keypoints"]` has, where the data have it


class GAN(nn.Module):
    """A GAN: networks as attributes, then `optimizers`, `phases` and `sample`. No I/O, no devices, no loops.

    A subclass has a frozen dataclass `Config` with the paper's values as defaults (`batch` among them), and
    builds its networks for `shape`, on the CPU, initialised as its paper says.
    """

    config_class: type[Any]  # the dataclass `Config` of its file
    averaged: tuple[str, ...] = ("G",)  # the networks whose running average makes the samples
    ema_kimg: float = 10.0  # half-life of that average, in thousand images ...
    ema_share: float = 0.05  # ... and at most this share of the images seen
    conditional: bool = False  # whether samples are given a label
    temper: float = 1.0  # how often classes are drawn: by their share to this power; see `Batches`
    seen: Tensor  # int64 (), the clock: real images seen before this step, over all ranks
    optimizers: dict[str, Optimizer]
    phases: list[Phase]
    latent: tuple[int, ...]  # shape of one z, without the batch

    def __init__(self, config: Any, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @staticmethod
    def resolution(native: int) -> int:
        """The resolution to train at when the user names none and the images have `native` pixels a side."""
        return min(64, power_of_two(native))

    @staticmethod
    def wants(config: Any) -> Wants:
        """What a batch must hold beside `image` (and `label`, which is there whenever the data have classes).

        "images": nothing. "pairs": `input` (B, C', H, W), which belongs to the image. "domains": `input`, an image of
        another set; its `Config` then names the set of `image` by `target`. "captions": `text`, int64 (B, L) numbers
        of words, 0 after its end; and `box`, float32 (B, 4), left, top, width and height as shares of the image; and
        `keypoints`, float32 (B, K, 3), x and y as shares and whether it can be seen, if the data have them.
        """
        return "images"

    def given(self, batch: Batch) -> Terms:
        """What G makes this batch's fakes from beside z; `sample` takes the same."""
        return {"label": batch["label"]} if self.conditional else {}

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        """Images in [-1, 1], (B, C, H, W), of latents (B, *latent) and what else is `given`."""
        raise NotImplementedError

    def rate(self, images: int) -> float:
        """The share of the learning rates to use when so many images have been seen."""
        return 1.0

    # What follows only the doctor asks for; a GAN that has no such thing leaves it as it is.

    def judge(self, batch: Batch, images: Tensor) -> Tensor | None:
        """D's opinion of images as in training, (B,): the higher the more real. None: there is no one D."""
        return None

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        """What is done to images before D sees them; the same images where nothing is."""
        return images


def power_of_two(native: int) -> int:
    """The greatest power of two up to 1.2 times the images' size, in pixels; at least 16."""
    return max(16, 1 << (int(native * 1.2).bit_length() - 1))


def halvings(shape: Shape) -> int:
    """How many maps there are from half the resolution down to 4 pixels.

    Raises:
        GanfoldError: the resolution is no power of two from 16 to 256.
    """
    if shape.resolution not in (16, 32, 64, 128, 256):
        raise GanfoldError(
            f"this GAN makes images of 16, 32, 64, 128 or 256 pixels a side, not {shape.resolution}: give --resolution"
        )
    return shape.resolution.bit_length() - 3


def cosine(images: int, kimg: float, end: float) -> float:
    """From 1 down to `end` along half a cosine while so many thousand images are seen, and `end` from there on."""
    return end + (1 - end) * (1 + math.cos(math.pi * min(1.0, images / (1000 * kimg)))) / 2


def second_half(images: int, kimg: float) -> float:
    """1 for the first half of so many thousand images, then along a line down to 0.01, and that from there on."""
    return min(1.0, max(0.01, 2 - 2 * images / (1000 * kimg)))


def adam(weights: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]) -> Adam:
    """Adam as PyTorch has it, in one fused pass over the weights."""
    return torch.optim.Adam(weights, lr=lr, betas=betas, fused=True)
