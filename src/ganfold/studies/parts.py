"""How the images of a study are split before anything is trained, and how many generated images a class may get."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from ganfold import data
from ganfold.data import Fit, ImageSet
from ganfold.data.sources.tree import PARTS
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import write_atomically
from ganfold.metrics.memorisation import pixel_bank
from ganfold.training.rules import choose_resolution

FLOOR = 20  # real images that a class needs: with fewer than 20 to 50, generated ones do harm (arXiv:2603.16134)
NEAR = 0.02  # root mean square of pixel values in [0, 1]: two images nearer than this are near-copies
EVEN = 0.8  # of the largest class: a class with this many images counts as balanced
BLOCK = 2048  # rows and columns of distances in memory at once


def load_labelled(
    source: str | Path,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    classes_from: int = 1,
    progress: bool = True,
) -> ImageSet:
    """Load images with their classes, all of them into `train`.

    Args:
        source: see `ganfold.data.load`.
        resolution: pixels a side [a power of two, at most 32].
        channels: 1, 3 or 4 [from the data].
        fit: how images that are not square become square.
        classes_from: the level of nested folders that are the classes.
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: there are no classes, there is one class only, or folders and metadata name different classes.
    """
    if resolution is None:
        resolution = choose_resolution("cpu", None, data.native(source, progress=progress))[0]
    images = data.load(
        source,
        resolution=resolution,
        channels=channels,
        fit=fit,
        held_out=0,
        classes_from=classes_from,
        progress=progress,
    )
    if images.labels is None:
        raise GanfoldError(
            f"{images.source} has one class only, or none: a classifier needs two, so give each class a sub-folder, or "
            "metadata.csv a column `label`"
        )
    _check_one_rule(images)
    return images


def _check_one_rule(images: ImageSet) -> None:
    assert images.labels is not None
    for name, label in zip(images.names, images.labels.tolist(), strict=True):
        named = images.classes[label]
        folders = [part for part in PurePosixPath(name).parts[:-1] if part in images.classes and part not in PARTS]
        if folders and named not in folders:
            raise GanfoldError(
                f"{images.source} says by two rules at once what is what: {name} lies in {folders[-1]} and its "
                f"metadata says {named}; take the column `label` out of the metadata, or put the file where it belongs"
            )


def group_images(images: ImageSet, column: str | None = None) -> np.ndarray:
    """Number the images so that those which must stay together have the same number.

    Near-copies stay together, also mirrored ones, and so do images with the same value in a column.

    Args:
        images: N images.
        column: of the metadata, such as the patient.

    Returns:
        int64 (N,).

    Raises:
        GanfoldError: the metadata of an image lacks the column.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(images)
    links = _near_pairs(np.asarray(images.images))
    if column is not None:
        links += _same_value_pairs(images, column)
    ends = np.array(links, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    groups: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _same_value_pairs(images: ImageSet, column: str) -> list[tuple[int, int]]:
    """Each image with the first one of the same value in a column."""
    pairs: list[tuple[int, int]] = []
    first: dict[str, int] = {}
    for number in range(len(images)):
        row = images.attributes[number] if images.attributes else {}
        if column not in row:
            raise GanfoldError(
                f"--group {column}: the metadata of {images.names[number]} has no such column"
                f"{did_you_mean(column, row)}"
            )
        pairs.append((number, first.setdefault(str(row[column]), number)))
    return pairs


def _near_pairs(images: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of near-copies, also mirrored ones, among images, uint8 (N, C, H, W)."""
    pairs: list[tuple[int, int]] = []
    banks = [pixel_bank(images), pixel_bank(images[..., ::-1])]
    for mirrored, bank in enumerate(banks):
        for i in range(0, len(images), BLOCK):
            for j in range(i, len(images), BLOCK):
                exact = "donot_use_mm_for_euclid_dist" if len(images) < 500 else "use_mm_for_euclid_dist"
                near = torch.cdist(bank[i : i + BLOCK], banks[0][j : j + BLOCK], compute_mode=exact) < NEAR
                places = near.nonzero() + torch.tensor([i, j])
                pairs += [(a, b) for a, b in places.tolist() if a < b or (mirrored and a > b)]
    return pairs


def split_by_group(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw about this share of the images from each class, and keep each group whole.

    Args:
        labels, groups: int64 (N,), the class of each image and its number of `group_images`.
        share: of the images, above 0 and at most 0.5.
        seed: of the draw.

    Returns:
        The rows of the other images and the rows that were drawn: int64, ascending.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class has fewer images than there are folds
        rest, part = next(folds.split(labels, labels, groups))
    return rest, part


def class_targets(counts: np.ndarray, factor: float | None) -> np.ndarray:
    """How many images, real and generated together, each class may have.

    Args:
        counts: real images of each class, int64 (K,).
        factor: for each real image. None: as many as the largest class has; 2 for each real one in balanced classes.

    Returns:
        int64 (K,).
    """
    if factor is None and counts.min() >= EVEN * counts.max():
        factor = 2.0
    if factor is None:
        return np.where(counts < EVEN * counts.max(), counts.max(), counts)
    return np.round(counts * factor).astype(np.int64)


def class_additions(counts: np.ndarray, ratio: float, factor: float | None) -> np.ndarray:
    """How many generated images each class gets, int64 (K,): `ratio` for each real one, up to `class_targets`."""
    room = (class_targets(counts, factor) - counts).clip(0)
    return np.minimum(np.round(counts * ratio).astype(np.int64), room)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an `.npz` file, whole or not at all."""

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    write_atomically(path, fill)
