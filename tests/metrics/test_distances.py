"""Fréchet and kernel distances against independent implementations and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ganfold.errors import GanfoldError
from ganfold.metrics import distances
from ganfold.metrics.distances import frechet, frechet_infinity, kid


class AsTheyAre(nn.Module):
    """A feature network that returns its input."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        return x


def features(count: int, dimensions: int, seed: int = 0, shift: float = 0.0, rank: int = 8) -> Tensor:
    """Correlated and not negative, like a network's features: a ReLU of a few hidden factors and noise."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(count, rank)) + shift
    mixing = np.random.default_rng(99).normal(size=(rank, dimensions))
    return torch.tensor(np.maximum(factors @ mixing * 0.3 + random.normal(size=(count, dimensions)) * 0.3, 0)).float()


def gaussian(count: int, deviations: np.ndarray, mean: float = 0.0, seed: int = 0) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(mean, deviations, (count, len(deviations))))


def by_matrix_root(x: Tensor, y: Tensor) -> float:
    """The published formula, word for word."""
    a, b = x.double().numpy(), y.double().numpy()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root.real))


# N < D on one side gives the product a null space of 10 dimensions. sqrtm finds its roots to about 1e-8.
@pytest.mark.parametrize(("n", "m", "d"), [(500, 400, 32), (70, 400, 64), (54, 400, 64)])
def test_frechet_is_the_published_formula(n: int, m: int, d: int) -> None:
    x, y = features(n, d), features(m, d, seed=1, shift=0.3)
    assert frechet(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-3)
    assert frechet(y, x) == pytest.approx(frechet(x, y), rel=1e-9)


def test_frechet_agrees_with_torchmetrics() -> None:
    x, y = features(600, 48), features(500, 48, seed=1, shift=0.2)
    theirs = FrechetInceptionDistance(AsTheyAre(48))
    theirs.update(x, real=False)
    theirs.update(y, real=True)
    assert frechet(x, y) == pytest.approx(theirs.compute().item(), rel=1e-3)


@pytest.mark.parametrize("count", [20, 64, 65, 300])  # on either side of D = 64, where the computation changes
def test_frechet_of_equal_and_of_shifted_sets(count: int) -> None:
    x, shift = features(count, 64), torch.linspace(-1, 2, 64)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + shift) == pytest.approx(shift.square().sum().item(), rel=1e-5)  # x + shift rounds, in float32


def test_frechet_of_gaussians() -> None:
    a, b = np.linspace(0.5, 2, 10), np.linspace(2, 1, 10)
    x, y = gaussian(100_000, a), gaussian(100_000, b, mean=0.5, seed=1)
    # Diagonal covariances commute. Means vary by (a^2 + b^2) / N, deviations by half of that. The bias is only 1e-3.
    expected = 10 * 0.5**2 + ((a - b) ** 2).sum()
    error = math.sqrt(((4 * 0.5**2 + 2 * (a - b) ** 2) * (a**2 + b**2)).sum() / 100_000)
    assert frechet(x, y) == pytest.approx(expected, abs=4 * error)
    assert error < 0.005 * expected


def test_frechet_infinity_takes_the_bias_away() -> None:
    deviations = np.linspace(0.5, 2, 40)
    expected = 40 * 0.01 + 0.04 * (deviations**2).sum()  # means 0.1 apart; deviations in the ratio 1.2
    reference = gaussian(20_000, deviations * 1.2, mean=0.1, seed=1)
    near = [gaussian(320, deviations, seed=seed) for seed in range(2, 6)]
    plain = np.mean([frechet(x, reference) for x in near]) - expected
    limit = np.mean([frechet_infinity(x, reference) for x in near]) - expected
    assert plain > 1
    assert abs(limit) < plain / 5


def test_frechet_infinity_follows_its_seed() -> None:
    x, y = features(200, 16), features(300, 16, seed=1)
    assert frechet_infinity(x, y, seed=3) == frechet_infinity(x, y, seed=3) != frechet_infinity(x, y, seed=4)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_kid_agrees_with_torchmetrics(shift: float) -> None:
    x, y = features(500, 64), features(500, 64, seed=1, shift=shift)
    theirs = KernelInceptionDistance(AsTheyAre(64), subsets=1, subset_size=500)
    # In float64: at a shift of 0, theirs is a small difference of large numbers.
    theirs.update(x.double(), real=False)
    theirs.update(y.double(), real=True)
    expected = theirs.compute()[0].item()
    assert kid(x, y)[0] == pytest.approx(expected, rel=1e-3)
    assert kid(x.double(), y.double())[0] == pytest.approx(expected, rel=1e-9)


def by_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD^2, pair by pair."""
    d = x.shape[1]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / d + 1) ** 3

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    n, m = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def test_kid_and_its_jackknife_are_what_leaving_out_each_row_gives() -> None:
    x, y = features(30, 5).double(), features(20, 5, seed=1, shift=0.2).double()
    a, b = x.numpy(), y.numpy()
    less_x = np.array([by_pairs(np.delete(a, i, 0), b) for i in range(30)])
    less_y = np.array([by_pairs(a, np.delete(b, j, 0)) for j in range(20)])
    error = math.sqrt(29 / 30 * ((less_x - less_x.mean()) ** 2).sum() + 19 / 20 * ((less_y - less_y.mean()) ** 2).sum())
    assert kid(x, y) == pytest.approx((by_pairs(a, b), error), rel=1e-9)


