"""Paired differences: how large they are, how sure, and what may be claimed. SciPy does the computing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

REPLICATES = 8  # least for a claim: with five, the two-sided p of sign flips cannot fall below 0.0625
LEVEL = 0.05
RESAMPLES = 9_999  # of the bootstrap and of sign flips; up to 13 replicates all sign flips are tried instead

Verdict = Literal["helps", "no evidence", "harms"]


@dataclass(frozen=True)
class Difference:
    """One score minus another over paired replicates."""

    name: str
    each: list[float]  # of each replicate
    mean: float
    low: float  # BCa bootstrap interval of the mean, 95 % ...
    high: float
    p: float  # sign-flip test, two-sided
    holm: float  # the same, corrected for its family

    @property
    def verdict(self) -> Verdict | None:
        """The interval and the corrected p must agree. None: there are too few replicates for a claim."""
        if len(self.each) < REPLICATES:
            return None
        if self.holm < LEVEL and (self.low > 0 or self.high < 0):
            return "helps" if self.mean > 0 else "harms"
        return "no evidence"


def paired_differences(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[Difference]:
    """The differences first minus second. Holm's method corrects all their p together.

    Args:
        pairs: by name the two scores of each replicate, in the same order of replicates.
    """
    each = [[a - b for a, b in zip(first, second, strict=True)] for first, second in pairs.values()]
    p = [sign_flip(values) for values in each]
    return [
        Difference(name, values, float(np.mean(values)), *bootstrap_interval(values), own_p, corrected)
        for name, values, own_p, corrected in zip(pairs, each, p, holm(p), strict=True)
    ]


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean: bias-corrected and accelerated bootstrap (Efron 1987). Infinite for one value."""
    from scipy.stats import bootstrap

    each = np.asarray(values, float)
    if len(each) < 2:
        return -math.inf, math.inf
    if np.ptp(each) < 1e-12:  # the acceleration of equal values is undefined
        return float(each.mean()), float(each.mean())
    interval = bootstrap(
        (each,), np.mean, n_resamples=RESAMPLES, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(interval.low), float(interval.high)


def sign_flip(values: Sequence[float]) -> float:
    """Two-sided p of a mean of zero: under it, each difference could as well have the other sign."""
    from scipy.stats import permutation_test

    if len(values) < 2:  # both signs are equally far from zero; SciPy refuses a single value
        return 1.0
    test = permutation_test(
        (np.asarray(values, float),),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(0),
    )
    return float(test.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Several p corrected by the method of Holm 1979, in their order.

    The smallest is multiplied by the number of tests, the next by one less, and so on; none falls below the one before.
    """
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(np.asarray(p, float)[order] * (len(p) - np.arange(len(p))))
    corrected = np.empty(len(p))
    corrected[order] = raised.clip(max=1)
    return corrected.tolist()
