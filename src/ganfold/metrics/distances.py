"""Distances between two sets of features: Fréchet, its limit at infinitely many samples, and kernel distance (KID)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ganfold.errors import GanfoldError

BLOCK = 1024  # rows at once: the allocator reuses tiles of 4 to 8 MB without asking the system for memory
POINTS = 8  # sample sizes to which `frechet_infinity` fits its line


@torch.no_grad()
def frechet(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians that have the means and covariances of two sets of features.

    |mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)), Heusel et al. 2017, arXiv:1706.08500, eq. 6. Covariances are
    unbiased (N - 1), as in the published implementations. The distance is biased: it falls as samples are added.

    Args:
        x, y: features (N, D) and (M, D), on one device that has float64.

    Returns:
        The distance, at least 0, in squared units of the features.

    Raises:
        GanfoldError: a set has fewer than 2 rows, D differs, or features are not finite.
    """
    check("the Fréchet distance", x, y, 2)
    return max(_between(_gaussian(x), _gaussian(y)), 0.0)  # for equal sets, rounding may leave -1e-13


@torch.no_grad()
def frechet_infinity(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """The Fréchet distance extrapolated to infinitely many samples x, by a straight line in 1/N.

    Chong, Forsyth 2020, "Effectively unbiased FID and Inception Score and where to find them", arXiv:1911.07023: fit a
    line to the distances of random subsets of x with evenly spaced sizes, and take its intercept. y stays whole, so the
    bias of its own finite size remains.

    The bias is linear in 1/N only for N well above D. For Gaussians of equal variances the intercept leaves about a
    quarter of the bias at N = 2 D, an eighth at 3 D, and 3 % at 8 D. Therefore x needs at least 2 D rows, and subsets
    start at N/2 instead of the paper's fixed 5,000.

    Args:
        x: features of generated images (N, D), on a device that has float64.
        y: features of the reference (M, D), on the same device.
        seed: decides the subsets.

    Returns:
        The limit, in squared units of the features. Noise may bring it below 0.

    Raises:
        GanfoldError: x has fewer than 2 D rows or fewer than 32, or the features are refused by `frechet`.
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
    distances = []
    for size in sizes:
        chosen = torch.randperm(count, generator=random)[:size].to(x.device)
        distances.append(_between(_gaussian(x[chosen]), reference))
    return float(np.polyfit(1 / sizes, distances, 1)[1])


@torch.no_grad()
def kid(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Kernel distance of two sets of features, and its standard error.

    The unbiased MMD^2 over all pairs, with the kernel k(a, b) = (a.b / D + 1)^3: Bińkowski et al. 2018,
    arXiv:1801.01401, section 4 (kernel) and eq. 4 (estimator). The standard error is the delete-one jackknife over the
    rows of both sets. It is too wide for two nearly equal distributions.

    float64 features are computed in float64, all others in float32. float32 suffices unless the means of the features
    are thousands of times their spread.

    Args:
        x, y: features (N, D) and (M, D), on one device.

    Returns:
        MMD^2 and its standard error. The expectation of MMD^2 is 0 for equal distributions; it can be negative.

    Raises:
        GanfoldError: a set has fewer than 3 rows (the jackknife leaves one out, and 2 must remain), D differs, or
            features are not finite.
    """
    check("KID", x, y, 3)
    dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    x, y = x.to(dtype), y.to(dtype)
    n, m = len(x), len(y)
    with _full_precision():
        (xx, _), (yy, _), (xy, yx) = _kernel_sums(x, x), _kernel_sums(y, y), _kernel_sums(x, y)
    within_x, within_y, between = xx.sum(), yy.sum(), xy.sum()
    value = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)
    # The estimates without row i of x, and without row j of y: the sums lose the pairs of that row.
    less_x = (within_x - 2 * xx) / ((n - 1) * (n - 2)) + within_y / (m * (m - 1)) - 2 * (between - xy) / ((n - 1) * m)
    less_y = within_x / (n * (n - 1)) + (within_y - 2 * yy) / ((m - 1) * (m - 2)) - 2 * (between - yx) / (n * (m - 1))
    variance = (n - 1) * less_x.var(correction=0) + (m - 1) * less_y.var(correction=0)
    return float(value), float(variance.sqrt())


def check(metric: str, x: Tensor, y: Tensor, least: int) -> None:
    """Raise GanfoldError unless x and y are finite features (N, D) and (M, D), with N and M at least `least`."""
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
    """The rows of x, BLOCK at a time, because a float64 copy of all rows may be large."""
    return (x[start : start + BLOCK] for start in range(0, len(x), BLOCK))


def mean_of(x: Tensor) -> Tensor:
    """Mean (D,) of rows (N, D), in float64."""
    return torch.stack([block.double().sum(0) for block in blocks(x)]).sum(0) / len(x)


def _gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and L (D, min(N, D)) in float64, where L L^T is the covariance.

    If N <= D, the centred samples themselves are L. They are not squared, so no digits are lost.
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
    """Fréchet distance of two Gaussians, each by its mean and L.

    S_x S_y has the eigenvalues of (L_x^T L_y)(L_x^T L_y)^T. The trace of its root is therefore the sum of the singular
    values of L_x^T L_y. This avoids the root of a matrix that is not symmetric, which rounding can make complex.
    """
    (mean_x, root_x), (mean_y, root_y) = x, y
    trace = torch.linalg.svdvals(root_x.T @ root_y).sum()
    return float((mean_x - mean_y).square().sum() + root_x.square().sum() + root_y.square().sum() - 2 * trace)


def _kernel_sums(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of k(a_i, b_j) over j (N,) and over i (M,), float64. If b is a, pairs with i = j are left out."""
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
    """Computes float32 products in float32: the rounding of TF32 or bf16 is often larger than KID itself."""
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(chosen)
