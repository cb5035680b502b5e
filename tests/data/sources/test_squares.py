"""Squares cut from whole images: the bundled photographs, and crops at native scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold import GanfoldError, data
from image_files import Load


def write(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Write an image of random colours; returns its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def of(images: data.ImageSet, rows: np.ndarray) -> set[str]:
    """The names of the whole images that squares were cut from."""
    return {images.names[row].partition(" ")[0] for row in rows.tolist()}


def test_the_bundled_photographs_are_split_by_photograph(load: Load, tmp_path: Path) -> None:
    images = load("photos")
    assert images.images.shape[1:] == (3, 128, 128)
    assert len(images) > 2500
    trained, held = of(images, images.train), of(images, images.held_out)
    assert len(trained | held) == 9
    assert not trained & held
    assert len(held) == 2
    assert images.attributes is not None
    assert {row["licence"] for row in images.attributes} == {"CC BY 4.0", "CC0 1.0"}
    files = data.unpack("photos", tmp_path / "whole")
    assert len(list(files.glob("*.jpg"))) == 9
    whole = np.asarray(Image.open(files / "wine.jpg"))
    names = [name for name in images.names if name.startswith("wine.jpg at ")]
    left, top = (int(number) for number in names[77].rpartition(" ")[2].split(","))
    square = images.images[list(images.names).index(names[77])]
    assert (square.transpose(1, 2, 0) == whole[top : top + 128, left : left + 128]).all()


def test_a_set_is_unpacked_beside_its_own_files_and_over_no_other(tmp_path: Path) -> None:
    data.unpack("photos", tmp_path)
    assert data.unpack("photos", tmp_path) == tmp_path
    (tmp_path / "wine.jpg").write_text("mine")
    with pytest.raises(GanfoldError, match=r"wine\.jpg exists and is another file: give an empty folder"):
        data.unpack("photos", tmp_path)
    assert (tmp_path / "wine.jpg").read_text() == "mine"
    with pytest.raises(
        GanfoldError, match="digits has no files to unpack: of the bundled sets only avatars and photos"
    ):
        data.unpack("digits", tmp_path)


def test_native_squares_show_every_part_of_each_image_at_its_own_scale(load: Load, tmp_path: Path) -> None:
    pixels = {f"{number}.png": write(tmp_path / "set" / f"{number}.png", 50, 75, number) for number in range(6)}
    write(tmp_path / "set" / "small.png", 15, 90)
    (tmp_path / "set" / "cut.png").write_bytes((tmp_path / "set" / "0.png").read_bytes()[:-3000])
    images = load(tmp_path / "set", resolution=16, crops="native", held_out=0.3)
    assert images.images.shape == (6 * 6, 3, 16, 16)  # two squares down and three across
    assert images.wider is not None
    assert images.wider.shape == (6 * 6, 3, 32, 32)
    assert (images.images == images.wider[:, :, 8:24, 8:24]).all()
    seen = {name: np.zeros((50, 75), bool) for name in pixels}
    for name, square in zip(images.names, images.wider, strict=True):
        file, _, place = name.partition(" at ")
        left, top = map(int, place.split(","))
        assert (square.transpose(1, 2, 0) == pixels[file][top : top + 32, left : left + 32]).all()
        seen[file][top : top + 32, left : left + 32] = True
    assert all(part.all() for part in seen.values())
    why = {finding.file: finding.why for finding in images.findings.skipped}
    assert why["small.png"] == "too small for crops: under 16 px on the shorter side"
    assert why["cut.png"] == "truncated"
    assert len(images.held_out) == 12  # of two whole images
    assert not of(images, images.train) & of(images, images.held_out)
    assert "6 images cut at their own scale into 36 squares of 32 px, for crops of 16 px." in images.findings.notes


def test_the_smallest_image_that_can_be_cropped_decides_the_squares(load: Load, tmp_path: Path) -> None:
    for number, height in enumerate((60, 20, 60)):
        write(tmp_path / "set" / f"{number}.png", height, 60, number)
    images = load(tmp_path / "set", resolution=16, crops="native")
    assert images.wider is not None
    assert images.wider.shape == (3 + 9 + 9, 3, 20, 20)
    with pytest.raises(GanfoldError, match="no image is 64 px or more on its shorter side: give --crops off"):
        load(tmp_path / "set", resolution=64, crops="native")


def test_two_images_of_four_are_held_out_by_default(load: Load, tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "set" / f"{number}.png", 160, 192, number)
    images = load(tmp_path / "set", resolution=8, crops="native")
    assert len(images) >= 500
    assert len(of(images, images.held_out)) == 2


def test_crops_of_images_made_larger_than_the_resolution(load: Load, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "set" / f"{number}.png", 40, 60, number)
    whole, images = load(tmp_path / "set", resolution=20), load(tmp_path / "set", resolution=16, crops=20)
    assert images.fingerprint == whole.fingerprint
    assert images.resolution == 16
    assert (images.images == whole.images[:, :, 2:18, 2:18]).all()
    assert load(tmp_path / "set", resolution=16, crops="off").wider is None
    for options, message in (
        ({"resolution": 32, "crops": 20}, "crops of 32 px cannot be cut from images of 20 px: make --crops larger"),
        ({"crops": 20}, "crops need a resolution"),
        ({"resolution": 16, "crops": "natve"}, "crops 'natve' is none of native, off and a number of px"),
        ({"resolution": 16, "crops": 4000}, "resolution 4000 is out of range"),
    ):
        with pytest.raises(GanfoldError, match=message):
            load(tmp_path / "set", **options)


def test_captions_allow_no_crops(captioned: Path) -> None:
    with pytest.raises(GanfoldError, match="shares of the whole image: leave out --crops"):
        data.load_as("captions", captioned, resolution=8, crops=16, progress=False)
