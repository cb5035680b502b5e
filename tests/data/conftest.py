"""Images to make sources of. Every test has its own cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganfold import data
from image_files import Load, MakeImage


@pytest.fixture
def make_image() -> MakeImage:
    """Makes a random image from a seed. It is smooth: lossy formats and resizing change it little."""

    def make(seed: int, width: int = 32, height: int = 32, mode: str = "RGB") -> Image.Image:
        corners = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
        return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC).convert(mode)

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def load(cache: Path) -> Load:
    def loaded(source: str | Path, **options: Any) -> data.ImageSet:
        return data.load(source, cache=cache, progress=False, **options)

    return loaded


@pytest.fixture
def photos(tmp_path: Path, make_image: MakeImage) -> Path:
    """A folder of twelve PNGs of 32 px."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        make_image(i).save(folder / f"{i:02}.png")
    return folder
