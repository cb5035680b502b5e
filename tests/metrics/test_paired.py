"""Figures of pairs, against closed forms and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from ganfold.metrics.paired import l1, psnr, ssim


@pytest.fixture(scope="module")
def two() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (3, 8, 8, 3)).repeat(6, 1).repeat(6, 2)
    noise = random.normal(0, 12, smooth.shape)
    return smooth.astype(np.uint8), (smooth + noise).clip(0, 255).astype(np.uint8)


def test_psnr_of_a_known_error() -> None:
    one = np.full((2, 16, 16, 3), 100, np.uint8)
    assert psnr(one, one + 10) == pytest.approx([20 * np.log10(25.5)] * 2)
    assert np.isinf(psnr(one, one)).all()
    assert psnr(one, one + 10, luma=True) == pytest.approx([20 * np.log10(25.5 * 255 / 219)] * 2, rel=1e-4)
    edge = one.copy()
    edge[:, 0] = 0
    assert np.isinf(psnr(one, edge, border=1)).all()


def test_luma_is_bt_601() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (3, 12, 12, 3))
    black = np.zeros_like(images)
    # Y of red is 65.481 above that of black, of white 219
    assert psnr(images, black, luma=True)[1:] == pytest.approx(20 * np.log10(255 / np.array([219, 65.481])), rel=1e-4)


def test_ssim_agrees_with_torchmetrics(two: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = (torch.from_numpy(part).permute(0, 3, 1, 2).double() for part in two)
    _, theirs = structural_similarity_index_measure(
        one, other, data_range=255.0, reduction="none", return_full_image=True
    )
    inner = theirs[:, :, 5:-5, 5:-5].mean((1, 2, 3))  # where the window does not reach over the border, as Wang has it
    assert ssim(*two) == pytest.approx(inner.numpy(), abs=1e-4)
    assert ssim(two[0], two[0]) == pytest.approx([1, 1, 1])


def test_l1_is_a_share_and_can_be_of_a_part() -> None:
    one = np.zeros((1, 4, 4, 3), np.uint8)
    other = one.copy()
    other[:, :2] = 51
    assert l1(one, other) == pytest.approx([0.1])
    where = np.zeros((1, 4, 4), bool)
    where[:, 0] = True
    assert l1(one, other, where) == pytest.approx([0.2])
