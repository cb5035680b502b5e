"""Images in classes that a classifier can learn from few."""

from __future__ import annotations

import numpy as np


def blobs(counts: tuple[int, ...], seed: int = 0, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Uint8 (N, 3, S, S) and classes (N,): noise, somewhat brighter in one colour where the class says."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.integers(0, 150, (len(labels), 3, side, side))
    images[np.arange(len(labels)), labels % 3] += 50 + 20 * (labels[:, None, None] // 3)
    return images.astype(np.uint8), labels
