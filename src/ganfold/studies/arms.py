"""The arms of a study: each is a small function from a replicate to the images that a classifier is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from ganfold.data import ImageSet
from ganfold.studies.classifiers import Recipe, Training

MORE = (0.1, 0.3, 1.0)  # new real images of the learning curve, for each generated image of the GAN's arm


@dataclass(frozen=True)
class Replicate:
    """One draw of everything: images, generator, and the seed of the classifiers. Rows are int64 into `images`."""

    images: ImageSet
    seed: int
    shown: np.ndarray  # rows that classifiers are trained on
    spare: np.ndarray  # other rows of the training part, in drawn order, for the learning curve
    made: np.ndarray  # generated images, uint8 (N, C, H, W), class by class
    intended: np.ndarray  # their classes, int64 (N,)
    kept: np.ndarray  # rows of `made` that passed the selection, int64, ascending
    additions: np.ndarray  # how many generated images each class should get, int64 (K,)

    @property
    def labels(self) -> np.ndarray:
        """The class of each image, int64."""
        assert self.images.labels is not None
        return np.asarray(self.images.labels)

    @property
    def added(self) -> np.ndarray:
        """How many images each class gets: as many as it should, or as many as passed the selection."""
        return np.minimum(self.additions, np.bincount(self.intended[self.kept], minlength=len(self.additions)))


def plain(r: Replicate) -> Training:
    """The real images."""
    return Training(r.images.images[r.shown], r.labels[r.shown], len(r.additions))


def selected(r: Replicate) -> Training:
    """The real images, and generated ones that passed the selection."""
    return _with_generated(r, r.kept)


def unselected(r: Replicate) -> Training:
    """The real images, and as many generated ones without selection."""
    return _with_generated(r, np.arange(len(r.made)))


def mislabelled(r: Replicate) -> Training:
    """The real images, and selected ones with labels at random.

    Each label is drawn anew. To shuffle the labels would change nothing if one class gets all generated images.
    """
    training = selected(r)
    labels = np.random.default_rng(r.seed).integers(0, len(r.additions), len(training.extra_labels))
    return replace(training, extra_labels=labels)


def copies(r: Replicate) -> Training:
    """The real images, and as many copies of them instead of generated ones: the effect of more weight alone."""
    random = np.random.default_rng(r.seed)
    by_class = [r.shown[r.labels[r.shown] == label] for label in range(len(r.additions))]
    rows = np.concatenate([random.choice(own, count) for own, count in zip(by_class, r.added, strict=True) if len(own)])
    return replace(plain(r), extra=r.images.images[rows], extra_labels=r.labels[rows])


def more(share: float, r: Replicate) -> Training:
    """The real images, and new real ones: this share of the generated images' number, or all that are left."""
    labels = r.labels[r.spare]
    new = [r.spare[labels == label][: round(share * count)] for label, count in enumerate(r.added)]
    rows = np.concatenate([r.shown, *new])
    return Training(r.images.images[rows], r.labels[rows], len(r.additions))


def _with_generated(r: Replicate, among: np.ndarray) -> Training:
    """The real images, and the first of these generated ones for each class."""
    rows = np.concatenate([among[r.intended[among] == label][:count] for label, count in enumerate(r.added)])
    return replace(plain(r), extra=r.made[rows], extra_labels=r.intended[rows])


ARMS: dict[str, Callable[[Replicate], Training]] = {  # each with the recipe of the best baseline
    "GAN": selected,
    "real copies": copies,
    "GAN, not selected": unselected,
    "GAN, labels at random": mislabelled,
    **{f"new reals, {100 * share:.0f} % as many": partial(more, share) for share in MORE},
}


def baselines(augmentation: Literal["classical", "randaugment"], flips: bool) -> dict[str, Recipe]:
    """The recipes without generated images. A GAN must beat the best of them."""
    strong = Recipe(augmentation, flips)
    return {
        "real": Recipe(),
        augmentation: strong,
        "oversampling": replace(strong, balanced=True),
        "logit adjustment": replace(strong, adjusted=True),
    }
