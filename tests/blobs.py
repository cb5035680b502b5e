"""Images in classes that a classifier learns from a few of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganfold.metrics.features import extractor


def blobs(counts: tuple[int, ...], seed: int = 0, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 3, S, S), and their classes, (N,): noise, brighter in a colour that depends on the class."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.integers(0, 150, (len(labels), 3, side, side))
    images[np.arange(len(labels)), labels % 3] += 50 + 20 * (labels[:, None, None] // 3)
    return images.astype(np.uint8), labels


def saved(path: Path, counts: tuple[int, ...]) -> Path:
    """Save this many images of each class, with the names of the classes."""
    images, labels = blobs(counts)
    np.savez(path, images=images, labels=labels, classes=["red", "green", "blue"])
    return path


def lenient(patch: pytest.MonkeyPatch) -> None:
    """Let all images pass the selection. A generator that has seen 50 to 200 images makes none that would pass."""

    def everything(features: Any, *_: Any) -> Any:
        return np.ones(len(features), np.float32), np.ones(len(features), bool), [1.0]

    def no_copies(made: np.ndarray, *_: Any) -> Any:
        return np.zeros(len(made), bool), np.ones(len(made), np.float32)

    patch.setattr("ganfold.studies.selection._agreement", everything)
    patch.setattr("ganfold.studies.selection._copied", no_copies)
    patch.setattr("ganfold.studies.selection.VARIETY", 0.0)
    patch.setattr("ganfold.studies.selection._inside", lambda made, _: np.ones(len(made), bool))
    patch.setattr("ganfold.studies.selection.efficientnet", lambda _: extractor("pixels"))
