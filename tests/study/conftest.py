"""A small set with classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blobs import blobs


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60, 60 and 30 images of three classes."""
    images, labels = blobs((60, 60, 30))
    path = tmp_path_factory.mktemp("coloured") / "coloured.npz"
    np.savez(path, images=images, labels=labels, classes=["red", "green", "blue"])
    return path
