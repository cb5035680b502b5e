"""Pairs and two domains: which image belongs to which, and what cannot be used.

Halves are opened as all images are. Another way of opening images was looked for in pairs, sheets and scenes.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold.data import ImageSet, load_as
from ganfold.errors import GanfoldError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANFOLD_CACHE", str(tmp_path / "cache"))


def numbered(number: int, side: int = 16) -> np.ndarray:
    """An image that is different for each number."""
    pixels = np.full((side, side, 3), number, np.uint8)
    pixels[number % side, :, 0] = 255
    return pixels


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def two_folders(root: Path, first: str = "A", second: str = "B", count: int = 12) -> Path:
    for n in range(count):
        write(root / first / f"{n:02d}.png", 255 - numbered(n))
        write(root / second / f"{n:02d}.bmp", numbered(n))
    return root


def matched(images: ImageSet) -> bool:
    """Whether the input of each target is its negative."""
    assert images.inputs is not None
    assert images.partner is not None
    rows = np.concatenate([images.train, images.held_out])
    return bool((images.inputs.images[images.partner[rows]] == 255 - images.images[rows]).all())


@pytest.mark.parametrize("names", [("A", "B"), ("input", "target"), ("trainA", "trainB")])
def test_two_folders_with_equal_names_are_pairs(tmp_path: Path, names: tuple[str, str]) -> None:
    images = load_as("pairs", two_folders(tmp_path / "pairs", *names), held_out=0.25, progress=False)
    assert len(images) == 12
    assert len(images.held_out) == 3
    assert matched(images)
    assert images.labels is None  # the two folders are not taken as classes
    assert images.source == str(tmp_path / "pairs")


def test_images_that_hold_both_side_by_side_are_pairs(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path / "both" / f"{n}.png", np.concatenate([255 - numbered(n), numbered(n)], 1))
    images = load_as("pairs", tmp_path / "both", progress=False)
    assert images.images.shape == (12, 3, 16, 16)
    assert matched(images)


def test_a_zip_can_hold_pairs(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "pairs")
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as file:
        for path in sorted(root.rglob("*.*")):
            file.write(path, path.relative_to(root))
    images = load_as("pairs", tmp_path / "pairs.zip", progress=False)
    assert len(images) == 12
    assert matched(images)


def test_equal_targets_and_equal_inputs_are_kept(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "pairs", count=3)
    for n in range(3, 9):
        write(root / "A" / f"{n:02d}.png", 255 - numbered(0))
        write(root / "B" / f"{n:02d}.bmp", numbered(0))
    images = load_as("pairs", root, progress=False)
    assert len(images.train) == 9
    assert matched(images)


def test_what_is_no_pair_is_named_and_skipped(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "pairs")
    write(root / "A" / "alone.png", numbered(40))
    write(root / "B" / "lonely.png", numbered(41))
    write(root / "A" / "uneven.png", numbered(42, 16))
    write(root / "B" / "uneven.png", numbered(42, 24))
    write(root / "A" / "broken.png", numbered(43))
    (root / "B" / "broken.png").write_bytes((root / "A" / "broken.png").read_bytes()[:60])
    (root / "A" / "spoilt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    write(root / "B" / "spoilt.png", numbered(44))
    images = load_as("pairs", root, progress=False)
    assert len(images.train) == 12
    assert matched(images)
    why = {finding.file: finding.why for finding in images.findings.skipped}
    assert why["A/alone.png"] == "no partner: no file of that name in B"
    assert why["B/lonely.png"] == "no partner: no file of that name in A"
    assert why["A/uneven.png"] == "its partner has another size: 16 x 16 and 24 x 24 px"
    assert "truncated" in why["B/broken.png"]
    assert why["B/spoilt.png"] == "its partner is unusable"
    assert images.findings.used == 12


def test_an_image_that_is_not_twice_as_wide_is_named(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path / "both" / f"{n}.png", np.concatenate([255 - numbered(n), numbered(n)], 1))
    write(tmp_path / "both" / "square.png", numbered(9))
    images = load_as("pairs", tmp_path / "both", progress=False)
    assert len(images) == 4
    assert [f.why for f in images.findings.skipped] == [
        "not a pair side by side: 16 x 16 px is not twice as wide as high"
    ]


def test_a_folder_without_any_pair_is_refused(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path / "photos" / f"{n}.png", numbered(n))
    with pytest.raises(GanfoldError, match="photos holds no pairs: give it two sub-folders A and B"):
        load_as("pairs", tmp_path / "photos", progress=False)
    for n in range(4):
        write(tmp_path / "apart" / "A" / f"{n}.png", numbered(n))
        write(tmp_path / "apart" / "B" / f"{n + 10}.png", numbered(n))
    with pytest.raises(GanfoldError, match="A and B hold no pair"):
        load_as("pairs", tmp_path / "apart", progress=False)


def test_two_domains_keep_their_own_counts_and_one_resolution(tmp_path: Path) -> None:
    for n in range(6):
        write(tmp_path / "cats" / f"{n}.png", numbered(n, 24))
    for n in range(9):
        write(tmp_path / "dogs" / f"{n}.png", numbered(100 + n, 32))
    images = load_as("domains", tmp_path / "cats", tmp_path / "dogs", held_out=0.34, progress=False)
    assert images.inputs is not None
    assert images.partner is None
    assert (len(images), len(images.inputs)) == (9, 6)
    assert images.images.shape[2] == images.inputs.images.shape[2] == 32
    assert (images.source, images.inputs.source) == (str(tmp_path / "dogs"), str(tmp_path / "cats"))
    with pytest.raises(GanfoldError, match="by --data, and what to make of them by --target"):
        load_as("domains", tmp_path / "cats", progress=False)


def test_halves_of_16_bits_are_read_as_two_folders_of_16_bits_are(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (32, 1))
    for k in range(8):
        both = np.roll(ramp, 4 * k, 1)
        write(tmp_path / "both" / f"{k}.png", both)
        write(tmp_path / "apart" / "A" / f"{k}.png", np.ascontiguousarray(both[:, :32]))
        write(tmp_path / "apart" / "B" / f"{k}.png", np.ascontiguousarray(both[:, 32:]))
    one, two = (load_as("pairs", tmp_path / name, progress=False) for name in ("both", "apart"))
    assert one.inputs
    assert two.inputs
    assert (one.images[:] == two.images[:]).all()
    assert (one.inputs.images[:] == two.inputs.images[:]).all()
    assert 110 < one.images[:].mean() < 145


def test_halves_keep_what_lies_under_transparency_out(tmp_path: Path) -> None:
    for n in range(4):
        both = np.concatenate([255 - numbered(n), numbered(n)], 1)
        clear = np.dstack([both, np.full(both.shape[:2], 255, np.uint8)])
        clear[0, :, 3] = 0
        write(tmp_path / "both" / f"{n}.png", clear)
    images = load_as("pairs", tmp_path / "both", progress=False)
    assert (images.images[:, :, 0] == 255).all()


def test_a_second_file_of_one_name_is_no_partner(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "pairs")
    write(root / "B" / "00.png", numbered(70))
    images = load_as("pairs", root, progress=False)
    assert len(images) == 12
    why = {finding.file: finding.why for finding in images.findings.skipped}
    assert why["B/00.png"].startswith("its partner is taken")


def test_one_image_is_too_few(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.png", numbered(1))
    with pytest.raises(GanfoldError, match="one holds one image to train on, which is too few: 2 are the least"):
        load_as("images", tmp_path / "one", progress=False)
