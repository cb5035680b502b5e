"""Fréchet and kernel distances against independent implementations and closed forms."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ganfold.errors import GanfoldError
from ganfold.metrics import distances
from ganfold.metrics.distances import frechet, frechet_infinity, kid


class AsTheyAre(nn.Module):
    """The feature network of features."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def features(count, dimensions, seed=0, shift=0.0, rank=None):
    """Correlated and not negative, as a network's are: a ReLU of a few hidden factors and noise."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(count, rank or 8)) + shift
    mixing = np.random.default_rng(99).normal(size=(rank or 8, dimensions))
    return torch.tensor(np.maximum(factors @ mixing * 0.3 + random.normal(size=(count, dimensions)) * 0.3, 0)).float()


def gaussian(count, deviations, mean=0.0, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(mean, deviations, (count, len(deviations))))


def by_matrix_root(x, y):
    """The published formula, word for word."""
    x, y = x.double().numpy(), y.double().numpy()
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(sx @ sy)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx + sy - 2 * root.real)


# N < D on one side: the product then has a null space of 10 dimensions, whose roots sqrtm gets to about 1e-8.
@pytest.mark.parametrize(("n", "m", "d"), [(500, 400, 32), (70, 400, 64), (54, 400, 64)])
def test_frechet_is_the_published_formula(n, m, d):
    x, y = features(n, d), features(m, d, seed=1, shift=0.3)
    assert frechet(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-3)
    assert frechet(y, x) == pytest.approx(frechet(x, y), rel=1e-9)


def test_frechet_agrees_with_torchmetrics():
    x, y = features(600, 48), features(500, 48, seed=1, shift=0.2)
    theirs = FrechetInceptionDistance(AsTheyAre(48))
    theirs.update(x, real=False)
    theirs.update(y, real=True)
    assert frechet(x, y) == pytest.approx(theirs.compute().item(), rel=1e-3)


@pytest.mark.parametrize("count", [20, 64, 65, 300])  # on either side of D = 64, where the computation changes
def test_frechet_of_equal_and_of_shifted_sets(count):
    x, shift = features(count, 64), torch.linspace(-1, 2, 64)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + shift) == pytest.approx(shift.square().sum().item(), rel=1e-5)  # x + shift rounds, in float32


def test_frechet_of_gaussians():
    a, b = np.linspace(0.5, 2, 10), np.linspace(2, 1, 10)
    x, y = gaussian(100_000, a), gaussian(100_000, b, mean=0.5, seed=1)
    # Diagonal covariances commute. Means vary by (a^2 + b^2) / N, deviations by half of that; the bias is only 1e-3.
    expected = 10 * 0.5**2 + ((a - b) ** 2).sum()
    error = math.sqrt(((4 * 0.5**2 + 2 * (a - b) ** 2) * (a**2 + b**2)).sum() / 100_000)
    assert frechet(x, y) == pytest.approx(expected, abs=4 * error)
    assert error < 0.005 * expected


def test_frechet_infinity_takes_the_bias_away():
    deviations = np.linspace(0.5, 2, 40)
    expected = 40 * 0.01 + 0.04 * (deviations**2).sum()  # means 0.1 apart; deviations in the ratio 1.2
    reference = gaussian(20_000, deviations * 1.2, mean=0.1, seed=1)
    near = [gaussian(320, deviations, seed=seed) for seed in range(2, 6)]
    plain = np.mean([frechet(x, reference) for x in near]) - expected
    limit = np.mean([frechet_infinity(x, reference) for x in near]) - expected
    assert plain > 1
    assert abs(limit) < plain / 5


def test_frechet_infinity_follows_its_seed():
    x, y = features(200, 16), features(300, 16, seed=1)
    assert frechet_infinity(x, y, seed=3) == frechet_infinity(x, y, seed=3) != frechet_infinity(x, y, seed=4)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_kid_agrees_with_torchmetrics(shift):
    x, y = features(500, 64), features(500, 64, seed=1, shift=shift)
    theirs = KernelInceptionDistance(AsTheyAre(64), subsets=1, subset_size=500)
    # In float64, since at a shift of 0 theirs sums to a small difference of large float32 numbers.
    theirs.update(x.double(), real=False)
    theirs.update(y.double(), real=True)
    expected = theirs.compute()[0].item()
    assert kid(x, y)[0] == pytest.approx(expected, rel=1e-3)
    assert kid(x.double(), y.double())[0] == pytest.approx(expected, rel=1e-9)


def by_pairs(x, y):
    """Unbiased MMD^2 pair by pair, for samples of any number."""
    d = x.shape[1]
    kernel = lambda a, b: (a @ b.T / d + 1) ** 3  # noqa: E731
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    n, m = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return within - 2 * xy.mean()


def test_kid_and_its_jackknife_are_what_leaving_out_each_row_gives():
    x, y = features(30, 5).double(), features(20, 5, seed=1, shift=0.2).double()
    a, b = x.numpy(), y.numpy()
    less_x = np.array([by_pairs(np.delete(a, i, 0), b) for i in range(30)])
    less_y = np.array([by_pairs(a, np.delete(b, j, 0)) for j in range(20)])
    error = math.sqrt(29 / 30 * ((less_x - less_x.mean()) ** 2).sum() + 19 / 20 * ((less_y - less_y.mean()) ** 2).sum())
    assert kid(x, y) == pytest.approx((by_pairs(a, b), error), rel=1e-9)


def test_kid_of_one_distribution_is_zero_on_average():
    values = np.array([kid(features(20, 16, seed=s), features(30, 16, seed=s + 5000))[0] for s in range(400)])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(len(values))
    assert (values < 0).any()


def test_standard_error_of_kid_is_the_spread_over_draws():
    found = np.array([kid(features(100, 16, seed=s), features(80, 16, seed=s + 5000, shift=0.4)) for s in range(300)])
    # The spread of 300 draws is known to 4 %; the jackknife is wide by a few percent at this number of samples.
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(ddof=1), rel=0.15)


def test_kid_does_not_heed_what_training_chose_for_products():
    x, y = features(300, 64), features(300, 64, seed=1)
    expected = kid(x, y)
    torch.set_float32_matmul_precision("medium")
    try:
        assert kid(x, y) == expected
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("metric", [frechet, frechet_infinity, kid])
def test_blocks_make_no_difference(metric, monkeypatch):
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
def test_what_cannot_be_compared_is_named(metric, x, y, says):
    with pytest.raises(GanfoldError, match=says):
        metric(torch.zeros(x), torch.zeros(y))


@pytest.mark.parametrize("metric", [frechet, frechet_infinity, kid])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_are_counted(metric, bad):
    x, y = features(50, 4), features(40, 4)
    y[[3, 7], 1] = bad
    with pytest.raises(GanfoldError, match="2 of the 40 samples of the second set have features that are not finite"):
        metric(x, y)
