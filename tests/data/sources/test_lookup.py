"""Sources that an installed package adds: NAME:REST."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from ganfold.data import Listing, Source
from ganfold.data.sources import lookup
from ganfold.data.sources.lookup import GROUP
from ganfold.data.sources.readers import Records
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


def ramps(rest: str) -> Source:
    """REST is a number of grey images of 16 px."""
    count = int(rest)
    pixels = np.arange(count, dtype=np.uint8)[:, None, None] + np.arange(16, dtype=np.uint8)

    def listing(scratch: Path) -> Listing:
        np.broadcast_to(pixels, (count, 16, 16)).tofile(scratch / "ramps.bin")
        reader = Records(((scratch / "ramps.bin", 0, count),), 256, (16, 16), (0, 1))
        return Listing(reader, [f"ramp {i}" for i in range(count)])

    return Source(f"ramps/{rest}", listing)


def nothing(rest: str) -> None:
    """What a package must not add."""


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("ramps", f"{__name__}:ramps", GROUP),
        importlib.metadata.EntryPoint("nothing", f"{__name__}:nothing", GROUP),
        importlib.metadata.EntryPoint("missing", "no_such_module:source", GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == GROUP else [])


def test_a_package_adds_a_source(load: Load) -> None:
    images = load("ramps:7")
    assert images.images.shape == (7, 1, 16, 16)
    assert images.images[3, 0, :, 0].tolist() == [3] * 16
    assert images.names[3] == "ramp 3"
    assert images.source == "ramps:7"
    assert load("ramps:7").fingerprint == images.fingerprint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ramps:x", r"ramps, which an installed package adds, fails with ValueError: invalid literal for int\(\)"),
        ("nothing:x", "nothing, which an installed package adds, returns a NoneType and no Source"),
        ("missing:x", "which an installed package adds, fails with ModuleNotFoundError: No module named"),
        ("rumps:7", "^no such file or folder: rumps:7$"),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence(source: str, message: str, load: Load) -> None:
    with pytest.raises(GanfoldError, match=message):
        load(source)


def test_a_path_with_a_colon_is_a_path(photos: Path, load: Load) -> None:
    photos.rename(photos.with_name("my:photos"))
    assert len(load(photos.with_name("my:photos"))) == 12
    assert len(load(str(photos.with_name("my:photos")))) == 12


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("mnist", r"`digits` is bundled, 5,000 images of MNIST; for all of them download its IDX files"),
        ("Fashion-MNIST", r"download its IDX files \(train-images-idx3-ubyte.gz"),
        ("CIFAR10", r"download its binary version \(cifar-10-binary.tar.gz\)"),
        ("cifar_100", r"give a hub id"),
        ("celeba", r"`avatars` is bundled"),
        ("imagenet", r"a folder for each"),
        ("lsun", r"export one of its categories"),
        ("FFHQ", r"thumbnails128x128"),
        ("anime", r"`avatars` is bundled"),
    ],
)
def test_a_known_set_that_is_not_here_says_how_to_get_it(
    name: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_image: MakeImage
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanfoldError, match=rf"there is no file or folder {name} here: .*{advice}"):
        lookup.find_source(name)
    Path(name).mkdir()
    make_image(0).save(Path(name, "a.png"))
    assert len(lookup.find_source(name).list(tmp_path).names) == 1  # a folder of that name is a folder
