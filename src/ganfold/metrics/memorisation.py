"""Memorisation: are samples nearer to the training images than new real images are?

A small distance alone says nothing, because real images resemble each other too. Each metric here therefore treats
samples and held-out real images in the same way and compares them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

QUANTILE = 0.01  # of the held-out distances: a nearer sample is called a near-copy
SIDE = 14  # pixels a side of an averaged view: with margins of a 16th, 2, 4 and 8 whole pixels of 32, 64 and 128
ROWS, COLUMNS = 1024, 8192  # queries and bank images in memory at once
COMPONENTS = 64  # of the PCA before C_T (Meehan 2020, section 5.1)
CELL = 50  # held-out images in a cell, the aim of C_T's k-means
CELL_LEAST = 20  # held-out images and samples in a cell: with fewer, the normal approximation is poor


def nearest(queries: Tensor, bank: Tensor, skip: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The nearest bank row of each query.

    Args:
        queries: float32 (N, D).
        bank: float32 (M, D) on the same device; M of 1 or more, 2 with `skip`.
        skip: int64 (N,), for each query the bank row to leave out, which is the query itself.

    Returns:
        Euclidean distances, float32 (N,), exactly 0 for equal rows, and the numbers of the rows, int64 (N,).
    """
    # |q - b|^2 = |q|^2 - 2 qb + |b|^2 loses digits far from the origin. Rows are therefore centred, and the distance
    # to the nearest row is computed once more from the difference.
    mean = bank.mean(0)
    index = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    distance = torch.empty(len(queries), device=queries.device)
    for begin in range(0, len(queries), ROWS):
        rows = queries[begin : begin + ROWS] - mean
        least = torch.full((len(rows),), torch.inf, device=rows.device)
        best = index[begin : begin + ROWS]
        for first in range(0, len(bank), COLUMNS):
            columns = bank[first : first + COLUMNS] - mean
            gap = torch.addmm(columns.square().sum(1), rows, columns.T, alpha=-2)  # |q|^2 is the same for all columns
            if skip is not None:
                own = skip[begin : begin + ROWS].to(gap.device) - first
                here = ((own >= 0) & (own < len(columns))).nonzero().flatten()
                gap[here, own[here]] = torch.inf
            value, column = gap.min(1)
            nearer = value < least
            least[nearer], best[nearer] = value[nearer], column[nearer] + first
        distance[begin : begin + ROWS] = (queries[begin : begin + ROWS] - bank[best]).norm(dim=1)
    return distance, index


