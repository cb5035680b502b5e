"""The contract between a GAN's file and the trainer: what the file says, and what it is handed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganfold.gans import noise

Terms = dict[str, Tensor]
Condition = Mapping[str, Tensor]  # what a sample is made from, beside its latent: fields with a row for each image
NOTHING: Condition = MappingProxyType({})
DataKind = Literal["images", "pairs", "domains", "captions"]
Task = Literal["generation", "super-resolution", "inpainting", "translation", "captions"]
InputKind = Literal["image", "edges", "grey", "lowres", "masked"]


class Batch(dict[str, Tensor]):
    """One mini-batch: fields by name, randomness of its own, and a place for statistics to report.

    Each field has a row for each image. `image` is float32 (B, C, H, W) in [-1, 1], the real images. `label` is
    int64 (B,), where the data have classes. `GAN.data_kind` adds further fields.

    The trainer begins a batch anew before each phase. The numbers of `normal` and `uniform` then follow from the seed,
    the step, the phase and the image's place in the batch over all ranks.
    """

    def __init__(self, fields: dict[str, Tensor], rows: Tensor) -> None:
        super().__init__(fields)
        self.rows = rows  # (B,) int64: places in the batch joined over all ranks
        self.stats: Terms = {}
        self.make: Callable[[Batch], Terms] | None = None  # set by the trainer; see `__missing__`
        self._words: tuple[int | str, ...] = ()
        self._keys: Iterator[int] = iter(())

    def __missing__(self, name: str) -> Tensor:
        """Make the fields of `Phase.early` when a later round first asks for one. `get` and `in` make nothing."""
        make, self.make = self.make, None
        for made, value in (make(self) if make else {}).items():
            self.setdefault(made, value)
        if name not in self:
            raise KeyError(name)
        return self[name]

    def begin(self, *words: int | str) -> None:
        """Start a phase with new randomness and no statistics. Only the trainer calls this."""
        self.stats, self._words = {}, words
        self._keys = (noise.key_of(*words, call) for call in range(2**31))

    def split(self, parts: int) -> list[Batch]:
        """Its rows in this many batches. Each begins the phase anew, and draws what its rows would draw here."""
        fields = {name: value.tensor_split(parts) for name, value in self.items()}
        batches = [
            Batch({name: values[part] for name, values in fields.items()}, rows)
            for part, rows in enumerate(self.rows.tensor_split(parts))
        ]
        for batch in batches:
            batch.make = self.make
            batch.begin(*self._words)
        return batches

    def normal(self, *shape: int) -> Tensor:
        """Fresh standard normal numbers, (B, *shape)."""
        return noise.normal(next(self._keys), self.rows, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Fresh uniform numbers in (0, 1), (B, *shape)."""
        return noise.uniform(next(self._keys), self.rows, *shape)

    def watch(self, name: str, value: Tensor) -> None:
        """Report the mean of a scalar under this name. It trains nothing."""
        self.stats[name] = value.detach()


@dataclass(frozen=True)
class Phase:
    """One update: a loss that trains exactly the weights that the named optimizer owns."""

    loss: Callable[[Batch], Terms]  # batch -> {term: scalar}; the trainer adds the terms and logs each
    optimizer: str  # key into `GAN.optimizers`; all other weights are frozen meanwhile
    rounds: int = 1  # updates in a step; each after the first sees a fresh batch (a critic's n_critic)
    every: int = 1  # run in every n-th step only (lazy regularisers)
    since: float = 0.0  # run from this many kimg on ...
    until: float = math.inf  # ... and before this many (a beginning without a discriminator)
    since_option: str = ""  # the option that sets `since`, for advice where training ends before
    early: Callable[[Batch], dict[str, Tensor]] | None = None
    """The first half of this phase's forward pass: it makes fields, and runs at the start of the step.

    This phase differentiates through these fields, and sees the batch that they were made from. All other phases see
    them as constants. A fake that is made here is made once in a step: D judges the very images through which G learns.

    The batch of a later round has these fields too, made from its own rows. The trainer makes them when a loss first
    asks for one, as in `batch["fake"]`. A critic that makes its own fakes therefore costs nothing extra.

    If memory holds only parts of a batch, `early` runs again for each part of this phase. An earlier phase must not
    have moved the weights that it uses.
    """


@dataclass(frozen=True)
class Shape:
    """What the networks are built for."""

    channels: int  # 1 grey, 3 RGB, 4 RGBA
    resolution: int  # height and width in pixels
    classes: int = 0  # number of labels; 0 without labels
    inputs: int = 0  # channels of `batch["input"]`, if the data have it
    words: int = 0  # size of the vocabulary of `batch["text"]`, including 0 for padding, if the data have it
    keypoints: int = 0  # number of points in `batch["keypoints"]`, if the data have it


