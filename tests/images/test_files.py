"""A user's image files: opened the right way up, changed, and never written over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganfold.errors import GanfoldError
from ganfold.images.files import change_images, opened, to_image, to_tensor


def picture(path: Path, size: tuple[int, int] = (20, 30), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], bands), np.uint8)
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode).save(path, **options)
    return path


def invert(image: Image.Image, _: Path) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def test_a_picture_is_turned_upright_and_its_alpha_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = picture(tmp_path / "turned.jpg", (20, 30), exif=exif)
    assert opened(path).size == (30, 20)
    assert opened(picture(tmp_path / "clear.png", mode="RGBA")).mode == "RGBA"
    assert opened(picture(tmp_path / "grey.png", mode="L")).mode == "L"
    palette = Image.new("P", (9, 9))
    palette.save(tmp_path / "palette.png", transparency=0)
    assert opened(tmp_path / "palette.png").mode == "RGBA"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_come_back_as_they_were(tmp_path: Path, mode: str) -> None:
    image = opened(picture(tmp_path / "p.png", mode=mode))
    assert to_tensor(image).abs().max() <= 1
    assert np.array_equal(np.asarray(to_image(to_tensor(image))), np.asarray(image))
    assert to_tensor(image, 3).shape == (1, 3, 30, 20)


def test_a_picture_and_a_folder_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    out = change_images(path, tmp_path / "one.png", invert)
    assert np.array_equal(np.asarray(Image.open(out)), 255 - np.asarray(Image.open(path)))
    change_images(tmp_path / "in", tmp_path / "many", invert)
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["a.png", "b.png"]
    assert "notes.txt: not an image" in capsys.readouterr().err


def test_nothing_is_written_over_without_force(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a.png")
    before = path.read_bytes()
    with pytest.raises(GanfoldError, match=r"a\.png exists: give --out another name, or --force"):
        change_images(path, path, invert)
    with pytest.raises(GanfoldError, match=r"a\.png exists"):
        change_images(tmp_path / "in", tmp_path / "in", invert)
    assert path.read_bytes() == before
    change_images(path, path, invert, force=True)
    assert path.read_bytes() != before


def test_refusals_are_sentences_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a.png")
    with pytest.raises(GanfoldError, match="no such file or folder"):
        change_images(tmp_path / "none.png", tmp_path / "out.png", invert)
    with pytest.raises(GanfoldError, match=r"out\.xyz names no kind of picture"):
        change_images(path, tmp_path / "out.xyz", invert)
    with pytest.raises(GanfoldError, match="is a folder: give --out a file's name"):
        change_images(path, tmp_path / "in", invert)
    with pytest.raises(GanfoldError, match="is a file, and .* is a folder"):
        change_images(tmp_path / "in", path, invert)
    (tmp_path / "text.png").write_text("no picture at all")
    with pytest.raises(GanfoldError, match=r"cannot use .*text\.png: not an image"):
        change_images(tmp_path / "text.png", tmp_path / "out.png", invert)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GanfoldError, match="holds no picture"):
        change_images(tmp_path / "empty", tmp_path / "out", invert)
    picture(tmp_path / "in" / "a.bmp")
    with pytest.raises(GanfoldError, match="differ in their suffix alone"):
        change_images(tmp_path / "in", tmp_path / "out", invert)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.png").exists()


def test_transparency_lies_on_white_where_the_file_has_none(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    out = change_images(tmp_path / "clear.png", tmp_path / "out.jpg", lambda image, _: image)
    assert np.asarray(Image.open(out)).min() > 250
