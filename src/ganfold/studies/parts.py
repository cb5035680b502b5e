"""What is split from what before anything is trained, and how many images a class may be given."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from ganfold import data as ganfold_data
from ganfold.data import Fit, ImageSet
from ganfold.data.sources.tree import PARTS
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.metrics.memorisation import pixel_bank
from ganfold.verbs.plan import choose_resolution

FLOOR = 20  # real images that a class needs: between 20 and 50 lies the border between harm and none (arXiv:2603.16134)
NEAR = 0.02  # root mean square of pixel values in [0, 1]: what is nearer is one picture twice
EVEN = 0.8  # of the largest class: a class that has as many counts as balanced
BLOCK = 2048


def labelled(
    source: str | Path,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    progress: bool = True,
) -> ImageSet:
    """The images, all of them in `train`, with their classes.

    Raises:
        GanfoldError: no classes, one class only, or classes by two rules at once.
    """
    if resolution is None:
        resolution = choose_resolution("cpu", None, ganfold_data.native(source, progress=progress))[0]
    images = ganfold_data.load(source, resolution=resolution, channels=channels, fit=fit, held_out=0, progress=progress)
    if images.labels is None:
        raise GanfoldError(
            f"{images.source} has one class only, or none: a classifier needs two, so give each class a sub-folder, or "
            "metadata.csv a column `label`"
        )
    _refuse_two_rules(images)
    return images


def _refuse_two_rules(images: ImageSet) -> None:
    assert images.labels is not None
    for name, label in zip(images.names, images.labels.tolist(), strict=True):
        said = images.classes[label]
        folders = [part for part in PurePosixPath(name).parts[:-1] if part in images.classes and part not in PARTS]
        if folders and said not in folders:
            raise GanfoldError(
                f"{images.source} says by two rules at once what is what: {name} lies in {folders[-1]} and its "
                f"metadata says {said}; take the column `label` out of the metadata, or put the file where it belongs"
            )


def groups(images: ImageSet, column: str | None = None) -> np.ndarray:
    """A number for each image, int64 (N,), the same where they must not be parted: near-copies of each other (mirrored
    ones too), and all with one value in a column of the metadata."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(images)
    links = [*_near(np.asarray(images.images))]
    if column is not None:
        known: dict[str, int] = {}
        for place in range(count):
            row = images.attributes[place] if images.attributes else {}
            if column not in row:
                raise GanfoldError(
                    f"--group {column}: the metadata of {images.names[place]} has no such column"
                    f"{did_you_mean(column, row)}"
                )
            links.append((place, known.setdefault(str(row[column]), place)))
    ends = np.array(links, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    found: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _near(images: np.ndarray) -> list[tuple[int, int]]:
    links: list[tuple[int, int]] = []
    banks = [pixel_bank(images), pixel_bank(images[..., ::-1])]
    for mirrored, bank in enumerate(banks):
        for i in range(0, len(images), BLOCK):
            for j in range(i, len(images), BLOCK):
                exact = "donot_use_mm_for_euclid_dist" if len(images) < 500 else "use_mm_for_euclid_dist"
                near = torch.cdist(bank[i : i + BLOCK], banks[0][j : j + BLOCK], compute_mode=exact) < NEAR
                pairs = near.nonzero() + torch.tensor([i, j])
                links += [(a, b) for a, b in pairs.tolist() if a < b or (mirrored and a > b)]
    return links


def split(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of about `share` of the images, each class by its share and each group whole, drawn by the seed; and
    those of the others before them: int64, ascending."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class with fewer images than folds
        rest, part = next(folds.split(labels, labels, groups))
    return rest, part


def target(counts: np.ndarray, factor: float | None) -> np.ndarray:
    """How many images, real and generated, each class may come to: as many as the largest has, or `factor` times its
    own; where classes are balanced and nobody says, twice its own."""
    if factor is None and counts.min() >= EVEN * counts.max():
        factor = 2.0
    if factor is None:
        return np.where(counts < EVEN * counts.max(), counts.max(), counts)
    return np.round(counts * factor).astype(np.int64)


def additions(counts: np.ndarray, ratio: float, factor: float | None) -> np.ndarray:
    """How many generated images each class gets at so many for each real one, int64 (K,)."""
    room = (target(counts, factor) - counts).clip(0)
    return np.minimum(np.round(counts * ratio).astype(np.int64), room)
