"""What samples of a run are conditioned on, where that comes from held-out images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfold.data import ImageSet, load
from ganfold.gans import find
from ganfold.gans.contract import GAN, Shape
from ganfold.runs.conditioning import held_out_conditioning


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return load(squares, held_out=0.25, progress=False)


def gan(name: str, **config: object) -> GAN:
    gan_class = find(name)
    return gan_class(gan_class.config_class(width=4, **config), Shape(3, 16, 3, inputs=3))


def test_samples_come_from_held_out_images_in_an_order_of_the_seed(images: ImageSet) -> None:
    subject = gan("srgan", blocks=1)
    reals, again, other = (held_out_conditioning(subject, images, seed) for seed in (0, 0, 1))
    assert reals
    assert again
    assert other
    assert sorted(reals.images) == images.held_out.tolist()
    rows = torch.arange(24)
    assert torch.equal(reals.batch(rows)["image"], again.batch(rows)["image"])
    assert not torch.equal(reals.batch(rows)["image"], other.batch(rows)["image"])
    assert torch.equal(reals(rows + 24)["low"], reals(rows)["low"])  # wraps around
    assert held_out_conditioning(gan("dcgan"), images, 0) is None


def test_beside_a_sample_stand_its_input_and_its_target(images: ImageSet) -> None:
    reals = held_out_conditioning(gan("srgan", blocks=1), images, 0)
    assert reals
    made = np.zeros((3, 16, 16, 3), np.uint8)
    shown, each = reals.beside(made, start=2)
    assert (shown.shape, each) == ((9, 16, 16, 3), 3)
    low = reals(torch.arange(2, 5))["low"]
    assert np.array_equal(shown[0, ::4, ::4], ((low[0].permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8))
    assert (shown[1] == 0).all()
    assert np.array_equal(shown[5], images.images[reals.images[3]].transpose(1, 2, 0))


def test_an_unpaired_input_has_no_target(images: ImageSet) -> None:
    two = replace(images, inputs=replace(images, images=255 - images.images))
    reals = held_out_conditioning(gan("cyclegan", blocks=1), two, 0)
    assert reals
    shown, each = reals.beside(np.zeros((3, 16, 16, 3), np.uint8))
    assert (shown.shape, each) == ((6, 16, 16, 3), 2)
    assert not np.array_equal(reals.batch(torch.arange(3))["input"], -reals.batch(torch.arange(3))["image"])
