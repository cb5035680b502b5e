"""Paired differences: how large, how sure, and what may be claimed. The computing is SciPy's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

REPLICATES = 8  # below it nothing is claimed: with five the two-sided sign-flip p cannot fall below 0.0625
LEVEL = 0.05
RESAMPLES = 9_999  # up to 13 replicates all sign flips are tried instead

Verdict = Literal["helps", "no evidence", "harms"]


@dataclass(frozen=True)
class Difference:
    """One thing minus another over paired replicates."""

    name: str
    each: list[float]  # of each replicate
    mean: float
    low: float  # BCa bootstrap interval of the mean, 95 % ...
    high: float
    p: float  # sign-flip test, two-sided
    holm: float  # the same, corrected for its family

    @property
    def verdict(self) -> Verdict | None:
        """Interval and corrected p must agree; None: too few replicates for any claim."""
        if len(self.each) < REPLICATES:
            return None
        if self.holm < LEVEL and (self.low > 0 or self.high < 0):
            return "helps" if self.mean > 0 else "harms"
        return "no evidence"


def family(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[Difference]:
    """The differences first minus second, over replicates in one order, their p corrected together by Holm's method."""
    found = []
    for name, (first, second) in pairs.items():
        each = [a - b for a, b in zip(first, second, strict=True)]
        found.append((name, each, *interval(each), sign_flip(each)))
    corrected = holm([p for *_, p in found])
    return [
        Difference(name, each, float(np.mean(each)), low, high, p, corrected_p)
        for (name, each, low, high, p), corrected_p in zip(found, corrected, strict=True)
    ]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean, 95 %: bias-corrected and accelerated bootstrap (Efron 1987); infinite for one value."""
    from scipy.stats import bootstrap

    each = np.asarray(values, float)
    if len(each) < 2:
        return -math.inf, math.inf
    if np.ptp(each) < 1e-12:  # all equal: it has no acceleration
        return float(each.mean()), float(each.mean())
    found = bootstrap(
        (each,), np.mean, n_resamples=RESAMPLES, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def sign_flip(values: Sequence[float]) -> float:
    """Two-sided p of a mean of zero, where each difference could as well have had the other sign."""
    from scipy.stats import permutation_test

    found = permutation_test(
        (np.asarray(values, float),),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm 1979: the smallest times the number of tests, the next times one less, and never below the one before."""
    order = np.argsort(p, kind="stable")
    corrected = np.maximum.accumulate(np.asarray(p, float)[order] * (len(p) - np.arange(len(p))))
    found = np.empty(len(p))
    found[order] = corrected.clip(max=1)
    return found.tolist()
