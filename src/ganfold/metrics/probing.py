"""What a discriminator has learnt, by a linear classifier on its features.

Radford, Metz, Chintala 2015, arXiv:1511.06434, section 5.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold import data
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN
from ganfold.images.pixels import to_float
from ganfold.interface.result import Result, protocol_line, stamp
from ganfold.metrics.features import efficientnet
from ganfold.runs.run import Run, build, loaded

SIDE = 4  # each layer's map is pooled to a grid of this side
POOL, TEST = 2_000, 1_000  # most images that labels are drawn from, and most images to classify
COSTS = (1e-5, 1e-4, 1e-3, 1e-2)  # values of the SVM's C that cross-validation tries
FOLDS = 3
NEIGHBOURS = 5
COMPONENTS = 64  # of PCA
NETWORK_SIZE = 112  # pixels a side for the ImageNet network: a quarter of the work of its usual 224

Features = tuple[np.ndarray, np.ndarray]  # (N, D) of the pool and (M, D) of the images to classify
Choose = Callable[[np.ndarray, np.ndarray], Any]  # features and labels of the first draw -> an unfitted classifier


@dataclass(frozen=True)
class ProbeRow:
    """The balanced accuracy on one representation, for each number of labels."""

    name: str
    accuracy: list[float]  # 0 to 1, the mean over draws of the labels
    deviation: list[float]  # its standard deviation over these draws


@dataclass(frozen=True, repr=False)
class Probe(Result):
    """How well a classifier does on a discriminator's features, and on others."""

    rows: list[ProbeRow]  # the trained discriminator's first
    labels: list[int]  # labels of each class, one number for each column
    protocol: dict[str, Any]

    def __repr__(self) -> str:
        first = self.rows[0]
        return f"<Probe: {first.name} {100 * first.accuracy[-1]:.1f} % right from {self.labels[-1]} labels a class>"

    def __getitem__(self, name: str) -> ProbeRow:
        """The row of this name, such as "this D".

        Raises:
            GanfoldError: there is none.
        """
        by_name = {row.name: row for row in self.rows}
        if name not in by_name:
            raise GanfoldError(f"there is no row {name!r} (there are {', '.join(by_name)})")
        return by_name[name]

    def lines(self) -> list[str]:
        """The table and the protocol."""
        width = max(len(row.name) for row in self.rows)
        lines = [" " * width + "".join(f"  {f'{count} a class':>16}" for count in self.labels)]
        for row in self.rows:
            cells = (f"{100 * a:.1f} ± {100 * d:.1f} %" for a, d in zip(row.accuracy, row.deviation, strict=True))
            lines.append(row.name.ljust(width) + "".join(f"  {cell:>16}" for cell in cells))
        return [*lines, "", protocol_line(self.protocol)]


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, C, H, W) and labels int64 (N,): some to learn from, and some to classify."""

    pool: np.ndarray
    pool_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def image_network(run: Run, gan: GAN | None = None) -> nn.Module:
    """The network of a run's GAN that sees an image and nothing else; of `gan`, if one of the same kind is given.

    Raises:
        GanfoldError: the GAN has no such network.
    """
    gan = gan or run.gan
    if gan.image_network is None:
        raise GanfoldError(
            f"{run.path} is a {run.record.gan}: it has no discriminator that judges an image by itself, so its "
            "features would hold more than the image"
        )
    return gan.get_submodule(gan.image_network)


def labelled_images(run: Run, source: str | Path | None, most: int, progress: bool) -> ImageSet:
    """The images to probe with: those of the run, or of another source.

    Args:
        run: decides the size and the channels.
        source: labelled images; None: those of the run.
        most: labels of each class that will be needed.
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: the images have no classes, a class has too few training images, or none is held out of a class.
    """
    images = run.images(progress) if source is None else _own_or_others(run, source, progress)
    if images.labels is None:
        raise GanfoldError(
            f"{images.source} has no classes to tell apart: give --data images with a sub-folder for each class, or "
            "metadata.csv a column `label`"
        )
    counts = np.bincount(images.labels[images.train], minlength=len(images.classes))
    if counts.min() < most:
        few = int(counts.argmin())
        raise GanfoldError(
            f"{images.source} has {counts[few]} training images of {images.classes[few]}, fewer than the {most} labels "
            "requested: give fewer by --labels"
        )
    missing = set(range(len(images.classes))) - set(images.labels[images.held_out].tolist())
    if missing:
        raise GanfoldError(
            f"{images.source} holds out no image of {images.classes[min(missing)]} to classify: it needs more images"
        )
    return images


def _own_or_others(run: Run, source: str | Path, progress: bool) -> ImageSet:
    """The images of a run, with what it held out, if these are they at a new place; else these as they are."""
    try:
        return loaded(run, data=source).images(progress)
    except GanfoldError:
        return run.prepared_like(source, progress, classes_from=run.record.settings.classes_from)


def split_of(images: ImageSet, seed: int) -> Split:
    """Training images to draw labels from, balanced over the classes, and held-out images to classify."""
    assert images.labels is not None
    pool = _balanced(images.labels, images.train, POOL // len(images.classes), seed)
    test = data.drawn(images.held_out, TEST, seed)
    learnt, classified = (np.ascontiguousarray(images.images[part]) for part in (pool, test))
    return Split(learnt, images.labels[pool], classified, images.labels[test])


def representations(run: Run, split: Split) -> dict[str, Features]:
    """The features to compare, by name: the discriminator's, its untrained twin's, and those that need no GAN."""
    trained, untrained = image_network(run), image_network(run, build(run.record, run.gan_class).eval())
    _take_statistics(untrained, to_float(split.pool[:512]))
    extractors: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "this D": lambda images: features_of(trained, images),
        "the same D untrained": lambda images: features_of(untrained, images),
        "pixels": lambda images: images.reshape(len(images), -1).astype(np.float32),
        "an ImageNet network": lambda images: efficientnet(NETWORK_SIZE).cached(images).numpy(),
    }
    features = {name: (extract(split.pool), extract(split.test)) for name, extract in extractors.items()}
    return features | {"principal components of pixels": _principal(*features["pixels"])}


def classify(
    features: dict[str, Features], split: Split, labels: tuple[int, ...], draws: int, seed: int
) -> list[ProbeRow]:
    """The accuracy of a linear SVM on each representation, and of nearest neighbours on two of them.

    Args:
        features: the representations, by name.
        split: their images and labels.
        labels: labels of each class to learn from.
        draws: number of draws for each of these numbers.
        seed: of the first draw; each further one adds 1.
    """
    chosen = [[_balanced(split.pool_labels, None, count, seed + draw) for draw in range(draws)] for count in labels]
    rows = [_row(name, both, split, chosen, _svm) for name, both in features.items()]
    return rows + [
        _row(f"{name}, {NEIGHBOURS} nearest neighbours", features[name], split, chosen, _neighbours)
        for name in ("this D", "pixels")
    ]


def protocol_of(run: Run, images: ImageSet, split: Split, width: int, draws: int, seed: int) -> dict[str, Any]:
    """All that one must know to compare a probe with another; `width` is the number of the discriminator's features."""
    return {
        "images": images.source,
        "fingerprint": images.fingerprint,
        "classes": len(images.classes),
        "labels drawn from": f"{len(split.pool)} training images",
        "classified": f"{len(split.test)} held-out images",
        "measure": "balanced accuracy, mean and standard deviation over draws of the labels",
        "draws": draws,
        "seed": seed,
        "classifier": f"linear SVM, squared hinge loss, standardised features, C of {COSTS} by {FOLDS}-fold "
        "cross-validation on the first draw",
        "features of D": width,
        "checkpoint": run.checkpoint,
        **stamp(),
    }


