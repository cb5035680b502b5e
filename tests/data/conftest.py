"""Pictures to make sources from; every test has a cache of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganfold import data

Picture = Callable[..., Image.Image]
Load = Callable[..., data.ImageSet]


@pytest.fixture
def picture() -> Picture:
    """A smooth random picture, a function of its seed: smooth, so that lossy formats and resizing stay near it."""

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
def photos(tmp_path: Path, picture: Picture) -> Path:
    """Twelve PNGs of 32 px in one folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        picture(i).save(folder / f"{i:02}.png")
    return folder
