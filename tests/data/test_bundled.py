"""The sets that the package carries."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ganfold import GanfoldError, data
from image_files import Load


def test_avatars(load: Load, tmp_path: Path) -> None:
    images = load("avatars")
    assert images.images.shape == (5999, 3, 64, 64)  # 6,000 files, two of them with the same pixels
    assert images.classes == ("adventurer", "big-smile", "personas", "toon-head")
    assert images.findings.classes == {"adventurer": 1500, "big-smile": 1499, "personas": 1500, "toon-head": 1500}
    assert [f.file for f in images.findings.skipped] == ["avatars/big-smile/00738.webp"]
    assert images.attributes is not None
    assert images.names[0] == "avatars/adventurer/00000.webp"
    assert images.attributes[0]["eyes"] == "variant20"
    assert images.attributes[-1]["mouth"]
    assert len(images.held_out) == 600
    data.contact_sheet(images, tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").height == 4 * 66 + 2


def test_the_wheel_stays_small() -> None:
    files = [data.sources.source.bundled_file(name) for name in data.BUNDLED.values() if name]
    assert {file.name for file in files[0].parent.iterdir()} == {file.name for file in files}
    assert sum(file.stat().st_size for file in files) < 18e6  # a wheel of 20 MB at most


def test_digits(load: Load) -> None:
    images = load("digits")
    assert images.images.shape == (5000, 1, 28, 28)
    assert images.classes == tuple("0123456789")
    assert set(images.findings.classes.values()) == {500}
    assert images.attributes is None
    assert images.findings.skipped == []


def test_one_class_of_a_set(load: Load) -> None:
    images = load("avatars/toon-head", resolution=16)
    assert len(images) == 1500
    assert images.classes == ()
    assert all(name.startswith("avatars/toon-head/") for name in images.names)
    assert images.attributes is not None
    whole = load("avatars", resolution=16)
    assert whole.attributes is not None
    first = list(whole.names).index(images.names[0])
    assert (images.images[0] == whole.images[first]).all()
    assert images.attributes[0] == whole.attributes[first]
    assert load("digits/3", resolution=16).images.shape == (500, 1, 16, 16)
    with pytest.raises(GanfoldError, match=r"avatars has no class 'toonhead'; did you mean 'toon-head'\?"):
        load("avatars/toonhead")
