"""Inputs that are made of images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ganfold.gans import noise
from ganfold.networks.degrade import centre_hole, edges, enlarge, grey, random_holes, shrink


def test_shrink_is_pillows_bicubic_and_of_eight_bits() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    small = shrink(image, 4)
    assert small.shape == (1, 3, 8, 8)
    values = (small + 1) * 127.5
    torch.testing.assert_close(values, values.round(), rtol=0, atol=1e-4)
    theirs = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(values[0].permute(1, 2, 0).numpy() - theirs).max() <= 1
    assert enlarge(small, 4).shape == image.shape


def test_grey_and_edges_have_one_channel() -> None:
    image = torch.full((2, 3, 16, 16), -1.0)
    image[:, :, :, 8:] = 1.0  # a step from black to white
    assert grey(image)[0, 0, 0].tolist() == [-1.0] * 8 + [1.0] * 8
    lines = edges(image)
    assert lines.shape == (2, 1, 16, 16)
    assert lines[0, 0, 8, 7] < -0.7  # ink at the step
    assert lines[0, 0, 8, 8] < -0.7
    assert (lines[0, 0, :, [0, 3, 12, 15]] == 1).all()  # paper elsewhere
    assert (edges(torch.rand(2, 4, 16, 16) * 2 - 1).abs() <= 1).all()
    assert edges(image[:, :1]).shape == (2, 1, 16, 16)


def test_holes_hide_a_quarter() -> None:
    images = torch.zeros(400, 3, 32, 32)
    assert centre_hole(images).mean() == 0.25
    assert centre_hole(images)[0, 0, 8:24, 8:24].min() == 1
    key, rows = noise.key_of(0, "holes"), torch.arange(400)
    drawn = random_holes(images, lambda *shape: noise.uniform(key, rows, *shape))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert abs(drawn.mean() - 0.25) < 0.03
    assert drawn.mean((1, 2, 3)).min() > 0
    assert drawn[:, :, 2:-2, 2:-2].flatten(1).std(0).min() > 0  # every pixel is hidden sometimes
