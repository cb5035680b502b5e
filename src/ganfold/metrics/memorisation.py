"""Memorisation: are samples nearer to the training images than new real images are?

A small distance alone says nothing, since real images resemble each other too. So each figure here sets the samples
beside real images that were held out of training, and treats both alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

QUANTILE = 0.01  # of the held-out distances: what is nearer than this is called a near-copy
SIDE = 14  # px to which views are averaged: with margins of a 16th, 2, 4, 8 whole px at 32, 64, 128
ROWS, COLUMNS = 1024, 8192  # queries and bank images whose distances are in memory at once
COMPONENTS = 64  # of the PCA before C_T (Meehan 2020, section 5.1)
CELL = 50  # held-out images a cell that C_T aims at
CELL_LEAST = 20  # held-out images and samples: below it a cell's normal approximation is poor, and it is left out


def nearest(queries: Tensor, bank: Tensor, skip: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The nearest bank row of each query.

    Args:
        queries: float32 (N, D).
        bank: float32 (M, D) on the same device; M of 1 or more, 2 with `skip`.
        skip: int64 (N,), for each query a bank row that does not count: itself.

    Returns:
        Euclidean distances, float32 (N,), exactly 0 for equal rows; and the rows' numbers, int64 (N,).
    """
    # |q - b|^2 = |q|^2 - 2 qb + |b|^2 loses digits far from the origin: so all is centred, and the distance to the
    # row that is found is taken anew, by difference
    mean = bank.mean(0)
    index = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    distance = torch.empty(len(queries), device=queries.device)
    for begin in range(0, len(queries), ROWS):
        rows = queries[begin : begin + ROWS] - mean
        least = torch.full((len(rows),), torch.inf, device=rows.device)
        found = index[begin : begin + ROWS]
        for first in range(0, len(bank), COLUMNS):
            columns = bank[first : first + COLUMNS] - mean
            gap = torch.addmm(columns.square().sum(1), rows, columns.T, alpha=-2)  # |q|^2 is the same for all
            if skip is not None:
                own = skip[begin : begin + ROWS].to(gap.device) - first
                here = ((own >= 0) & (own < len(columns))).nonzero().flatten()
                gap[here, own[here]] = torch.inf
            value, column = gap.min(1)
            nearer = value < least
            least[nearer], found[nearer] = value[nearer], column[nearer] + first
        distance[begin : begin + ROWS] = (queries[begin : begin + ROWS] - bank[found]).norm(dim=1)
    return distance, index


def nearest_in_pixels(images: np.ndarray, bank: Tensor, skip: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The training image that is nearest to any of an image's `pixel_views`.

    Shifts between those of the views are tried too, by halving the step, but only against the image found.

    Args:
        images: uint8 (N, C, H, H).
        bank: `pixel_bank` of the training images, on any device.
        skip: as in `nearest`.

    Returns:
        As `nearest`: distances and numbers; and whether the mirrored image it was that is nearest, bool (N,).
    """
    places = _places(images.shape[-1])
    which = torch.zeros(len(images), dtype=torch.int64)
    distance = torch.full((len(images),), torch.inf)
    index = which.clone()
    for number, view in enumerate(pixel_views(images)):
        far, row = (found.cpu() for found in nearest(view.to(bank.device), bank, skip))
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
    """Each image as it is found though it was shifted or mirrored: up to 50 crops, every other one mirrored.

    Args:
        images: uint8 (N, C, H, H), C of 1, 3 or 4; transparency is laid on white.

    Yields:
        float32 (N, D): crops that leave out a 16th of the side on average at each edge, shifted by up to as much,
        averaged to at most 14 x 14, and scaled so that their Euclidean distance is the root mean square difference
        of pixel values in [0, 1].
    """
    for top, left, mirrored in _places(images.shape[-1]):
        if not mirrored:
            crop = _averaged(images, top, left)
        yield _flat(crop.flip(-1) if mirrored else crop)


def pixel_bank(images: np.ndarray) -> Tensor:
    """What `pixel_views` are compared with: the middle crop of each image, float32 (N, D)."""
    margin = _margin(images.shape[-1])
    return _flat(_averaged(images, margin, margin))


def copy_share(samples: Tensor, held_out: Tensor) -> tuple[float, float]:
    """Share of samples that lie strictly nearer to a training image than the 1 % quantile of new real images.

    It compares with the held-out images' mix: samples that are mostly of a kind whose real images lie close together
    raise the share without any copying.

    Args:
        samples, held_out: their distances to the nearest training image, float (N,) and (n,), n of 1 or more.

    Returns:
        The share, 0 to 1; and the quantile: the lower of the two distances that it falls between, so that no more
        than 1 % of the held-out images are themselves below it; under 102 images the smallest distance.
    """
    threshold = held_out.double().quantile(QUANTILE, interpolation="lower").item()
    return (samples.double() < threshold).double().mean().item(), threshold


def authenticity(samples: Tensor, train: Tensor) -> float:
    """Share of authentic samples: further from their nearest training image than that is from its own nearest.

    Alaa 2022 (arXiv:2102.08921), section 3.3, with the estimator of its appendix that Stein 2023 (arXiv:2306.04675)
    calls AuthPct.

    Args:
        samples, train: features, float32 (N, D) and (M, D); M of 2 or more.

    Returns:
        0 (each sample is a copy by this measure) to 1. What real images score depends on the data: never read it alone.
    """
    distance, index = nearest(samples, train)
    own, back = torch.unique(index, return_inverse=True)
    between, _ = nearest(train[own], train, skip=own)
    return (distance > between[back]).double().mean().item()


def c_t(samples: Tensor, held_out: Tensor, train: Tensor, seed: int = 0) -> float | None:
    """Do samples lie nearer to the training images than held-out images do, over all? In standard deviations.

    Meehan, Chaudhuri, Dasgupta 2020 (arXiv:2004.05675), C_T: in each cell of a k-means of the training images, the
    Mann-Whitney statistic of both sets' distances to the cell's training images, as a z-score; averaged by the
    held-out images' share of each cell. Before it a PCA to 64 dimensions.

    Args:
        samples, held_out, train: features, float32 (N, D), (n, D) and (M, D).
        seed: of k-means.

    Returns:
        Far below 0: copying. About 0: as near as new real images. Far above 0: under-fitting. None where no cell
        holds 20 of both.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

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
    """Top and left of each view's crop, and 1 where it is mirrored."""
    corners = [_margin(side) + shift for shift in _shifts(side)]
    return list(product(corners, corners, (0, 1)))


def _averaged(images: np.ndarray, top: int, left: int) -> Tensor:
    """The crop with this corner, float32 (N, C, S, S) in [0, 1]."""
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
