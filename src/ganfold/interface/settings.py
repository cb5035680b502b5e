"""How to train, whatever the GAN: the half of the options that stands beside the GAN's own `Config`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ganfold.interface.options import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, SEED, check_ranges


@dataclass(frozen=True)
class Settings:
    kimg: Annotated[float | None, POSITIVE] = None  # stop after this many thousand images [1000 for a named GAN]
    minutes: Annotated[float | None, POSITIVE] = None  # stop after this many minutes of training, over all calls
    seed: Annotated[int, SEED] = 0  # decides first weights, data order, latents and augmentation
    resolution: int | None = None  # height and width in pixels [from the data and the GAN]
    channels: Literal[1, 3, 4] | None = None  # 1 grey, 3 RGB, 4 RGBA [from the data]
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how images that are not square become square
    crops: int | Literal["native", "off"] | None = None  # random crops of images this many px a side [srgan: native]
    held_out: float | None = None  # share of images never trained on [0.1, at most 5000; 0 under 500 images]
    classes_from: Annotated[int, AT_LEAST_ONE] = 1  # level of the nested folders that are the classes: 1 is the first
    flips: bool = False  # mirror each image with probability 1/2 (not for text, logos or handed objects)
    ema_kimg: Annotated[float | None, NOT_NEGATIVE] = None  # half-life of G's average, in thousand images [the GAN's]
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 where the device has it: faster, slightly less exact
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to train; auto takes the fastest device
    sync_bn: bool = False  # several GPUs: BatchNorm over the joined batch instead of each rank's own
    report_kimg: Annotated[float, POSITIVE] = 2.0  # write a log line and a grid of samples this often (rarer later)
    evaluate_every: Annotated[float | None, NOT_NEGATIVE] = None  # kimg between checkups; 0: none [10 in a budget]
    rescue: bool = True  # if training diverges, go back and continue at half the learning rate, three times at most
    checkpoint_minutes: Annotated[float, NOT_NEGATIVE] = 3.0  # save this often, and at the end and on Ctrl-C

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def budget_kimg(self) -> float:
        """The kimg to stop at; infinite where only minutes limit the training."""
        if self.kimg is None:
            return 1000.0 if self.minutes is None else math.inf
        return self.kimg

    @property
    def budget(self) -> str:
        """The budget in words: "50 kimg or 1 minute"."""
        kimg = [f"{self.budget_kimg:,g} kimg"] if math.isfinite(self.budget_kimg) else []
        minutes = [f"{self.minutes:g} minute{'s' * (self.minutes != 1)}"] if self.minutes else []
        return " or ".join(kimg + minutes)

    def is_spent(self, images: int, minutes: float) -> bool:
        """Whether the training budget is used up."""
        return images >= self.budget_kimg * 1000 or minutes >= (self.minutes or math.inf)


FREE_TO_CHANGE = frozenset(
    {"kimg", "minutes", "device", "report_kimg", "evaluate_every", "rescue", "checkpoint_minutes"}
)
"""Settings that may change when a run goes on: they do not enter the mathematics."""
