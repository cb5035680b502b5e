"""The rules of a plan: each chooses one thing from the images and the device, and says why."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganfold.data import ImageSet
from ganfold.gans.contract import power_of_two
from ganfold.gans.registry import DEFAULT
from ganfold.training.request import largest_batch

LONG = 120  # minutes: with this much time a CPU trains at 64 px
LEAST, MOST = 15, 60  # minutes of a budget that nobody requested ...
USEFUL = 300  # ... and the kimg that it should hold, if the most minutes suffice
DRAWN = 0.3  # share of pixels equal to their neighbour from which images count as drawings: photos have up to 0.25
NOISE = ((0.6, 0.35), (0.4, 0.2), (0.0, 0.1))  # from this share on, this much noise on D's input: docs/gans/rsgan.md

Rule = tuple[Any, str]  # what is chosen, and why


def choose_gan(device: str) -> tuple[str, str, dict[str, Rule]]:
    """The GAN, the reason, and its size options; `device` is cuda, mps or cpu."""
    if device == "cpu":
        why = f"best in minutes on a CPU: docs/gans/{DEFAULT}.md"
        return DEFAULT, why, {"width": (32, "cheap steps: updates decide")}
    return DEFAULT, "best on a CPU; not yet measured on a GPU", {"width": (64, "a GPU carries it")}


def choose_resolution(device: str, minutes: float | None, native: int) -> Rule:
    """A power of two from 16 to 64 px: the largest that the images (with a fifth of grace) and the time allow."""
    side = power_of_two(native)
    if device == "cpu" and (minutes or 0) < LONG:
        most, why = 32, f"a CPU learns more in minutes from 32 px; 64 from --minutes {LONG} on"
    else:
        most, why = 64, "what this GAN does well; more by --resolution"
    if side > most:
        return most, why
    return side, f"the images have {native} px" + (", and sizes are powers of two" if side != native else "")


def choose_batch(device: str, images: int) -> Rule:
    """Images a step: a power of two, and never more than there are images."""
    usual, why = (16, "small batches, more updates") if device == "cpu" else (128, "fills a GPU")
    most = largest_batch(images)
    return (usual, why) if usual <= most else (most, f"there are only {images} images to train on")


def choose_augment(device: str, images: int) -> Rule:
    """The share of D's images that DiffAugment changes."""
    if images < 2_000:
        return 0.5, "under 2,000 images D would soon know them all"
    if images < 30_000 and device != "cpu":
        return 0.5, "under 30,000 images D comes to know them"
    return 0.0, f"{images:,} images are enough without, for as long as this takes"


def share_alike(images: np.ndarray, rows: np.ndarray) -> float:
    """The share of pixels equal to their neighbour, in about 500 of these rows of images (N, C, H, W)."""
    some = np.asarray(images[rows[:: max(1, len(rows) // 500)]])
    return float((some[..., 1:] == some[..., :-1]).all(1).mean())


def choose_flatten(share: float, resolution: int) -> Rule:
    """Whether samples are evened out, from the share of pixels equal to their neighbour."""
    if resolution < 32:
        return False, "under 32 px lines would go too"
    is_drawn = share >= DRAWN
    return is_drawn, f"{share:.0%} of neighbouring pixels are alike: {'drawings' if is_drawn else 'photos'}"


def choose_noise(share: float) -> Rule:
    """The noise on D's input, from the same share: on plain grounds the least grain tells a fake."""
    noise = next(noise for least, noise in NOISE if share >= least)
    return noise, "plain grounds: without, D tells fakes by their grain" if noise > NOISE[-1][1] else "keeps variety"


def by_grounds(images: ImageSet, rows: np.ndarray) -> dict[str, Rule]:
    """The options that depend on how plain the grounds of these images are."""
    share = share_alike(images.images, rows)
    return {"flatten": choose_flatten(share, images.resolution), "input_noise": choose_noise(share)}


def choose_minutes(images_per_second: float) -> Rule:
    """The budget: long enough for something to look at on most machines."""
    minutes = min(MOST, max(LEAST, round(USEFUL * 1000 / images_per_second / 60)))
    return float(minutes), f"{USEFUL} kimg, within {LEAST} to {MOST} minutes; more by --minutes, also later"