class GAN(nn.Module):
    """Networks as attributes, then `optimizers`, `phases` and `sample`. No I/O, no devices, no loops.

    A subclass has a frozen dataclass `Config` with the paper's values as defaults, `batch` among them. It builds its
    networks for `shape`, on the CPU, and initialises them as the paper says.
    """

    # Every GAN sets these.
    config_class: type[Any]  # the dataclass `Config` of its file
    latent: tuple[int, ...]  # shape of one z, without the batch
    optimizers: dict[str, Optimizer]
    phases: list[Phase]
    seen: Tensor  # int64 (), the clock: real images seen before this step, over all ranks; the trainer sets it

    # A GAN sets these if the default is wrong. They tell the rest of the package what it is.
    task: Task = "generation"
    conditioned_on_images: bool = False  # whether `condition` takes fields of real images, beyond the label
    conditional: bool = False  # whether `sample` takes a label
    needs_labels: bool = False  # whether it cannot do without labels
    can_take_labels: bool = False  # whether it learns by class, always or by its option `labels`
    planned: tuple[str, ...] = ("batch", "width", "augment")  # options that a plan may set, if `Config` has them
    study_options: Mapping[str, Any] = MappingProxyType({})  # its options where `augment` and `study` train it
    image_network: str | None = "D"  # dotted name of the network that sees an image and nothing else, for `probe`
    averaged: tuple[str, ...] = ("G",)  # the networks whose running average makes the samples
    ema_kimg: float = 10.0  # half-life of that average, in thousand images ...
    ema_share: float = 0.05  # ... and at most this share of the images seen
    temper: float = 1.0  # classes are drawn by their share to this power; see `Batches`
    crops_natively: bool = False  # whether it learns from random crops of larger images, unless `crops` says otherwise
    mixes_images: bool = False  # whether a loss depends on which images share a batch, beyond BatchNorm
    code_values: tuple[int, ...] = ()  # how many values each code in z has; 0: any number from -1 to 1

    # For tasks that take a user's image.
    scale: int = 1  # how many times larger the result is than the user's image
    reach: int = 0  # super-resolution: pixels of the small image that one pixel depends on, to each side, at most
    two_way: bool = False  # translation: whether `translate` also goes back
    multiple: int = 1  # translation: height and width of an input are multiples of this
    input_kind: InputKind = "image"  # translation: an input itself, or what the inputs were made of each image

    def __init__(self, config: Any, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Images in [-1, 1], (B, C, H, W), from latents (B, *latent) and the fields of `condition`."""
        raise NotImplementedError

    # All methods below are optional.

    @staticmethod
    def resolution(native: int) -> int:
        """The resolution to train at if the user names none and the images have `native` pixels a side."""
        return min(64, power_of_two(native))

    @staticmethod
    def data_kind(config: Any) -> DataKind:
        """What a batch holds beside `image`, and beside `label` if the data have classes.

        "images": nothing. "pairs": `input` (B, C', H, W), which belongs to the image. "domains": `input`, an image of
        another set; `Config.target` then names the set of `image`. "captions": `text`, int64 (B, L), numbers of words
        with 0 after the end; `box`, float32 (B, 4), left, top, width and height as shares of the image; `keypoints`,
        float32 (B, K, 3), x and y as shares and 1 if visible, if the data have them.
        """
        return "images"

    def condition(self, batch: Batch) -> Terms:
        """What G makes the fakes of this batch from, beside z. `sample` takes the same fields."""
        return {"label": batch["label"]} if self.conditional else {}

    def rate(self, images: int) -> float:
        """The share of the learning rates to use after this many images."""
        return 1.0

    def judge(self, batch: Batch, images: Tensor) -> Tensor | None:
        """D's opinion of images as in training, (B,): higher is more real. It diagnoses training.

        The batch has `label`, if the data have classes, and no other field.
        """
        return None

    @property
    def judges(self) -> bool:
        """Whether it has a `judge`."""
        return type(self).judge is not GAN.judge

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        """The change that images undergo before D sees them. It diagnoses training."""
        return images

    @property
    def augments(self) -> bool:
        """Whether it has an `augment`."""
        return type(self).augment is not GAN.augment

    def with_code(self, z: Tensor, code: int, value: float) -> Tensor:
        """Latents (B, *latent) with one of `code_values` set to a value."""
        raise NotImplementedError

    def translate(self, x: Tensor, z: Tensor, reverse: bool = False) -> Tensor:
        """Translation: images from inputs; `reverse`: inputs from images, if `two_way`."""
        return self.sample(z, {"input": x})


def power_of_two(native: int) -> int:
    """The greatest power of two up to 1.2 times the images' size, in pixels; at least 16."""
    return max(16, 1 << (int(native * 1.2).bit_length() - 1))


def cosine(images: int, kimg: float, end: float) -> float:
    """Falls from 1 to `end` along half a cosine over this many thousand images, and then stays."""
    return end + (1 - end) * (1 + math.cos(math.pi * min(1.0, images / (1000 * kimg)))) / 2


def second_half(images: int, kimg: float) -> float:
    """Stays 1 for the first half of this many thousand images, falls in a line to 0.01, and then stays."""
    return min(1.0, max(0.01, 2 - 2 * images / (1000 * kimg)))


def _spare_the_compiler() -> None:
    """Keep PyTorch from importing its compiler, which takes a second, where a run is opened and not trained.

    A GAN makes its optimizers then, and PyTorch would only mark these methods as not to be compiled. If another version
    of PyTorch does otherwise, this does nothing.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            vars(method).setdefault("__dynamo_disable", method)


_spare_the_compiler()


def adam(weights: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]) -> Adam:
    """PyTorch's Adam, in one fused pass over the weights."""
    return torch.optim.Adam(weights, lr=lr, betas=betas, fused=True)


def adam_pair(gan: GAN, config: Any) -> dict[str, Optimizer]:
    """One Adam for D and one for G, both with the configuration's `lr` and `betas`."""
    return {name: adam(getattr(gan, name).parameters(), config.lr, config.betas) for name in ("D", "G")}
