"""`ganfold probe`: what a discriminator has learnt, by a linear classifier on its features (Radford 2015, sec. 5.1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganfold
from ganfold import data as ganfold_data
from ganfold.data import ImageSet, drawn
from ganfold.errors import GanfoldError
from ganfold.files import write_json
from ganfold.gans.contract import GAN
from ganfold.metrics.features import efficientnet
from ganfold.runs.run import Run, build

SIDE = 4  # of the grid that each layer's map is pooled to
POOL, TEST = 2_000, 1_000  # images at most that labels are drawn from, and that are classified
COSTS = (1e-5, 1e-4, 1e-3, 1e-2)  # C of the SVM that cross-validation chooses from
FOLDS = 3
NEIGHBOURS = 5
COMPONENTS = 64  # of PCA
NETWORK_SIZE = 112  # pixels a side that the ImageNet network is shown: a quarter of the work of its own 224


@dataclass(frozen=True)
class Row:
    """One representation: balanced accuracy by the number of labels, its mean and deviation over draws of labels."""

    name: str
    accuracy: list[float]  # for each count of labels, 0 to 1
    deviation: list[float]


@dataclass(frozen=True)
class Probe:
    """What `probe` found."""

    rows: list[Row]  # the trained discriminator's first
    labels: list[int]  # a class, for each column
    protocol: dict[str, Any]

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def lines(self) -> list[str]:
        """The table for the console."""
        width = max(len(row.name) for row in self.rows)
        lines = [" " * width + "".join(f"  {f'{count} a class':>16}" for count in self.labels)]
        for row in self.rows:
            cells = (f"{100 * a:.1f} ± {100 * d:.1f} %" for a, d in zip(row.accuracy, row.deviation, strict=True))
            lines.append(row.name.ljust(width) + "".join(f"  {cell:>16}" for cell in cells))
        return [*lines, "", "Protocol: " + "; ".join(f"{name} {value}" for name, value in self.protocol.items())]


def probe(
    run: str | Path | Run,
    data: str | Path | None = None,
    *,
    labels: tuple[int, ...] = (10, 50, 100),
    draws: int = 3,
    seed: int = 0,
    checkpoint: str = "best",
    out: str | Path | None = None,
    progress: bool = True,
) -> Probe:
    """Classify images by a linear SVM on the features of a run's discriminator, from few labels.

    The features: what every layer of D gives after its nonlinearity, maps max-pooled to 4 x 4, joined (Radford 2015,
    arXiv:1511.06434, sec. 5.1). Beside them the same SVM on the features of the same D untrained, on pixels, on their
    principal components and on the features of a network that was trained on ImageNet's labels; and the nearest
    neighbours by D's features and by pixels. Labels are drawn from the training images, held-out images are classified.

    Args:
        run: a run folder, or a run that is loaded.
        data: labelled images [those of the run].
        labels: how many labels of each class to learn from.
        draws: how often they are drawn.
        seed: which are drawn.
        checkpoint: "best" or "last", of a run folder.
        out: where to write the JSON [RUN/probe.json].
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: no run, no labels, too few images of a class, or a discriminator that is told the label or sees
            more than an image.
    """
    run = run if isinstance(run, Run) else Run(run, checkpoint)
    if not labels or min(labels) < FOLDS or draws < 1:
        raise GanfoldError(f"--labels must be {FOLDS} or more each, and --draws 1 or more")
    _discriminator(run)  # refuses first
    images = _labelled(run, data, max(labels), progress)
    assert images.labels is not None
    pool = _balanced(images.labels, images.train, POOL // len(images.classes), seed)
    test = drawn(images.held_out, TEST, seed)
    shown = [np.ascontiguousarray(images.images[part]) for part in (pool, test)]
    answers = [images.labels[part] for part in (pool, test)]
    untrained = build(run.config).eval()
    _take_statistics(_discriminator(run, untrained), _scaled(shown[0][:512]))
    looks: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "this D": lambda part: features_of(_discriminator(run), part),
        "the same D untrained": lambda part: features_of(_discriminator(run, untrained), part),
        "pixels": lambda part: part.reshape(len(part), -1).astype(np.float32),
        "an ImageNet network": lambda part: efficientnet(NETWORK_SIZE).cached(part).numpy(),
    }
    found = {name: [look(part) for part in shown] for name, look in looks.items()}
    found["principal components of pixels"] = _principal(*found["pixels"])
    chosen = [[_balanced(answers[0], None, count, seed + draw) for draw in range(draws)] for count in labels]
    rows = [_row(name, found[name], answers, chosen, _svm) for name in found]
    rows += [
        _row(f"{name}, {NEIGHBOURS} nearest neighbours", found[name], answers, chosen, _neighbours)
        for name in ("this D", "pixels")
    ]
    protocol = {
        "images": images.source,
        "fingerprint": images.fingerprint,
        "classes": len(images.classes),
        "labels drawn from": f"{len(pool)} training images",
        "classified": f"{len(test)} held-out images",
        "measure": "balanced accuracy, mean and standard deviation over draws of the labels",
        "draws": draws,
        "seed": seed,
        "classifier": f"linear SVM, squared hinge loss, standardised features, C of {COSTS} by {FOLDS}-fold "
        "cross-validation on the first draw",
        "features of D": int(found["this D"][0].shape[1]),
        "checkpoint": run.checkpoint,
        "ganfold": ganfold.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    result = Probe(rows, list(labels), protocol)
    write_json(Path(out) if out else run.path / "probe.json", asdict(result))
    return result


def features_of(discriminator: nn.Module, images: np.ndarray) -> np.ndarray:
    """What each layer gives after its nonlinearity, float32 (N, D), of uint8 images (N, C, H, W).

    Maps are max-pooled to 4 x 4; layers without places are taken as they are.
    """
    parts: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        pooled = F.adaptive_max_pool2d(output, SIDE) if output.ndim == 4 else output
        parts.append(pooled.flatten(1).clone())

    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.LeakyReLU | nn.ReLU | nn.PReLU)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    rows = []
    try:
        with torch.inference_mode():
            for start in range(0, len(images), 256):
                parts.clear()
                discriminator(_scaled(images[start : start + 256]))
                rows.append(torch.cat(parts, 1).numpy())
    finally:
        for handle in handles:
            handle.remove()
    return np.concatenate(rows)


def _discriminator(run: Run, gan: GAN | None = None) -> nn.Module:
    """The part of D that sees images and nothing else; of another GAN of the same kind, if one is given."""
    whole = getattr(gan or run.gan, "D", None)
    part = getattr(whole, "trunk", whole)
    first = next((m for m in part.modules() if isinstance(m, nn.Conv2d | nn.Linear)), None) if part else None
    shape = run.gan.shape
    sees = {shape.channels, 4 * shape.channels, shape.channels * shape.resolution**2}  # channels, of 2 x 2, all pixels
    taken = getattr(first, "in_channels", getattr(first, "in_features", 0))
    if not isinstance(part, nn.Sequential) or taken not in sees:
        raise GanfoldError(
            f"{run.path} is a {run.config['gan']}: it has no discriminator that judges an image by itself, so its "
            "features would hold more than the image"
        )
    return part


def _take_statistics(network: nn.Module, images: Tensor) -> None:
    """Let every BatchNorm hold the statistics of these images: without training they would be none."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0  # those of one batch
        norm.train()
    with torch.inference_mode():
        network(images)
    for norm in norms:
        norm.eval()


