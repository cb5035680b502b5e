"""Which generated images may become training images.

An image passes if it looks like its class, lies where real images of the class lie, and copies no training image.
"""

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

POOL, LEAST = 6, 60  # images to select from: POOL for each image that a class gets, and at least LEAST
FLOOR = 0.5  # least agreement. It is a floor and not a ranking: the surest images teach the least. Or, if lower, ...
QUANTILE = 0.25  # ... this quantile of the agreement of the class's own real images
FOLDS = 3  # of the real images: each classifier is fitted without one of them
NEIGHBOURS = 3  # the ball around a real image reaches its third neighbour (Kynkäänniemi 2019, arXiv:1904.06991)
VARIETY = 0.3  # least variance of a class's images over features, as a share of that of its real images
MEASURED = 1000  # real images whose distances to other real images define a copy


@dataclass(frozen=True)
class Selection:
    """The judgement of each generated image, in their order."""

    kept: np.ndarray  # bool (N,)
    agreement: np.ndarray  # float32 (N,): mean probability of the intended class by the cross-fitted classifiers
    supported: np.ndarray  # bool (N,): in the ball of a real image of its class
    copied: np.ndarray  # bool (N,): nearer to a training image than 99 % of those are to each other
    distance: np.ndarray  # float32 (N,): to the nearest training image, root mean square of pixels in [0, 1]
    classes: dict[int, dict[str, float]]  # for each class: counts of made, agreed, supported, copied, kept; variety
    real_recall: list[float]  # of each class, by classifiers that did not see the image: how good agreement is

    def refused(self) -> list[int]:
        """The classes whose images are too much alike."""
        return [label for label, counts in self.classes.items() if counts["variety"] < VARIETY]

    def usable(self, intended: np.ndarray) -> np.ndarray:
        """The rows of kept images whose classes are not refused: int64, ascending."""
        return np.flatnonzero(self.kept & ~np.isin(intended, self.refused()))

    def acceptance(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """The counts of each class as a row with its name."""
        return [{"class": names[label], **counts} for label, counts in self.classes.items()]


def pool_sizes(additions: np.ndarray) -> np.ndarray:
    """How many images to make of each class, so that enough of them pass.

    Args:
        additions: how many images each class gets, int64 (K,); a class that gets none needs none.
    """
    return np.where(additions > 0, np.maximum(POOL * additions, LEAST), 0)


def select(
    made: np.ndarray, intended: np.ndarray, reals: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0
) -> Selection:
    """Judge generated images by the real images of their class.

    Args:
        made, intended: uint8 (N, C, H, W), and the classes that they were made for, int64 (N,).
        reals, labels: the images that the generator was trained on, more than `NEIGHBOURS` of each intended class.
        classes: how many there are.
        seed: draws the folds.
    """
    extractor = efficientnet(FEATURE_SIZE)
    features, real_features = extractor(made), extractor.cached(reals)
    agreement, agreed, recall = _agreement(features, intended, real_features, labels, classes, seed)
    copied, distance = _copied(made, features, reals, real_features, seed)
    supported = np.zeros(len(made), bool)
    for label in np.unique(intended).tolist():
        own = np.flatnonzero(intended == label)
        supported[own] = _inside(features[own], real_features[labels == label])
    kept = agreed & supported & ~copied
    flags = {"agreed": agreed, "supported": supported, "copied": copied, "kept": kept}
    counts = {}
    for label in np.unique(intended).tolist():
        is_own = intended == label
        counts[label] = {
            "made": float(np.count_nonzero(is_own)),
            **{name: float(np.count_nonzero(is_own & flag)) for name, flag in flags.items()},
            "variety": _variety(features[is_own & kept], real_features[labels == label]),
        }
    return Selection(kept, agreement, supported, copied, distance, counts, recall)


def _agreement(
    features: Tensor, intended: np.ndarray, real_features: Tensor, labels: np.ndarray, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """How far classifiers that were fitted on folds of the real images agree with the intended class.

    Returns:
        The mean probability of the intended class, float32 (N,); whether that is enough, bool (N,); and the recall of
        each class on the real images that a classifier did not see.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probabilities, real = np.zeros((len(features), classes)), np.zeros((len(labels), classes))
    x = real_features.numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class has fewer images than there are folds
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
    """Whether each image copies a real one, and its distance to the nearest.

    An image is a copy in pixels, over shifts and mirror images, or in features.
    """
    bank, some = pixel_bank(reals), torch.from_numpy(drawn(np.arange(len(reals)), MEASURED, seed))
    distance = nearest_in_pixels(made, bank)[0]
    _, limit = copy_share(distance, nearest_in_pixels(reals[some.numpy()], bank, some)[0])
    feature_distance = nearest(features, real_features)[0]
    _, feature_limit = copy_share(feature_distance, nearest(real_features[some], real_features, some)[0])
    return ((distance < limit) | (feature_distance < feature_limit)).numpy(), distance.numpy()


def _inside(features: Tensor, real_features: Tensor) -> np.ndarray:
    """Whether each image lies in the ball of a real image, bool (N,)."""
    padded = torch.cat([features, features[:1].expand(NEIGHBOURS, -1)])  # `manifold` needs more than a few images
    return manifold(padded, real_features, k_precision=NEIGHBOURS).precise.numpy()[: len(features)]


def _variety(features: Tensor, real_features: Tensor) -> float:
    """The variance over all features, as a share of that of the real images."""
    if len(features) < 2:
        return 0.0
    return float(features.var(0).sum() / real_features.var(0).sum().clamp(min=1e-12))
