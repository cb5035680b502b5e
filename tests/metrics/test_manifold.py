"""Precision, recall, density and coverage against brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ganfold.errors import GanfoldError
from ganfold.metrics import manifold as module
from ganfold.metrics.manifold import Manifold, manifold


def brute_force(generated: Any, real: Any, k_precision: int = 3, k_density: int = 5) -> dict[str, np.ndarray]:
    """The definitions, in float64, one pair at a time."""

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radii(x: np.ndarray, k: int) -> np.ndarray:
        distances = between(x, x)
        np.fill_diagonal(distances, np.inf)
        return np.sort(distances, 1)[:, k - 1]

    generated, real = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    cross = between(generated, real)
    held = cross <= radii(real, k_density)
    return {
        "precise": (cross <= radii(real, k_precision)).any(1),
        "recalled": (cross <= radii(generated, k_precision)[:, None]).any(0),
        "density_each": held.sum(1) / k_density,
        "covered": held.any(0),
    }


def sets(seed: int, n: int = 150, m: int = 110, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Two sets that overlap in part, so that no share is 0 or 1."""
    random = np.random.default_rng(seed)
    real = random.normal(size=(m, d)).astype(np.float32)
    return (random.normal(size=(n, d)) * 1.3 + 0.4).astype(np.float32), real


def assert_equal(result: Manifold, expected: dict[str, np.ndarray]) -> None:
    for name, each in expected.items():
        np.testing.assert_array_equal(getattr(result, name).numpy(), each, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "m", "d"), [(150, 110, 6), (60, 200, 2), (100, 100, 64)])
def test_it_is_brute_force(seed: int, n: int, m: int, d: int) -> None:
    generated, real = sets(seed, n, m, d)
    assert_equal(manifold(torch.tensor(generated), torch.tensor(real)), brute_force(generated, real))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("far", [0.0, 1000.0])  # far from 0, squares are large beside distances
def test_duplicates_and_ties(seed: int, far: float) -> None:
    generated, real = sets(seed)
    generated, real = generated + np.float32(far), real + np.float32(far)
    real[20:30] = real[40]  # more duplicates than k: balls of radius 0
    generated[:8] = generated[9]
    generated[60:70], generated[70:75] = real[:10], real[40]
    assert_equal(manifold(torch.tensor(generated), torch.tensor(real)), brute_force(generated, real))


@pytest.mark.parametrize("seed", range(3))
def test_distances_of_whole_numbers_tie_exactly(seed: int) -> None:
    random = np.random.default_rng(seed)
    generated, real = random.integers(0, 4, (80, 4)), random.integers(0, 3, (70, 4))
    result = manifold(torch.tensor(generated).float(), torch.tensor(real).float())
    assert_equal(result, brute_force(generated, real))


def test_other_k() -> None:
    generated, real = sets(0)
    result = manifold(torch.tensor(generated), torch.tensor(real), k_precision=7, k_density=2)
    assert_equal(result, brute_force(generated, real, 7, 2))


@pytest.mark.parametrize("block", [4, 64])  # 4: less than k
def test_blocks_make_no_difference(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = sets(1)
    monkeypatch.setattr(module, "BLOCK", block)
    assert_equal(manifold(torch.tensor(generated), torch.tensor(real)), brute_force(generated, real))


def test_a_set_with_itself() -> None:
    real = torch.tensor(sets(0)[1])
    result = manifold(real, real)
    assert result.precision == result.recall == result.coverage == (1.0, 0.0)
    # Each sample lies in its own ball, and each ball holds 5 others: 6 / 5 on average.
    assert result.density[0] == pytest.approx(1.2)


def test_metrics_are_means_with_standard_errors() -> None:
    generated, real = (torch.tensor(x) for x in sets(2))
    result, expected = manifold(generated, real), brute_force(generated, real)
    for name, each in zip(("precision", "recall", "density", "coverage"), expected.values(), strict=True):
        value, error = getattr(result, name)
        assert value == pytest.approx(each.mean())
        assert error == pytest.approx(each.std(ddof=1) / math.sqrt(len(each)))
        assert error > 0


@pytest.mark.parametrize(
    ("n", "m", "options", "says"),
    [
        (
            3,
            9,
            {},
            "precision and recall with k = 3 need at least 4 samples on each side.*there are 3 generated and 9 r",
        ),
        (9, 3, {}, "precision and recall with k = 3 need at least 4 samples on each side"),
        (9, 5, {}, "density and coverage with k = 5 need at least 6 samples of real images.* 9 generated and 5 real"),
        (9, 9, {"k_precision": 0}, "precision and recall: k = 0 is no neighbour"),
        (9, 9, {"k_density": -1}, "density and coverage: k = -1 is no neighbour"),
    ],
)
def test_too_few_samples_are_named(n: int, m: int, options: dict[str, int], says: str) -> None:
    with pytest.raises(GanfoldError, match=says):
        manifold(torch.zeros(n, 2), torch.zeros(m, 2), **options)


def test_features_that_do_not_fit_are_named() -> None:
    with pytest.raises(GanfoldError, match=r"these are \(9, 2\) and \(9, 3\)"):
        manifold(torch.zeros(9, 2), torch.zeros(9, 3))
    with pytest.raises(GanfoldError, match="manifold .*: 1 of the 9 samples of the first set"):
        manifold(torch.tensor([[math.nan, 0.0]] + [[0.0, 0.0]] * 8), torch.zeros(9, 2))