def _labelled(run: Run, source: str | Path | None, most: int, progress: bool) -> ImageSet:
    """The images, if there are labels enough."""
    about, fit = run.config["data"], run.config["settings"]["fit"]
    images = (
        run.images(progress)
        if source is None
        else ganfold_data.load(
            source, resolution=about["resolution"], channels=about["channels"], fit=fit, progress=progress
        )
    )
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
            "asked for: give fewer by --labels"
        )
    missing = set(range(len(images.classes))) - set(images.labels[images.held_out].tolist())
    if missing:
        raise GanfoldError(
            f"{images.source} holds out no image of {images.classes[min(missing)]} to classify: it needs more images"
        )
    return images


def _balanced(labels: np.ndarray, among: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """So many images of each class at most, drawn by the seed, in ascending order."""
    order = np.random.default_rng(seed).permutation(np.arange(len(labels)) if among is None else among)
    return np.sort(np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)]))


def _principal(train: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
    from sklearn.decomposition import PCA

    pca = PCA(min(COMPONENTS, *train.shape), random_state=0).fit(train)
    return [pca.transform(train), pca.transform(test)]


def _row(
    name: str,
    features: list[np.ndarray],
    answers: list[np.ndarray],
    chosen: list[list[np.ndarray]],
    choose: Callable[[np.ndarray, np.ndarray], Any],
) -> Row:
    """`choose`: from images and answers of the first draw, the classifier that is then fitted to each draw."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import balanced_accuracy_score

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a C that cross-validation passes over
        for draws in chosen:
            views = [_standardised(features[0][rows], features[1]) for rows in draws]
            model = choose(views[0][0], answers[0][draws[0]])
            said = [model.fit(x, answers[0][r]).predict(test) for (x, test), r in zip(views, draws, strict=True)]
            found.append([balanced_accuracy_score(answers[1], answer) for answer in said])
    return Row(name, [float(np.mean(f)) for f in found], [float(np.std(f, ddof=len(f) > 1)) for f in found])


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each feature with mean 0 and deviation 1 over the training rows, in the space that these span: a linear SVM's
    weights lie there anyway, and it has fewer dimensions."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rotation = make_pipeline(StandardScaler(), PCA(random_state=0)).fit(train)
    return rotation.transform(train), rotation.transform(test)


def _svm(train: np.ndarray, answers: np.ndarray) -> Any:
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    search = GridSearchCV(LinearSVC(dual=True, max_iter=200, random_state=0), {"C": COSTS}, cv=FOLDS, refit=False)
    return search.estimator.set_params(**search.fit(train, answers).best_params_)


def _neighbours(train: np.ndarray, answers: np.ndarray) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(NEIGHBOURS)


def _scaled(images: np.ndarray) -> Tensor:
    """uint8 images as D sees them: float32 in [-1, 1]."""
    return torch.from_numpy(np.array(images)).float() / 127.5 - 1
