"""How near each image is to the one that it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ganfold.metrics.features import Extractor

LUMA = np.array([65.481, 128.553, 24.966]) / 255  # ITU-R BT.601: Y of RGB in [0, 255] as papers on super-resolution
BLACK = 16.0  # ... compute it; Y reaches from 16 to 235


@dataclass(frozen=True)
class TaskMetric:
    """One metric of a GAN's task: the run's own value beside those that it has to beat."""

    name: str
    better: Literal["lower", "higher"]
    values: dict[str, float]  # by name, the run's own first


def psnr(
    images: np.ndarray, targets: np.ndarray, *, luma: bool = False, border: int = 0, where: np.ndarray | None = None
) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, float (N,); infinite for equal images.

    Args:
        images, targets: uint8 (N, H, W, C).
        luma: compare the luminance Y (ITU-R BT.601) instead of all channels.
        border: pixels to leave out at each side.
        where: bool (N, H, W), the pixels to compare [all]; only without a border.
    """
    one, two = _prepared(images, luma, border), _prepared(targets, luma, border)
    error = ((one - two) ** 2).mean(3)
    error = error.mean((1, 2)) if where is None else (error * where).sum((1, 2)) / np.maximum(1, where.sum((1, 2)))
    with np.errstate(divide="ignore"):
        ratio: np.ndarray = 10 * np.log10(255.0**2 / error)
    return ratio


def ssim(images: np.ndarray, targets: np.ndarray, *, luma: bool = False, border: int = 0) -> np.ndarray:
    """Structural similarity (Wang et al. 2004), float (N,), at most 1, by scikit-image.

    Windows are Gaussian with a deviation of 1.5 pixels. Args as for `psnr`.
    """
    from skimage.metrics import structural_similarity

    one, two = _prepared(images, luma, border), _prepared(targets, luma, border)
    options: dict[str, Any] = {
        "data_range": 255.0,
        "channel_axis": 2,
        "gaussian_weights": True,
        "use_sample_covariance": False,
    }
    compare: Any = structural_similarity
    return np.array([compare(a, b, sigma=1.5, **options) for a, b in zip(one, two, strict=True)])


def l1(images: np.ndarray, targets: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute difference as a share of 255, float (N,).

    Args:
        images, targets: uint8 (N, H, W, C).
        where: bool (N, H, W), the pixels to compare [all].
    """
    error = np.abs(images.astype(np.float32) - targets).mean(3) / 255
    if where is None:
        return error.mean((1, 2))
    return (error * where).sum((1, 2)) / np.maximum(1, where.sum((1, 2)))


def feature_distance(images: np.ndarray, targets: np.ndarray, extractor: Extractor) -> np.ndarray:
    """1 minus the cosine of each image's features with those of its target, float (N,), 0 at best.

    Args:
        images, targets: uint8 (N, H, W, C).
        extractor: gives the features.
    """
    one = extractor(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).numpy()
    two = extractor.cached(np.ascontiguousarray(targets.transpose(0, 3, 1, 2))).numpy()
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    distances: np.ndarray = 1 - (one * two).sum(1) / lengths
    return distances


def _prepared(images: np.ndarray, luma: bool, border: int) -> np.ndarray:
    """Images without their border, float64 (N, H, W, C), or (N, H, W, 1) of the luminance."""
    inner = images[:, border : images.shape[1] - border, border : images.shape[2] - border].astype(np.float64)
    if luma and inner.shape[3] >= 3:
        return inner[..., :3] @ LUMA[:, None] + BLACK
    return inner
