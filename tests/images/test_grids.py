"""Grids of images, and the film of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold import GanfoldError
from ganfold.images import grids


def test_a_grid_is_laid_out_to_the_pixel() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((1, 3, 3, 3), 50, np.uint8)
    sheet = np.asarray(grids.grid(images, columns=3, scale=2))
    assert sheet.shape == (2 * 6 + 2, 3 * 6 + 2 * 2, 3)
    assert (sheet[0:6, 8:14] == 50).all()
    assert (sheet[8:14, 8:14] == 200).all()
    assert (sheet[6:8] == 128).all()
    assert (sheet[8:14, 16:] == 128).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_grid_keeps_the_channels(channels: int) -> None:
    assert grids.grid(np.zeros((4, 2, 2, channels), np.uint8)).mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]


def test_what_is_no_image_is_refused() -> None:
    for wrong in (np.zeros((4, 2, 2, 2), np.uint8), np.zeros((4, 2, 2, 3)), np.zeros((0, 2, 2, 3), np.uint8)):
        with pytest.raises(GanfoldError, match="a grid needs uint8 images"):
            grids.grid(wrong)


def test_a_film_is_thinned_and_keeps_first_and_last(tmp_path: Path) -> None:
    for number in range(50):
        grids.save_png(Image.new("RGB", (40, 40), (5 * number, 0, 0)), tmp_path / f"{number:05d}.000.png")
    frames = sorted(tmp_path.glob("*.png"))
    grids.film(frames, tmp_path / "film.webp", most=10)
    with Image.open(tmp_path / "film.webp") as film:
        assert getattr(film, "n_frames", 1) == 10
        first = film.convert("RGB").getpixel((20, 20))
        film.seek(9)
        last = film.convert("RGB").getpixel((20, 20))
        film.load()
        assert film.info["duration"] == 2000
    assert isinstance(first, tuple)
    assert isinstance(last, tuple)
    assert first[0] < 20
    assert last[0] > 225
    grids.save_png(Image.new("RGB", (50, 40)), frames[3])
    with pytest.raises(GanfoldError, match="another size"):
        grids.film(frames, tmp_path / "film.webp")
