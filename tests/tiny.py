"""What many tests build: a small labelled set with everything a GAN may ask for, and small networks trained on it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganfold.data import ImageSet, load
from ganfold.data.captions import LENGTH, Captions
from ganfold.gans import find
from ganfold.gans.contract import GAN, Shape
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

BATCH = 8
SMALL = {"batch": BATCH, "width": 4, "z_dim": 6, "blocks": 1}
WORDS = ("dark", "ground", "square")
RGB = Shape(3, 16, 3, inputs=3, words=len(WORDS) + 1, keypoints=2)


def write_squares(path: Path) -> Path:
    """Save 96 RGB images of 16 pixels, each a coloured square on a dark ground, in three classes."""
    random = np.random.default_rng(0)
    images = np.full((96, 16, 16, 3), 20, np.uint8)
    for image in images:
        top, left = random.integers(0, 10, 2)
        image[top : top + 6, left : left + 6] = random.integers(80, 255, 3)
    np.savez_compressed(path, images=images, labels=np.arange(96) % 3)
    return path


def rich_images(squares: Path) -> ImageSet:
    """The squares with all that any GAN may want: labels, inputs that belong to them, captions and places."""
    images = load(squares, progress=False)
    inputs = replace(images, images=255 - images.images)
    random = np.random.default_rng(0)
    places = np.array([[0.2, 0.1, 0.5, 0.6]] * len(images), np.float32)
    tokens = random.integers(0, len(WORDS) + 1, (len(images), LENGTH)).astype(np.uint16)
    captions = Captions(WORDS, tokens, places, random.random((len(images), 2, 3), np.float32))
    return replace(images, inputs=inputs, partner=np.arange(len(images)), captions=captions)


def small_config(name: str) -> Any:
    """The GAN's configuration with the smallest networks."""
    kind = find(name).config_class
    return kind(**{k: v for k, v in SMALL.items() if k in {f.name for f in fields(kind)}})


def small_gan(name: str, shape: Shape = RGB) -> GAN:
    torch.manual_seed(0)
    return find(name)(small_config(name), shape)


def images_for(name: str, images: ImageSet) -> ImageSet:
    """The set as this GAN wants it: unpaired where it learns from two kinds of images."""
    return replace(images, partner=None) if find(name).data_kind(small_config(name)) == "domains" else images


def small_trainer(name: str, images: ImageSet) -> Trainer:
    cpu, ranks = torch.device("cpu"), Ranks("cpu")
    batches = Batches(images_for(name, images), seed=0, size=BATCH, ranks=ranks, device=cpu, flips=True)
    return Trainer(small_gan(name), batches, seed=0, device=cpu, ranks=ranks, ema_images=1000)
