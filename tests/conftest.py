"""Small image sets, and a cache of their own for every test run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny import write_squares


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("GANFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An array file of 96 RGB images of 16 pixels: a coloured square somewhere on a dark ground, in three classes."""
    return write_squares(tmp_path_factory.mktemp("squares") / "squares.npz")


@pytest.fixture(scope="session")
def captioned(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The squares as files, with what they show and where in `metadata.jsonl`."""
    folder = tmp_path_factory.mktemp("captioned")
    random = np.random.default_rng(1)
    lines = []
    for number, image in enumerate(np.load(squares)["images"]):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
        box = [float(value) for value in random.uniform(0.1, 0.45, 4).round(3)]
        row = {"file_name": f"{number:02d}.png", "text": ["a square", "dark ground"][number % 2], "box": box}
        lines.append(json.dumps(row))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder
