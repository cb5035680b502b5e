"""The sets that the package carries."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from conftest import Load
from ganfold import data


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


def test_digits(load: Load) -> None:
    images = load("digits")
    assert images.images.shape == (5000, 1, 28, 28)
    assert images.classes == tuple("0123456789")
    assert set(images.findings.classes.values()) == {500}
    assert images.attributes is None
    assert images.findings.skipped == []