def nearest_in_pixels(images: np.ndarray, bank: Tensor, skip: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The training image that is nearest to any of an image's `pixel_views`.

    Shifts between those of the views are then tried too, in steps of half the size, against that training image alone.

    Args:
        images: uint8 (N, C, H, H).
        bank: `pixel_bank` of the training images, on any device.
        skip: as in `nearest`.

    Returns:
        Distances and numbers as from `nearest`, and whether the mirrored image is the nearest, bool (N,).
    """
    places = _places(images.shape[-1])
    which = torch.zeros(len(images), dtype=torch.int64)
    distance = torch.full((len(images),), torch.inf)
    index = which.clone()
    for number, view in enumerate(pixel_views(images)):
        far, row = (part.cpu() for part in nearest(view.to(bank.device), bank, skip))
        nearer = far < distance
        distance[nearer], index[nearer], which[nearer] = far[nearer], row[nearer], number
    place, limit = torch.tensor(places)[which], 2 * _margin(images.shape[-1])
    step = max(b - a for a, b in pairwise(_shifts(images.shape[-1])))
    while step := step // 2:
        start = place.clone()
        for corner in torch.unique(start, dim=0):
            group = (start == corner).all(1).nonzero().flatten()
            target = bank[index[group].to(bank.device)].cpu()
            for move in product((-step, 0, step), repeat=2):
                top, left, mirrored = (corner + torch.tensor([*move, 0])).tolist()
                if 0 <= top <= limit and 0 <= left <= limit:
                    crop = _averaged(images[group.numpy()], top, left)
                    far = (_flat(crop.flip(-1) if mirrored else crop) - target).norm(dim=1)
                    nearer = far < distance[group]
                    distance[group[nearer]] = far[nearer]
                    place[group[nearer]] = torch.tensor([top, left, mirrored])
    return distance, index, place[:, 2] == 1


def pixel_views(images: np.ndarray) -> Iterator[Tensor]:
    """Up to 50 crops of each image, every other one mirrored, to find copies that were shifted or mirrored.

    Args:
        images: uint8 (N, C, H, H), C of 1, 3 or 4. Transparent images are laid on white.

    Yields:
        float32 (N, D). A crop leaves out a 16th of the side at each edge, on average, and is shifted by up to as much.
        It is averaged to at most 14 x 14 and scaled: the Euclidean distance of two crops is the root mean square
        difference of their pixel values in [0, 1].
    """
    for top, left, mirrored in _places(images.shape[-1]):
        if not mirrored:
            crop = _averaged(images, top, left)
        yield _flat(crop.flip(-1) if mirrored else crop)


def pixel_bank(images: np.ndarray) -> Tensor:
    """The middle crop of each image, float32 (N, D), to compare `pixel_views` with."""
    margin = _margin(images.shape[-1])
    return _flat(_averaged(images, margin, margin))


def copy_share(samples: Tensor, held_out: Tensor) -> tuple[float, float]:
    """Share of samples that lie strictly nearer to a training image than the 1 % quantile of new real images.

    If samples are mostly of one kind, and real images of that kind lie close together, the share rises without copying.

    Args:
        samples, held_out: distances to the nearest training image, float (N,) and (n,), n of 1 or more.

    Returns:
        The share, 0 to 1, and the quantile. The quantile is the lower of its two neighbouring distances, so at most 1 %
        of the held-out images are below it. With fewer than 102 held-out images it is the smallest distance.
    """
    threshold = held_out.double().quantile(QUANTILE, interpolation="lower").item()
    return (samples.double() < threshold).double().mean().item(), threshold


def authenticity(samples: Tensor, train: Tensor) -> float:
    """Share of authentic samples: those farther from their nearest training image than it is from its own nearest.

    Alaa et al. 2022 (arXiv:2102.08921), section 3.3, with the estimator of its appendix, called AuthPct by Stein et al.
    2023 (arXiv:2306.04675).

    Args:
        samples, train: features, float32 (N, D) and (M, D); M of 2 or more.

    Returns:
        0 (every sample is a copy) to 1. The score of real images depends on the data: never read it alone.
    """
    distance, index = nearest(samples, train)
    own, back = torch.unique(index, return_inverse=True)
    between, _ = nearest(train[own], train, skip=own)
    return (distance > between[back]).double().mean().item()


def c_t(samples: Tensor, held_out: Tensor, train: Tensor, seed: int = 0) -> float | None:
    """C_T: whether samples lie nearer to the training images than held-out images do, in standard deviations.

    Meehan, Chaudhuri, Dasgupta 2020 (arXiv:2004.05675). A PCA to 64 dimensions comes first, then a k-means of the
    training images. In each cell, the Mann-Whitney statistic compares both sets' distances to the cell's training
    images, as a z-score. C_T is the mean z-score, weighted by the number of held-out images in each cell.

    Args:
        samples, held_out, train: features, float32 (N, D), (n, D) and (M, D).
        seed: of k-means.

    Returns:
        Far below 0: copying. About 0: as near as new real images. Far above 0: under-fitting. None if no cell holds 20
        samples and 20 held-out images.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of images that are all alike: no variance, and fewer cells than requested
        pca = PCA(min(COMPONENTS, *train.shape), random_state=seed).fit(train.cpu().numpy())
        sets = [pca.transform(rows.cpu().numpy()).astype(np.float32) for rows in (samples, held_out, train)]
        cells = max(1, min(10, len(held_out) // CELL, len(train)))
        means = KMeans(cells, n_init=3, random_state=seed).fit(sets[-1])
    members = [means.predict(rows) for rows in sets]
    scores, weights = [], []
    for cell in range(cells):
        q, p, t = (torch.from_numpy(rows[own == cell]) for rows, own in zip(sets, members, strict=True))
        m, n = len(q), len(p)
        if min(m, n) < CELL_LEAST or not len(t):
            continue
        u = mannwhitneyu(nearest(q, t)[0].numpy(), nearest(p, t)[0].numpy()).statistic
        scores.append((u - m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5)
        weights.append(n)
    return float(np.average(scores, weights=weights)) if scores else None


def _margin(side: int) -> int:
    return max(1, round(side / 16))


def _shifts(side: int) -> list[int]:
    margin = _margin(side)
    return sorted({-margin, round(-margin / 2), 0, round(margin / 2), margin})


def _places(side: int) -> list[tuple[int, int, int]]:
    """Top and left of each view's crop, and 1 if it is mirrored."""
    corners = [_margin(side) + shift for shift in _shifts(side)]
    return list(product(corners, corners, (0, 1)))


def _averaged(images: np.ndarray, top: int, left: int) -> Tensor:
    """The averaged crop with this corner, float32 (N, C, S, S) in [0, 1]."""
    crop = images.shape[-1] - 2 * _margin(images.shape[-1])
    side = min(SIDE, crop)
    parts = [torch.empty(0, min(3, images.shape[1]), side, side)]
    for begin in range(0, len(images), 512):
        part = images[begin : begin + 512, :, top : top + crop, left : left + crop]
        pixels = torch.from_numpy(np.array(part)).float() / 255
        if pixels.shape[1] == 4:
            pixels = 1 - (1 - pixels[:, :3]) * pixels[:, 3:]
        parts.append(F.interpolate(pixels, (side, side), mode="area"))
    return torch.cat(parts)


def _flat(view: Tensor) -> Tensor:
    flat = view.flatten(1)
    return flat / flat.shape[1] ** 0.5
