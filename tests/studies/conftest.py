"""A small set with classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from blobs import saved


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60, 60 and 30 images of three classes."""
    return saved(tmp_path_factory.mktemp("coloured") / "coloured.npz", (60, 60, 30))
