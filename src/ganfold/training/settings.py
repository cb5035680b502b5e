"""How to train, whatever the GAN: the other half of the command's flags beside the GAN's own `Config`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ganfold.errors import GanfoldError


@dataclass(frozen=True)
class Settings:
    kimg: float | None = None  # stop after this many thousand images [1000 where a named GAN has no budget]
    minutes: float | None = None  # stop after this many minutes of training, resumed ones counted
    seed: int = 0  # first weights, data order, latents and augmentation follow from it
    resolution: int | None = None  # height and width in pixels [from the data and the GAN]
    channels: Literal[1, 3, 4] | None = None  # 1 grey, 3 RGB, 4 RGBA [from the data]
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how images that are not square become so
    held_out: float | None = None  # share of images never trained on [0.1, at most 5000; 0 under 500 images]
    flips: bool = False  # mirror each image with probability 1/2 (not for text, logos or handed objects)
    ema_kimg: float | None = None  # half-life of G's running average, in thousand images [10; of some GANs more]
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 where the device has it: faster, a little less exact
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to train [the fastest there is]
    sync_bn: bool = False  # several GPUs: BatchNorm over the joined batch instead of each rank's own
    report_kimg: float = 2.0  # a log line and a grid of samples this often (rarer in long runs)
    evaluate_every: float | None = None  # kimg between checkups by KID, which find the best; 0: none [10 in a budget]
    rescue: bool = True  # where training diverges go back and on with half the learning rate, at most three times
    checkpoint_minutes: float = 3.0  # a checkpoint this often, besides those at the end and on Ctrl-C

    def __post_init__(self) -> None:
        for name in ("kimg", "minutes", "report_kimg"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise GanfoldError(f"{name} must be above 0, not {value}")
        for name in ("ema_kimg", "checkpoint_minutes", "evaluate_every"):
            if not (getattr(self, name) or 0) >= 0:
                raise GanfoldError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise GanfoldError(f"seed must be 0 or more and below 2^63, not {self.seed}")

    @property
    def budget_kimg(self) -> float:
        """The kimg to stop at; infinite where only minutes are given."""
        if self.kimg is None:
            return 1000.0 if self.minutes is None else math.inf
        return self.kimg

    def is_spent(self, images: int, minutes: float) -> bool:
        """Whether the budget is."""
        return images >= self.budget_kimg * 1000 or minutes >= (self.minutes or math.inf)


FREE_TO_CHANGE = frozenset(
    {"kimg", "minutes", "device", "report_kimg", "evaluate_every", "rescue", "checkpoint_minutes"}
)
"""Settings that a resumed run may change: they do not enter the mathematics."""