def test_kid_of_one_distribution_is_zero_on_average() -> None:
    values = np.array([kid(features(20, 16, seed=s), features(30, 16, seed=s + 5000))[0] for s in range(400)])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(len(values))
    assert (values < 0).any()


def test_standard_error_of_kid_is_the_spread_over_draws() -> None:
    draws = np.array([kid(features(100, 16, seed=s), features(80, 16, seed=s + 5000, shift=0.4)) for s in range(300)])
    # The spread of 300 draws is known to 4 %; the jackknife is a few percent too wide for this many samples.
    assert draws[:, 1].mean() == pytest.approx(draws[:, 0].std(ddof=1), rel=0.15)


def test_kid_ignores_the_precision_that_training_chose() -> None:
    x, y = features(300, 64), features(300, 64, seed=1)
    expected = kid(x, y)
    torch.set_float32_matmul_precision("medium")
    try:
        assert kid(x, y) == expected
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("metric", [frechet, frechet_infinity, kid])
def test_blocks_make_no_difference(metric: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(130, 12).double(), features(90, 12, seed=1, shift=0.2).double()
    whole = metric(x, y)
    monkeypatch.setattr(distances, "BLOCK", 32)
    assert metric(x, y) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "x", "y", "says"),
    [
        (frechet, (1, 4), (9, 4), "the Fréchet distance needs at least 2 samples on each side; there are 1 and 9"),
        (kid, (9, 4), (2, 4), "KID needs at least 3 samples on each side; there are 9 and 2"),
        (frechet, (9, 4), (9, 5), r"these are \(9, 4\) and \(9, 5\): compute both with the same extractor"),
        (kid, (9, 4), (9,), r"these are \(9, 4\) and \(9,\)"),
        (frechet_infinity, (99, 50), (9, 50), "needs 100 samples where there are 50 features; there are 99"),
        (frechet_infinity, (31, 2), (9, 2), "needs 32 samples where there are 2 features; there are 31"),
    ],
)
def test_what_cannot_be_compared_is_named(
    metric: Callable[..., Any], x: tuple[int, ...], y: tuple[int, ...], says: str
) -> None:
    with pytest.raises(GanfoldError, match=says):
        metric(torch.zeros(x), torch.zeros(y))


@pytest.mark.parametrize("metric", [frechet, frechet_infinity, kid])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_are_counted(metric: Callable[..., Any], bad: float) -> None:
    x, y = features(50, 4), features(40, 4)
    y[[3, 7], 1] = bad
    with pytest.raises(GanfoldError, match="2 of the 40 samples of the second set have features that are not finite"):
        metric(x, y)
