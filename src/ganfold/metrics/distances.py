"""Distances between two sets of features: Fréchet, its limit of infinitely many samples, and kernel distance (KID)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ganfold.errors import GanfoldError

BLOCK = 1024  # rows at once: tiles of 4 to 8 MB, which the allocator hands out again instead of asking the system
POINTS = 8  # sizes through which `frechet_infinity` draws its line


@torch.no_grad()
def frechet(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians that have the means and covariances of two sets of features.

    |mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)), Heusel et al. 2017, arXiv:1706.08500, eq. 6; with the unbiased
    covariances (N - 1) of the published implementations. It is biased: it falls as samples are added.

    Args:
        x, y: features (N, D) and (M, D), on one device that has float64.

    Returns:
        The distance, at least 0, in squared units of the features.

    Raises:
        GanfoldError: fewer than 2 rows on a side, D that differ, or features that are not finite.
    """
    check("the Fréchet distance", x, y, 2)
    return max(_between(_gaussian(x), _gaussian(y)), 0.0)  # rounding may leave -1e-13 where x is y


@torch.no_grad()
def frechet_infinity(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """The Fréchet distance that infinitely many samples x would have, by a straight line in 1/N.

    Chong, Forsyth 2020, "Effectively unbiased FID and Inception Score and where to find them", arXiv:1911.07023:
    the distance of random subsets of x, their sizes evenly spaced, and the intercept of the line through them. y stays
    whole, so the bias that comes of its own number of samples remains.

    The bias is a line in 1/N only where N is well above D. For Gaussians of equal variances the intercept falls short
    by about a quarter of the bias that it removes at N = 2 D, by an eighth at 3 D, by 3 % at 8 D; hence 2 D is the
    least that it takes, and subsets start from N/2, not from a fixed 5,000 as in the paper.

    Args:
        x, y: features (N, D) and (M, D), on one device that has float64; x of the generator, y the reference.
        seed: which subsets.

    Returns:
        The limit, in squared units of the features. Noise may bring it below 0.

    Raises:
        GanfoldError: fewer than 2 D rows of x (or fewer than 32), and as `frechet`.
    """
    check("the Fréchet distance", x, y, 2)
    count, dimensions = x.shape
    least = max(2 * dimensions, 4 * POINTS)
    if count < least:
        raise GanfoldError(
            f"the Fréchet distance extrapolated to infinitely many samples needs {least:,} samples where there are "
            f"{dimensions:,} features; there are {count:,}: add samples, or use KID, which has no bias to remove"
        )
    random = torch.Generator().manual_seed(seed)
    reference = _gaussian(y)
    sizes = np.linspace(count // 2, count, POINTS).astype(int)
    found = []
    for size in sizes:
        chosen = torch.randperm(count, generator=random)[:size].to(x.device)
        found.append(_between(_gaussian(x[chosen]), reference))
    return float(np.polyfit(1 / sizes, found, 1)[1])


@torch.no_grad()
def kid(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Kernel distance of two sets of features, and its standard error.

    The unbiased MMD^2 with the kernel k(a, b) = (a.b / D + 1)^3 over all pairs: Bińkowski et al. 2018,
    arXiv:1801.01401, section 4 (kernel) and eq. 4 (estimator). The standard error is the delete-one jackknife over the
    rows of both sets; where the two distributions are nearly equal it errs on the wide side.

    Features of float64 are computed with as such, all others in float32, which suffices as long as their means are not
    thousands of times their spread.

    Args:
        x, y: features (N, D) and (M, D), on one device.

    Returns:
        MMD^2, whose expectation is 0 for equal distributions, so that it may be negative; and its standard error.

    Raises:
        GanfoldError: fewer than 3 rows on a side (the jackknife leaves one out, and 2 must remain), D that differ, or
            features that are not finite.
    """
    check("KID", x, y, 3)
    dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    x, y = x.to(dtype), y.to(dtype)
    n, m = len(x), len(y)
    with _full_precision():
        (xx, _), (yy, _), (xy, yx) = _kernel_sums(x, x), _kernel_sums(y, y), _kernel_sums(x, y)
    within_x, within_y, between = xx.sum(), yy.sum(), xy.sum()
    value = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)
    # The estimate without row i of x, or j of y: the sums over pairs lose what that row takes part in.
    less_x = (within_x - 2 * xx) / ((n - 1) * (n - 2)) + within_y / (m * (m - 1)) - 2 * (between - xy) / ((n - 1) * m)
    less_y = within_x / (n * (n - 1)) + (within_y - 2 * yy) / ((m - 1) * (m - 2)) - 2 * (between - yx) / (n * (m - 1))
    variance = (n - 1) * less_x.var(correction=0) + (m - 1) * less_y.var(correction=0)
    return float(value), float(variance.sqrt())


def check(metric: str, x: Tensor, y: Tensor, least: int) -> None:
    """Raise GanfoldError unless these are features (N, D), (M, D) that are finite, N and M at least `least`."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise GanfoldError(
            f"{metric} compares features of one kind, (N, D) with (M, D); these are {tuple(x.shape)} and "
            f"{tuple(y.shape)}: compute both with the same extractor"
        )
    if min(len(x), len(y)) < least:
        raise GanfoldError(
            f"{metric} needs at least {least:,} samples on each side; there are {len(x):,} and {len(y):,}"
        )
    for which, features in (("first", x), ("second", y)):
        bad = sum(int(block.isfinite().all(1).logical_not().sum()) for block in blocks(features))
        if bad:
            raise GanfoldError(
                f"{metric}: {bad:,} of the {len(features):,} samples of the {which} set have features that are not "
                "finite (NaN or infinite): look for images or weights that are not finite either"
            )


def blocks(x: Tensor) -> Iterator[Tensor]:
    """The rows of x, BLOCK at a time: a float64 copy of all of them may be large."""
    return (x[start : start + BLOCK] for start in range(0, len(x), BLOCK))


def mean_of(x: Tensor) -> Tensor:
    """Mean (D) of rows (N, D), in float64."""
    return torch.stack([block.double().sum(0) for block in blocks(x)]).sum(0) / len(x)


def _gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D) and L (D, min(N, D)) in float64, where L L^T is the covariance.

    With no more samples than dimensions the centred samples themselves are L: nothing is squared, so nothing is lost.
    """
    count, dimensions = x.shape
    mean = mean_of(x)
    if count <= dimensions:
        return mean, (x.double() - mean).T / (count - 1) ** 0.5
    covariance = x.new_zeros(dimensions, dimensions, dtype=torch.float64)
    for block in blocks(x):
        centred = block.double() - mean
        covariance.addmm_(centred.T, centred, alpha=1 / (count - 1))
    values, vectors = torch.linalg.eigh(covariance)
    return mean, vectors * values.clamp(min=0).sqrt()


def _between(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> float:
    """Fréchet distance of two Gaussians given by mean and L.

    S_x S_y has the eigenvalues of (L_x^T L_y)(L_x^T L_y)^T, so the trace of its root is the sum of the singular values
    of L_x^T L_y: no root of a matrix that is not symmetric, which is complex where rounding makes it so.
    """
    (mean_x, root_x), (mean_y, root_y) = x, y
    trace = torch.linalg.svdvals(root_x.T @ root_y).sum()
    return float((mean_x - mean_y).square().sum() + root_x.square().sum() + root_y.square().sum() - 2 * trace)


def _kernel_sums(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of k(a_i, b_j) over j (N) and over i (M), float64; where b is a, without i = j, and each pair met once."""
    same = a is b
    one = a.new_ones(())
    rows, columns = a.new_zeros(len(a), dtype=torch.float64), b.new_zeros(len(b), dtype=torch.float64)
    for i in range(0, len(a), BLOCK):
        for j in range(i if same else 0, len(b), BLOCK):
            k = torch.addmm(one, a[i : i + BLOCK], b[j : j + BLOCK].T, alpha=1 / a.shape[1]).pow_(3)
            if same and i == j:
                k.fill_diagonal_(0)
            rows[i : i + BLOCK] += k.sum(1, dtype=torch.float64)
            if not (same and i == j):
                columns[j : j + BLOCK] += k.sum(0, dtype=torch.float64)
    return (rows + columns, rows + columns) if same else (rows, columns)


@contextmanager
def _full_precision() -> Iterator[None]:
    """float32 products in float32, whatever training chose: TF32 or bf16 would round by more than KID often is."""
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(chosen)
