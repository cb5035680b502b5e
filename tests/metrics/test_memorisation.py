"""Planted copies are found, real images are not taken for copies, and each metric equals its definition."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.stats import mannwhitneyu, norm
from torch import Tensor

from ganfold import data
from ganfold.metrics import memorisation
from ganfold.metrics.distances import frechet, kid
from ganfold.metrics.memorisation import (
    authenticity,
    c_t,
    copy_share,
    nearest,
    nearest_in_pixels,
    pixel_bank,
    pixel_views,
)

Avatars = tuple[np.ndarray, np.ndarray, Tensor, Tensor]


@pytest.fixture(scope="module", params=[28, 32, 64])
def avatars(request: pytest.FixtureRequest) -> Avatars:
    """Training images, held-out images, the bank, and the distances of the held-out images."""
    images = data.load("avatars", resolution=max(32, request.param), progress=False)
    pixels = images.images[..., : request.param, : request.param]
    train, held_out = pixels[images.train[::8]], pixels[images.held_out[:110]]
    bank = pixel_bank(train)
    return train[:24], held_out, bank, nearest_in_pixels(held_out, bank)[0]


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    side = images.shape[-1]
    return padded[:, :, 2 - down : 2 - down + side, 2 - right : 2 - right + side]


def noisy(images: np.ndarray, deviation: float = 6) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def test_nearest_is_the_brute_force_one_in_blocks_and_far_from_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "ROWS", 7)
    monkeypatch.setattr(memorisation, "COLUMNS", 5)
    torch.manual_seed(0)
    queries, bank = torch.randn(20, 6) + 1000, torch.randn(33, 6) + 1000
    queries[3] = bank[17]
    far = (queries.double()[:, None] - bank.double()).norm(dim=2)
    distance, index = nearest(queries, bank)
    torch.testing.assert_close(distance.double(), far.amin(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(index, far.argmin(1))
    assert distance[3] == 0
    own = far.argmin(1)
    far[torch.arange(20), own] = torch.inf
    distance, index = nearest(queries, bank, skip=own)
    assert torch.equal(index, far.argmin(1))


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3), (16, 4), (28, 1), (32, 3), (100, 3), (128, 1)])
def test_views_of_any_size_are_as_the_bank(size: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, channels, size, size), dtype=np.uint8)
    views, bank = list(pixel_views(images)), pixel_bank(images)
    assert len(views) in (18, 50)
    assert {view.shape for view in views} == {bank.shape}
    assert bank.shape[1] <= 3 * 14 * 14
    assert (nearest_in_pixels(images, bank)[0] == 0).all()


def test_a_distance_in_pixels_is_the_root_mean_square_of_values_in_0_to_1() -> None:
    black, white = np.zeros((1, 3, 32, 32), np.uint8), np.full((1, 3, 32, 32), 255, np.uint8)
    distance, _, _ = nearest_in_pixels(black, pixel_bank(white))
    assert distance.item() == pytest.approx(1)
    clear = np.concatenate([black, black[:, :1]], 1)
    assert nearest_in_pixels(clear, pixel_bank(white))[0].item() == pytest.approx(0)


@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (-1, 0)])
def test_planted_copies_are_found_noisy_mirrored_and_shifted(avatars: Avatars, shift: tuple[int, int]) -> None:
    train, _, bank, usual = avatars
    for copies, is_mirrored in ((train, False), (train[..., ::-1], True)):
        distance, index, mirrored = nearest_in_pixels(noisy(shifted(copies, *shift)), bank)
        assert copy_share(distance, usual)[0] >= 0.95
        assert (index == torch.arange(24)).float().mean() >= 0.95
        assert (mirrored == is_mirrored).float().mean() >= 0.9  # an avatar may be its own mirror image


def test_blurred_real_images_are_no_copies(avatars: Avatars) -> None:
    _, held_out, bank, usual = avatars
    originals = [Image.fromarray(image.transpose(1, 2, 0)) for image in held_out[:50]]
    for radius in (0.5, 1.5):
        blurred = np.stack([np.array(p.filter(ImageFilter.GaussianBlur(radius))).transpose(2, 0, 1) for p in originals])
        assert copy_share(nearest_in_pixels(blurred, bank)[0], usual)[0] <= 0.1


def test_the_threshold_is_a_held_out_distance_and_no_more_than_1_percent_lie_below_it() -> None:
    held_out = torch.arange(1, 1001).float()
    share, threshold = copy_share(torch.tensor([9.0, 10.0, 11.0]), held_out)
    assert share == pytest.approx(1 / 3)
    assert threshold == 10
    assert copy_share(held_out, held_out)[0] == 0.009
    assert copy_share(torch.tensor([2.0]), torch.tensor([5.0, 3.0, 4.0])) == (1, 3)
    assert copy_share(torch.zeros(2), torch.zeros(3)) == (0, 0)  # not strictly nearer


def test_authenticity_of_a_case_made_by_hand() -> None:
    train = torch.tensor([[0.0], [1.0], [10.0]])  # nearest others: 1, 1, 9 away
    samples = torch.tensor([[0.4], [-1.5], [18.9], [19.1], [2.5]])
    assert authenticity(samples, train) == pytest.approx(3 / 5)  # at -1.5, 19.1 and 2.5


def test_c_t_of_one_cell_is_scipys_z_score() -> None:
    random = np.random.default_rng(0)
    train, held_out = random.normal(size=(200, 3)), random.normal(size=(40, 3))
    samples = random.normal(size=(60, 3)) * 0.5
    far = [np.linalg.norm(x[:, None] - train, axis=2).min(1) for x in (samples, held_out)]
    p = mannwhitneyu(*far, alternative="less", method="asymptotic", use_continuity=False).pvalue
    tensors = [torch.from_numpy(x).float() for x in (samples, held_out, train)]
    assert c_t(tensors[0], tensors[1], tensors[2]) == pytest.approx(norm.ppf(p), abs=1e-3)


def test_c_t_averages_cells_by_the_held_out_share() -> None:
    """Two clusters far apart: copies in the smaller one, new images in the other."""
    torch.manual_seed(0)

    def cluster(count: int, place: float) -> Tensor:
        return torch.randn(count, 4) + torch.tensor([place, 0.0, 0.0, 0.0])

    near, far = cluster(150, 0.0), cluster(150, 100.0)
    held_near, held_far = cluster(30, 0.0), cluster(90, 100.0)
    copies, new = near[:50] + 1e-3, cluster(50, 100.0)
    both = c_t(torch.cat([copies, new]), torch.cat([held_near, held_far]), torch.cat([near, far]))
    m, n = 50, 30
    worst = -(m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5
    other = c_t(new, held_far[:49], far)  # one cell
    assert other is not None
    assert abs(other) < 2.5
    u = mannwhitneyu(nearest(new, far)[0].numpy(), nearest(held_far, far)[0].numpy()).statistic
    z = (u - 50 * 90 / 2) / (50 * 90 * 141 / 12) ** 0.5
    assert both == pytest.approx((30 * worst + 90 * z) / 120, abs=1e-2)


def test_c_t_tells_copies_from_new_images_and_from_poor_ones_and_is_none_of_too_few() -> None:
    torch.manual_seed(0)
    train, held_out, new = torch.randn(500, 80), torch.randn(200, 80), torch.randn(300, 80)
    scores = [c_t(samples, held_out, train) for samples in (train[:300] + 0.1, new, new * 2)]
    copied, fresh, poor = (score for score in scores if score is not None)
    assert copied < -8
    assert abs(fresh) < 2.5
    assert poor > 5
    assert c_t(new[:19], held_out, train) is None
    assert c_t(new, held_out[:19], train) is None
    assert c_t(new[:30, :3], held_out[:30, :3], train[:5, :3]) is not None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_features_that_never_vary_warn_of_nothing(value: float) -> None:
    same = torch.full((60, 8), value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert c_t(same, same, same) == 0
        assert authenticity(same, same) == 0
        assert frechet(same, same) == 0
        assert np.isfinite(kid(same, same)).all()
