"""The arms of a study: what a classifier is trained on, each a small function of a replicate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from ganfold.data import ImageSet
from ganfold.studies.classifiers import Recipe, Training

MORE = (0.1, 0.3, 1.0)  # real images that the learning curve adds, for each generated one of the GAN's arm


@dataclass(frozen=True)
class Replicate:
    """One draw of everything: images, generator, and the seed of the classifiers. Rows are int64 into `images`."""

    images: ImageSet
    seed: int
    shown: np.ndarray  # rows that classifiers are trained on
    spare: np.ndarray  # other rows of the training part, in drawn order: the learning curve's
    made: np.ndarray  # generated images, uint8 (N, C, H, W), class by class
    intended: np.ndarray  # their classes, int64 (N,)
    kept: np.ndarray  # those that passed the selection, int64, ascending
    wanted: np.ndarray  # how many each class is to be given, int64 (K,)

    @property
    def labels(self) -> np.ndarray:
        assert self.images.labels is not None
        return np.asarray(self.images.labels)

    @property
    def added(self) -> np.ndarray:
        """How many each class is given: no more than passed."""
        return np.minimum(self.wanted, np.bincount(self.intended[self.kept], minlength=len(self.wanted)))


def plain(r: Replicate) -> Training:
    """The real images."""
    return Training(r.images.images[r.shown], r.labels[r.shown], len(r.wanted))


def selected(r: Replicate) -> Training:
    """With generated images that passed the selection."""
    return _with(r, r.kept)


def unselected(r: Replicate) -> Training:
    """With as many generated images as they come."""
    return _with(r, np.arange(len(r.made)))


def mislabelled(r: Replicate) -> Training:
    """With selected images, each given any class. (Exchanging labels does nothing where one class gets them all.)"""
    training = selected(r)
    labels = np.random.default_rng(r.seed).integers(0, len(r.wanted), len(training.extra_labels))
    return replace(training, extra_labels=labels)


def copies(r: Replicate) -> Training:
    """With as many real images once more, in the generated ones' place: what more weight alone does."""
    random = np.random.default_rng(r.seed)
    mine = [r.shown[r.labels[r.shown] == label] for label in range(len(r.wanted))]
    parts = [random.choice(rows, many) for rows, many in zip(mine, r.added, strict=True) if len(rows)]
    rows = np.concatenate(parts)
    return replace(plain(r), extra=r.images.images[rows], extra_labels=r.labels[rows])


def more(share: float, r: Replicate) -> Training:
    """With new real images, a share of as many as were generated, as far as there are any."""
    labels = r.labels[r.spare]
    each = [r.spare[labels == label][: round(share * many)] for label, many in enumerate(r.added)]
    rows = np.concatenate([r.shown, *each])
    return Training(r.images.images[rows], r.labels[rows], len(r.wanted))


def _with(r: Replicate, among: np.ndarray) -> Training:
    rows = np.concatenate([among[r.intended[among] == label][:many] for label, many in enumerate(r.added)])
    return replace(plain(r), extra=r.made[rows], extra_labels=r.intended[rows])


ARMS: dict[str, Callable[[Replicate], Training]] = {  # each on top of the best baseline, with its recipe
    "GAN": selected,
    "real copies": copies,
    "GAN, not selected": unselected,
    "GAN, labels at random": mislabelled,
    **{f"new reals, {100 * share:.0f} % as many": partial(more, share) for share in MORE},
}


def baselines(augmentation: Literal["classical", "randaugment"], flips: bool) -> dict[str, Recipe]:
    """The recipes without generated images, of which the best is what a GAN must beat."""
    strong = Recipe(augmentation, flips)
    return {
        "real": Recipe(),
        augmentation: strong,
        "oversampling": replace(strong, balanced=True),
        "logit adjustment": replace(strong, adjusted=True),
    }
