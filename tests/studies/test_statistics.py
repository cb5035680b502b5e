"""Paired differences against values that are known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ganfold.studies.statistics import bootstrap_interval, holm, paired_differences, sign_flip


def test_sign_flips_of_few_replicates_can_be_counted() -> None:
    assert sign_flip([0.01, 0.02, 0.03]) == pytest.approx(2 / 2**3)  # all of one sign: the least that is possible
    assert sign_flip([0.01] * 7 + [0.02]) == pytest.approx(2 / 2**8)
    assert sign_flip([0.03, -0.03, 0.01, -0.01]) == pytest.approx(1)
    assert sign_flip([0.01]) == 1


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    draws = random.normal(0.5, 1, (120, 20))
    inside = [low <= 0.5 <= high for low, high in map(bootstrap_interval, draws.tolist())]
    assert 0.85 < np.mean(inside) < 0.99
    assert bootstrap_interval([0.2] * 8) == pytest.approx((0.2, 0.2))
    assert bootstrap_interval([0.2]) == (-math.inf, math.inf)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("shift", "spread", "count", "verdict"),
    [
        (0.02, 0.005, 8, "helps"),
        (-0.02, 0.005, 8, "harms"),
        (0.0, 0.01, 8, "no evidence"),
        (0.02, 0.005, 7, None),
    ],
)
def test_verdicts(shift: float, spread: float, count: int, verdict: str | None) -> None:
    base = np.linspace(0.6, 0.8, count)
    wiggle = spread * np.array([1, -1, 0.5, -0.5, 0.7, -0.7, 0.2, -0.2])[:count]
    (difference,) = paired_differences({"GAN": ((base + shift + wiggle).tolist(), base.tolist())})
    assert difference.verdict == verdict
    assert difference.mean == pytest.approx(np.mean(shift + wiggle))


def test_a_family_of_many_tests_asks_for_more() -> None:
    gain = ([0.7 + 0.001 * i for i in range(8)], [0.69] * 8)
    assert paired_differences({"one": gain})[0].verdict == "helps"
    many = paired_differences({str(i): gain for i in range(7)})
    assert all(d.p == many[0].p and d.holm > 0.05 and d.verdict == "no evidence" for d in many)
