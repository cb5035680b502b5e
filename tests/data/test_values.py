"""What the pixels are like is looked at: constant sets, flat colours, grey in RGB, arrays of other types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold.data import prepare
from ganfold.data.sources.decode import TargetShape
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


def test_images_that_are_all_equal_are_said(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for i in range(4):
        make_image(0).save(tmp_path / f"{i}.png")
    warnings = load(tmp_path).findings.warnings
    assert warnings == ["all images have the same pixels, so one is used: a GAN needs hundreds that differ"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_flat_colours_are_said(mode: str, tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for i in range(4):
        Image.new("RGB", (16, 16), (200, 100 + i, 7)).convert(mode).save(tmp_path / f"{i}.png")
    channels = {"channels": 4} if mode == "RGBA" else {}
    said = "each image is of one flat colour, so there is nothing to learn: look at how they were saved"
    assert load(tmp_path, **channels).findings.warnings[0] == said
    for i in range(9):
        make_image(i, 16, 16, mode).save(tmp_path / f"x{i}.png")
    findings = load(tmp_path, **channels).findings
    assert said not in findings.warnings
    assert any(note.endswith(" of one flat colour (such as 0.png).") for note in findings.notes)


def test_grey_in_rgb_is_said_where_no_channels_are_requested(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for i in range(4):
        make_image(i, mode="L").convert("RGB").save(tmp_path / f"{i}.png")
    said = "The files have colours, but all their pixels are grey: --channels 1 makes training faster."
    assert load(tmp_path).findings.notes == [said]
    assert load(tmp_path, channels=3).findings.notes == []
    make_image(9).save(tmp_path / "colour.png")
    assert load(tmp_path).findings.notes == []


def test_one_image_of_many_blocks_decides(tmp_path: Path) -> None:
    """The pixels are read in blocks of a megabyte."""
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (700, 1, 32, 32), np.uint8), 3, 1)
    for colour in (False, True):
        images[650, 0, 3, 3] ^= colour
        np.save(tmp_path / "images.npy", images)
        _, values = prepare._fingerprint(tmp_path, (), TargetShape(32, 3, "crop"))
        assert values.is_grey is not colour
        assert not values.is_flat.any()
        np.testing.assert_array_equal(values.brightest, images.max((1, 2, 3)))


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        (
            np.random.default_rng(0).random((9, 8, 8)),
            r"\(x \* 255\)\.round\(\)\.astype\('uint8'\) if it runs from 0 to 1",
        ),
        (np.random.default_rng(0).random((9, 8, 8), np.float32) * 2 - 1, r"\(\(x \+ 1\) \* 127\.5\)"),
        (np.random.default_rng(0).integers(0, 256, (9, 8, 8)), r"x\.astype\('uint8'\) if it runs from 0 to 255"),
        (np.random.default_rng(0).random((9, 8, 8)) > 0.5, r"uint8"),
    ],
    ids=["0 to 1", "-1 to 1", "int64", "bool"],
)
def test_arrays_of_other_types_are_refused_with_the_remedy(
    values: np.ndarray, remedy: str, tmp_path: Path, load: Load
) -> None:
    np.savez(tmp_path / "x.npz", images=values)
    np.save(tmp_path / "x.npy", values)
    for name in ("x.npz", "x.npy"):
        with pytest.raises(GanfoldError, match=remedy):
            load(tmp_path / name)
