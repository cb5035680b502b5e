"""DiffAugment changes images as described, and gradients pass through it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from ganfold.gans import noise
from ganfold.gans.contract import Batch
from ganfold.networks.augment import Uniform, augment, colour, cutout, stroke, translation, warp


def uniform(count: int, seed: int = 0) -> Uniform:
    batch = Batch({}, torch.arange(count))
    batch.begin(seed)
    return batch.uniform


@pytest.fixture
def images() -> torch.Tensor:
    return noise.uniform(1, torch.arange(64), 3, 16, 16) * 1.8 - 0.9


def test_nothing_happens_at_zero_and_something_to_nearly_all_at_one(images: torch.Tensor) -> None:
    assert torch.equal(augment(images, 0.0, uniform(64)), images)
    changed = (augment(images, 1.0, uniform(64)) != images).flatten(1).any(1)
    assert changed.all()
    some = (augment(images, 0.2, uniform(64)) != images).flatten(1).any(1).float().mean()
    assert 0.3 < some < 0.7  # 1 - 0.8^3


def test_a_translation_is_by_whole_pixels_up_to_an_eighth(images: torch.Tensor) -> None:
    moved = translation(images, uniform(64))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    shifts = set()
    for before, after in zip(padded, moved, strict=True):
        matches = [
            (y, x) for y in range(5) for x in range(5)
            if torch.allclose(before[:, y : y + 16, x : x + 16], after, atol=1e-4)
        ]  # fmt: skip
        assert len(matches) == 1
        shifts.add(matches[0])
    assert len(shifts) > 15  # of 25


def test_a_cutout_makes_a_square_of_half_the_side_grey(images: torch.Tensor) -> None:
    cut = cutout(images, uniform(64))
    hole = (cut == 0).all(1)
    assert torch.equal(torch.where(hole[:, None], images, cut), images)
    assert hole.sum((1, 2)).max() == 64
    assert hole.any(2).sum(1).max() == 8
    assert hole.sum((1, 2)).min() >= 9  # a quarter of it lies inside at least


def test_colour_leaves_the_places_of_things(images: torch.Tensor) -> None:
    changed = colour(images, uniform(64))
    assert changed.shape == images.shape
    flat = torch.stack([images.mean((1, 2, 3)), changed.mean((1, 2, 3))])
    assert (flat[1] - flat[0]).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("change", [colour, translation, cutout, partial(augment, p=0.7)])
def test_gradients_pass_and_the_same_randomness_gives_the_same(
    change: Callable[..., torch.Tensor], images: torch.Tensor
) -> None:
    images.requires_grad_()
    first = change(images, uniform=uniform(64))
    assert torch.equal(first, change(images, uniform=uniform(64)))
    (gradient,) = torch.autograd.grad(first.square().sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_a_warp_moves_a_dot_about_but_not_far() -> None:
    images = torch.full((500, 1, 32, 32), -1.0)
    images[:, :, 8, 16] = 1.0  # 7.5 pixels above the middle
    light = (warp(images, uniform(500)) + 1).squeeze(1)
    shown = light.sum((1, 2)) > 0
    assert shown.float().mean() > 0.95
    light = light[shown] / light[shown].sum((1, 2), keepdim=True)
    places = torch.arange(32.0) - 15.5
    x, y = (light.sum(1) * places).sum(1), (light.sum(2) * places).sum(1)
    assert (x.abs() < 6).all()
    assert (y < -3).all()
    assert (y > -13).all()
    assert x.std() > 1
    assert y.std() > 0.5
    assert x.mean() == pytest.approx(0.5, abs=0.5)


def test_a_stroke_is_thickened_or_thinned() -> None:
    line = torch.full((200, 1, 9, 9), -1.0)
    line[..., 3:6] = 1.0
    ink = (stroke(line, uniform(200)) + 1).sum((1, 2, 3)) / 18  # in columns, of 3
    assert ink.min() >= 3 - 0.3 * 2 - 1e-4
    assert ink.max() <= 3 + 0.4 * 2 + 1e-4
    assert ink.min() < 2.5
    assert ink.max() > 3.7


def test_gradients_pass_through_a_warp(images: torch.Tensor) -> None:
    images.requires_grad_()
    warp(images, uniform(64)).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).float().mean() > 0.5