def features_of(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """The outputs of all nonlinearities of a network, joined: float32 (N, D).

    Maps are max-pooled to 4 x 4. Outputs without places are taken as they are.

    Args:
        network: takes images in [-1, 1], float32 (B, C, H, W).
        images: uint8 (N, C, H, W).
    """
    parts: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        pooled = F.adaptive_max_pool2d(output, SIDE) if output.ndim == 4 else output
        parts.append(pooled.flatten(1).clone())

    layers = [layer for layer in network.modules() if isinstance(layer, nn.LeakyReLU | nn.ReLU | nn.PReLU)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    rows = []
    try:
        with torch.inference_mode():
            for start in range(0, len(images), 256):
                parts.clear()
                network(to_float(images[start : start + 256]))
                rows.append(torch.cat(parts, 1).numpy())
    finally:
        for handle in handles:
            handle.remove()
    return np.concatenate(rows)


def _take_statistics(network: nn.Module, images: Tensor) -> None:
    """Give every BatchNorm the statistics of these images: an untrained network has none."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0  # the statistics become those of one batch
        norm.train()
    with torch.inference_mode():
        network(images)
    for norm in norms:
        norm.eval()


def _balanced(labels: np.ndarray, among: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """At most `count` images of each class, drawn by the seed, in ascending order."""
    order = np.random.default_rng(seed).permutation(np.arange(len(labels)) if among is None else among)
    return np.sort(np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)]))


def _principal(train: np.ndarray, test: np.ndarray) -> Features:
    from sklearn.decomposition import PCA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of images that are all alike
        pca = PCA(min(COMPONENTS, *train.shape), random_state=0).fit(train)
    return pca.transform(train), pca.transform(test)


def _row(name: str, features: Features, split: Split, chosen: list[list[np.ndarray]], choose: Choose) -> ProbeRow:
    """The accuracy for each number of labels. `choose` sees the first draw; its classifier is fitted to every draw."""
    from sklearn.metrics import balanced_accuracy_score

    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a C that cross-validation rejects, and of features that never vary
        for draws in chosen:
            views = [_standardised(features[0][rows], features[1]) for rows in draws]
            labels = [split.pool_labels[rows] for rows in draws]
            model = choose(views[0][0], labels[0])
            guesses = [model.fit(x, y).predict(test) for (x, test), y in zip(views, labels, strict=True)]
            scores.append([balanced_accuracy_score(split.test_labels, guess) for guess in guesses])
    return ProbeRow(name, [float(np.mean(s)) for s in scores], [float(np.std(s, ddof=len(s) > 1)) for s in scores])


def _standardised(train: np.ndarray, test: np.ndarray) -> Features:
    """Features of mean 0 and deviation 1 over the training rows, rotated into the space that these rows span.

    The weights of a linear SVM lie in that space, which has fewer dimensions.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rotation = make_pipeline(StandardScaler(), PCA(random_state=0)).fit(train)
    return rotation.transform(train), rotation.transform(test)


def _svm(train: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    search = GridSearchCV(LinearSVC(dual=True, max_iter=200, random_state=0), {"C": COSTS}, cv=FOLDS, refit=False)
    return search.estimator.set_params(**search.fit(train, labels).best_params_)


def _neighbours(train: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(NEIGHBOURS)
