"""Precision, recall, density and coverage: balls around the samples of one set that hold samples of the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganfold.errors import GanfoldError
from ganfold.metrics.distances import check, mean_of

BLOCK = 1024  # rows at once
TIE = 1e-12  # of the squared norms: above the rounding of a squared distance, far below differences in data


@dataclass(frozen=True)
class Manifold:
    """Results for each sample, and the metrics that are their means.

    Each metric is a share with its standard error: the standard deviation over samples, over the root of their number.
    The standard error is conditional on the balls. It says how the metric would vary with other samples in the same
    balls, not with balls around other samples.
    """

    precise: Tensor  # bool (N,): whether this generated sample lies in a ball of a real one
    recalled: Tensor  # bool (M,): whether this real sample lies in a ball of a generated one
    density_each: Tensor  # float64 (N,): number of real balls that hold this generated sample, over k
    covered: Tensor  # bool (M,): whether this real sample's ball holds a generated one

    @property
    def precision(self) -> tuple[float, float]:
        """Share of generated samples within the real manifold, [0, 1], and its standard error."""
        return mean_and_error(self.precise)

    @property
    def recall(self) -> tuple[float, float]:
        """Share of real samples within the generated manifold, [0, 1], and its standard error."""
        return mean_and_error(self.recalled)

    @property
    def density(self) -> tuple[float, float]:
        """Mean number of real balls that hold a generated sample, over k, and its standard error.

        It is about 1 for equal distributions and can be larger.
        """
        return mean_and_error(self.density_each)

    @property
    def coverage(self) -> tuple[float, float]:
        """Share of real samples whose ball holds a generated one, [0, 1], and its standard error."""
        return mean_and_error(self.covered)


def mean_and_error(each: Tensor) -> tuple[float, float]:
    """Mean of values (N,), N at least 2, and its standard error. For a class, pass the values of its rows."""
    values = each.double()
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


@torch.no_grad()
def manifold(generated: Tensor, real: Tensor, *, k_precision: int = 3, k_density: int = 5) -> Manifold:
    """Find the samples of each set that lie in balls around samples of the other set.

    A ball reaches to the k-th nearest neighbour in its own set. Precision and recall: Kynkäänniemi et al. 2019,
    arXiv:1904.06991, eqs. 1 and 2. Density and coverage: Naeem et al. 2020, arXiv:2002.09797, eqs. 3 and 4. Distances
    are Euclidean. A sample is not its own neighbour. The surface belongs to the ball, so a duplicate lies in the ball
    of its original even if the radius is 0.

    Args:
        generated, real: features (N, D) and (M, D), on one device that has float64.
        k_precision: k of precision and recall; 3 in their paper.
        k_density: k of density and coverage; 5 in their paper.

    Returns:
        Results for each sample, on the CPU, in the order of the rows.

    Raises:
        GanfoldError: k is below 1, a set has too few samples for a k-th neighbour, D differs, or features are not
            finite.
    """
    check("the manifold (precision, recall, density, coverage)", generated, real, 2)
    _check_neighbours(len(generated), len(real), k_precision, k_density)
    # |a|^2 + |b|^2 - 2 a.b loses digits far from the origin: use float64, and centre both sets.
    middle = mean_of(real)
    generated, real = generated.double() - middle, real.double() - middle
    of_generated = _nearest(generated, k_precision)[:, -1]
    of_real = _nearest(real, max(k_precision, k_density))
    for_precision, for_density = of_real[:, k_precision - 1], of_real[:, k_density - 1]

    precise = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    balls = torch.zeros(len(generated), dtype=torch.int64, device=real.device)
    covered = torch.zeros_like(recalled)
    for i in range(0, len(generated), BLOCK):
        for j in range(0, len(real), BLOCK):
            rows, columns = slice(i, i + BLOCK), slice(j, j + BLOCK)
            # Distances shrink by more than their rounding error, so that a tie counts as inside.
            distances = _squared(generated[rows], real[columns], 1 - TIE)
            precise[rows] |= (distances <= for_precision[columns]).any(1)
            recalled[columns] |= (distances <= of_generated[rows, None]).any(0)
            held = distances <= for_density[columns]
            balls[rows] += held.sum(1)
            covered[columns] |= held.any(0)
    return Manifold(precise.cpu(), recalled.cpu(), (balls.double() / k_density).cpu(), covered.cpu())


def _check_neighbours(generated: int, real: int, k_precision: int, k_density: int) -> None:
    for names, k, count, where in (
        ("precision and recall", k_precision, min(generated, real), "on each side"),
        ("density and coverage", k_density, real, "of real images"),
    ):
        if k < 1:
            raise GanfoldError(f"{names}: k = {k} is no neighbour; k is at least 1")
        if count <= k:
            raise GanfoldError(
                f"{names} with k = {k} need at least {k + 1} samples {where}, since one is not its own neighbour; "
                f"there are {generated:,} generated and {real:,} real ones: add samples, or lower k"
            )


def _nearest(x: Tensor, k: int) -> Tensor:
    """Squared distances (N, k) of each sample to its k nearest others, ascending. Each pair is computed once."""
    nearest = x.new_full((len(x), k), torch.inf)
    for i in range(0, len(x), BLOCK):
        for j in range(i, len(x), BLOCK):
            rows, columns = slice(i, i + BLOCK), slice(j, j + BLOCK)
            distances = _squared(x[rows], x[columns])
            if i == j:
                distances.fill_diagonal_(torch.inf)
            else:
                nearest[columns] = _smallest(nearest[columns], distances.T, k)
            nearest[rows] = _smallest(nearest[rows], distances, k)
    return nearest


def _smallest(known: Tensor, new: Tensor, k: int) -> Tensor:
    best = new.topk(min(k, new.shape[1]), largest=False, sorted=False).values
    return torch.cat([known, best], 1).topk(k, largest=False).values


def _squared(a: Tensor, b: Tensor, share: float = 1.0) -> Tensor:
    """Squared distances (n, m) of rows, with their squared norms multiplied by `share`."""
    norms = a.square().sum(1, keepdim=True) + b.square().sum(1)
    return torch.addmm(norms, a, b.T, beta=share, alpha=-2)
