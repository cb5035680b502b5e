"""The derived set `scenes`: avatars cut out, pasted, described."""

from __future__ import annotations

import importlib.resources
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold.data import imageset
from ganfold.data.captions import captions, words_of
from ganfold.data.sources import scenes
from ganfold.data.sources.source import Listing
from ganfold.tasks.captions import boxes_found, overlap

STYLES = ("adventurer", "big-smile", "personas", "toon-head")
EACH = 12


@pytest.fixture(scope="module")
def whole() -> zipfile.ZipFile:
    return zipfile.ZipFile(str(importlib.resources.files("ganfold.data") / "bundled" / "avatars.zip"))


@pytest.fixture(scope="module")
def drawn(whole: zipfile.ZipFile) -> dict[str, list[dict[str, str]]]:
    """What is said of all avatars, by style."""
    return {
        style: [json.loads(line) for line in whole.read(f"avatars/{style}/metadata.jsonl").splitlines()]
        for style in STYLES
    }


@pytest.fixture(scope="module")
def few(
    whole: zipfile.ZipFile, drawn: dict[str, list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A zip of the first avatars of each style."""
    path = tmp_path_factory.mktemp("avatars") / "few.zip"
    with zipfile.ZipFile(path, "w") as out:
        for style in STYLES:
            rows = drawn[style][:EACH]
            out.writestr(f"avatars/{style}/metadata.jsonl", "\n".join(map(json.dumps, rows)))
            for row in rows:
                name = f"avatars/{style}/{row['file_name']}"
                out.writestr(name, whole.read(name))
    return path


def derived(few: Path, folder: Path) -> tuple[Listing, np.ndarray, list[dict[str, object]]]:
    folder.mkdir()
    listing = scenes.derive(few, folder)
    assert listing.rows
    text = listing.rows[0].read_bytes()
    rows = [json.loads(text[start : start + length]) for start, length in listing.rows[1]]
    pictures = np.stack([np.asarray(listing.reader.read(number)) for number in range(len(listing.names))])
    return listing, pictures, rows


def test_the_box_is_where_the_figure_is(few: Path, tmp_path: Path) -> None:
    listing, pictures, rows = derived(few, tmp_path / "one")
    assert pictures.shape == (len(listing.names), 64, 64, 3)
    assert len(rows) == len(pictures) > 40
    boxes = np.array([row["box"] for row in rows])
    assert overlap(boxes_found(pictures), boxes).mean() > 0.9
    assert (boxes >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 1).all()
    longer = boxes[:, 2:].max(1)
    assert 0.35 < longer.min() < 0.55 < 0.8 < longer.max() <= 0.96  # many sizes ...
    assert boxes[:, 0].std() > 0.1 < boxes[:, 1].std()  # ... at many places
    for picture, (left, top, width, height) in zip(pictures, np.rint(boxes * 64).astype(int), strict=True):
        outside = np.ones((64, 64), bool)
        outside[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2] = False
        assert not outside.any() or (picture[outside] == picture[outside][0]).all()


def test_keypoints_are_the_extremes_of_the_figure(few: Path, tmp_path: Path) -> None:
    _, _, rows = derived(few, tmp_path / "one")
    for row in rows:
        left, top, width, height = row["box"]  # type: ignore[misc]
        points = np.array(row["keypoints"])
        half = 0.5 / 64 + 1e-3
        assert abs(points[0, 1] - top) <= half
        assert abs(points[1, 0] - left) <= half
        assert abs(points[2, 0] - (left + width)) <= half
        assert abs(points[3, 1] - (top + height)) <= half


def test_it_is_the_same_each_time(few: Path, tmp_path: Path) -> None:
    _, one, rows = derived(few, tmp_path / "one")
    _, other, others = derived(few, tmp_path / "other")
    assert (one == other).all()
    assert rows == others


def test_the_ground_is_another_and_far_from_the_figures_colours(few: Path, tmp_path: Path, drawn: dict) -> None:
    listing, pictures, _ = derived(few, tmp_path / "one")
    for name, picture in zip(listing.names, pictures, strict=True):
        _, style, file = name.split("/")
        said = next(row for row in drawn[style] if row["file_name"] == file)
        corner = max((picture[y, x] for x in (0, -1) for y in (0, -1)), key=lambda c: (picture == c).all(2).sum())
        ground = "".join(f"{value:02x}" for value in corner)
        assert ground in scenes.GROUNDS
        for colour in [*scenes.colours(said).values(), said["primaryBackgroundColor"]]:
            assert scenes._distance(ground, colour) >= scenes.CLEAR


def test_no_halo_of_the_old_ground_is_left(whole: zipfile.ZipFile, drawn: dict) -> None:
    """Nothing half old ground, half figure: at the figure's edge the colours are the figure's."""
    row = drawn["adventurer"][0]
    image = Image.open(io.BytesIO(whole.read(f"avatars/adventurer/{row['file_name']}"))).convert("RGB")
    ground = scenes._rgb(row["primaryBackgroundColor"])
    figure = np.asarray(scenes.cut_out(np.asarray(image), ground)).astype(float)
    some = (figure[:, :, 3] > 0) & (figure[:, :, 3] < 200)
    assert some.sum() > 20
    assert np.median(np.linalg.norm(figure[some][:, :3] - ground, axis=1)) > 150  # of black outlines on a light ground


def test_all_avatars_are_described(drawn: dict) -> None:
    texts, colours = [], set()
    for rows in drawn.values():
        for row in rows:
            said = scenes.attributes(row)  # knows every colour, or raises
            texts.append(said["text"])
            colours.add(said.get("hair_color"))
            assert said["skin_color"] in scenes.SKIN
            assert f"{said['skin_color']} skin" in said["text"]
            assert said.get("hair_color", "bald") in said["text"]
    assert colours == {*scenes.HAIR, None}  # the bald have none
    assert max(len(words_of(text)) for text in texts) <= 24
    assert len({word for text in texts for word in words_of(text)}) < 60
    assert not any("variant" in text or any(c.isdigit() for c in text) for text in texts)
    assert sum(scenes.is_lost(row) for rows in drawn.values() for row in rows) == 118


def test_what_is_said(drawn: dict) -> None:
    assert scenes.attributes(drawn["adventurer"][5]) == {
        "text": "long grey hair, pale skin, glasses",
        "hair_color": "grey",
        "skin_color": "pale",
    }
    bust = drawn["personas"][0] | {"hair": "bald", "mouth": "frown", "eyes": "sunglasses", "clothingColor": "#e24553"}
    bust.pop("facialHair", None)
    said = scenes.attributes(bust | {"skinColor": "#623d36"})
    assert said == {
        "text": "bald, dark skin, sunglasses, sad, red shirt",
        "skin_color": "dark",
        "clothes_color": "red",
    }


def test_the_rows_are_captions(few: Path, tmp_path: Path) -> None:
    listing, _, rows = derived(few, tmp_path / "one")
    found, wrong = captions(rows, "scenes", listing.names)
    assert not wrong
    assert found.keypoints is not None
    assert found.keypoints.shape == (len(rows), 4, 3)
    assert "hair" in found.words


def test_it_is_known_by_its_name() -> None:
    assert imageset.find("scenes").key == scenes.scenes().key
