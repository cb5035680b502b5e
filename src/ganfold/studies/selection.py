"""Which generated images may become training images: those that look like their class, lie where real ones lie, and
copy none."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfold.data import drawn
from ganfold.metrics.features import efficientnet
from ganfold.metrics.manifold import manifold
from ganfold.metrics.memorisation import copy_share, nearest, nearest_in_pixels, pixel_bank
from ganfold.studies.classifiers import COST, FEATURE_SIZE

POOL, LEAST = 6, 60  # generated images to select from: of each that is wanted, and of a class at least
FLOOR = 0.5  # agreement: a floor, not the top, since what is surest is what teaches least ...
QUANTILE = 0.25  # ... or, where that is less, what three quarters of the class's own reals reach
FOLDS = 3  # of the reals: each classifier is fitted without one of them
NEIGHBOURS = 3  # a ball around a real image reaches to its third neighbour (Kynkäänniemi 2019, arXiv:1904.06991)
VARIETY = 0.3  # of the reals' variance over features that a class's images must have, or the class is refused
MEASURED = 1000  # reals whose distances to other reals say what is a copy


@dataclass(frozen=True)
class Selection:
    """What `select` found of each generated image, in their order."""

    kept: np.ndarray  # bool (N,)
    agreement: np.ndarray  # float32 (N,): mean probability of the intended class by the cross-fitted classifiers
    supported: np.ndarray  # bool (N,): in the ball of a real image of its class
    copied: np.ndarray  # bool (N,): nearer to a training image than 99 % of those are to each other
    distance: np.ndarray  # float32 (N,): to the nearest training image, root mean square of pixels in [0, 1]
    classes: dict[int, dict[str, float]]  # of each class: made, agreed, supported, copied, kept (counts), and variety
    real_recall: list[float]  # of each class, by the classifiers that did not see the image: what agreement is worth

    def refused(self) -> list[int]:
        """The classes whose images are too much alike."""
        return [label for label, found in self.classes.items() if found["variety"] < VARIETY]

    def usable(self, intended: np.ndarray) -> np.ndarray:
        """The images that were kept, of classes that are not refused: int64, ascending."""
        return np.flatnonzero(self.kept & ~np.isin(intended, self.refused()))


def candidates(wanted: np.ndarray) -> np.ndarray:
    """How many images to make of each class, so that so many (K,) may pass; none where none are wanted."""
    return np.where(wanted > 0, np.maximum(POOL * wanted, LEAST), 0)


def select(
    made: np.ndarray, intended: np.ndarray, reals: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0
) -> Selection:
    """Judge generated images by real ones, each class by its own.

    Args:
        made, intended: uint8 (N, C, H, W) and the classes that they were made for, int64 (N,).
        reals, labels: the images that the generator was trained on, more than `NEIGHBOURS` of each intended class.
        classes: how many there are.
        seed: of the folds.
    """
    looking = efficientnet(FEATURE_SIZE)
    features, real_features = looking(made), looking.cached(reals)
    agreement, agreed, recall = _agreement(features, intended, real_features, labels, classes, seed)
    copied, distance = _copied(made, features, reals, real_features, seed)
    supported = np.zeros(len(made), bool)
    for label in np.unique(intended).tolist():
        mine = np.flatnonzero(intended == label)
        supported[mine] = _inside(features[mine], real_features[labels == label])
    kept = agreed & supported & ~copied
    found = {}
    for label in np.unique(intended).tolist():
        mine = intended == label
        counts = {
            name: float(np.count_nonzero(mine & flags))
            for name, flags in (("made", mine), ("agreed", agreed), ("supported", supported), ("copied", copied),
                                ("kept", kept))
        }  # fmt: skip
        found[label] = counts | {"variety": _variety(features[mine & kept], real_features[labels == label])}
    return Selection(kept, agreement, supported, copied, distance, found, recall)


def _agreement(
    features: Tensor, intended: np.ndarray, real_features: Tensor, labels: np.ndarray, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probabilities, real = np.zeros((len(features), classes)), np.zeros((len(labels), classes))
    x = real_features.numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class with fewer images than folds
        folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, labels))
    for fit, rest in folds:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=COST, class_weight="balanced", max_iter=500)).fit(
            x[fit], labels[fit]
        )
        probabilities[:, model.classes_] += model.predict_proba(features.numpy()) / FOLDS
        real[rest[:, None], model.classes_] = model.predict_proba(x[rest])
    recall = recall_score(labels, real.argmax(1), labels=np.arange(classes), average=None, zero_division=0)
    agreement = probabilities[np.arange(len(intended)), intended]
    floors = np.full(classes, FLOOR)
    for label in np.unique(labels):
        floors[label] = min(FLOOR, np.quantile(real[labels == label, label], QUANTILE))
    agreed = (probabilities.argmax(1) == intended) & (agreement >= floors[intended])
    return agreement.astype(np.float32), agreed, recall.tolist()


def _copied(
    made: np.ndarray, features: Tensor, reals: np.ndarray, real_features: Tensor, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """In pixels, over shifts and mirror images, or in features."""
    bank, some = pixel_bank(reals), torch.from_numpy(drawn(np.arange(len(reals)), MEASURED, seed))
    distance = nearest_in_pixels(made, bank)[0]
    _, limit = copy_share(distance, nearest_in_pixels(reals[some.numpy()], bank, some)[0])
    far = nearest(features, real_features)[0]
    _, far_limit = copy_share(far, nearest(real_features[some], real_features, some)[0])
    return ((distance < limit) | (far < far_limit)).numpy(), distance.numpy()


def _inside(features: Tensor, real_features: Tensor) -> np.ndarray:
    """Whether each lies in the ball of a real image."""
    padded = torch.cat([features, features[:1].expand(NEIGHBOURS, -1)])  # so that a few can be asked for too
    return manifold(padded, real_features, k_precision=NEIGHBOURS).precise.numpy()[: len(features)]


def _variety(features: Tensor, real_features: Tensor) -> float:
    """Variance over all features, in that of the reals."""
    if len(features) < 2:
        return 0.0
    return float(features.var(0).sum() / real_features.var(0).sum().clamp(min=1e-12))


def acceptance(selection: Selection, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each class."""
    return [{"class": names[label], **found} for label, found in selection.classes.items()]
