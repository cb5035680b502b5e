"""The derived set `scenes`: avatars cut out, pasted, described."""

from __future__ import annotations

import importlib.resources
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganfold.data.captions import captions_of, words_of
from ganfold.data.sources import scenes
from ganfold.data.sources.lookup import find_source
from ganfold.data.sources.source import Listing
from ganfold.tasks.captions import boxes_found, overlap

Drawn = dict[str, list[dict[str, str]]]  # the metadata of all avatars, by style
STYLES = ("adventurer", "big-smile", "personas", "toon-head")
EACH = 12


@pytest.fixture(scope="module")
def whole() -> zipfile.ZipFile:
    return zipfile.ZipFile(str(importlib.resources.files("ganfold.data") / "bundled" / "avatars.zip"))


@pytest.fixture(scope="module")
def drawn(whole: zipfile.ZipFile) -> Drawn:
    return {
        style: [json.loads(line) for line in whole.read(f"avatars/{style}/metadata.jsonl").splitlines()]
        for style in STYLES
    }


@pytest.fixture(scope="module")
def few(whole: zipfile.ZipFile, drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
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


def derived(few: Path, folder: Path) -> tuple[Listing, np.ndarray, list[dict[str, Any]]]:
    folder.mkdir()
    listing = scenes.derive(few, folder)
    assert listing.rows
    text = listing.rows[0].read_bytes()
    rows = [json.loads(text[start : start + length]) for start, length in listing.rows[1]]
    images = np.stack([np.asarray(listing.reader.read(number)) for number in range(len(listing.names))])
    return listing, images, rows


def test_the_box_is_where_the_figure_is(few: Path, tmp_path: Path) -> None:
    listing, images, rows = derived(few, tmp_path / "one")
    assert images.shape == (len(listing.names), 64, 64, 3)
    assert len(rows) == len(images) > 40
    boxes = np.array([row["box"] for row in rows])
    assert overlap(boxes_found(images), boxes).mean() > 0.9
    assert (boxes >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 1).all()
    longer = boxes[:, 2:].max(1)
    assert 0.35 < longer.min() < 0.55 < 0.8 < longer.max() <= 0.96  # many sizes ...
    assert boxes[:, 0].std() > 0.1 < boxes[:, 1].std()  # ... at many places
    for image, (left, top, width, height) in zip(images, np.rint(boxes * 64).astype(int), strict=True):
        outside = np.ones((64, 64), bool)
        outside[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2] = False
        assert not outside.any() or (image[outside] == image[outside][0]).all()


def test_keypoints_are_the_extremes_of_the_figure(few: Path, tmp_path: Path) -> None:
    _, _, rows = derived(few, tmp_path / "one")
    for row in rows:
        left, top, width, height = row["box"]
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


def test_the_ground_is_another_and_far_from_the_figures_colours(few: Path, tmp_path: Path, drawn: Drawn) -> None:
    listing, images, _ = derived(few, tmp_path / "one")
    for name, image in zip(listing.names, images, strict=True):
        _, style, file = name.split("/")
        row = next(row for row in drawn[style] if row["file_name"] == file)
        corner = max((image[y, x] for x in (0, -1) for y in (0, -1)), key=lambda c: (image == c).all(2).sum())
        ground = "".join(f"{value:02x}" for value in corner)
        assert ground in scenes.GROUNDS
        for colour in [*scenes.colours(row).values(), row["primaryBackgroundColor"]]:
            assert scenes._distance(ground, colour) >= scenes.CLEAR


def test_no_halo_of_the_old_ground_is_left(whole: zipfile.ZipFile, drawn: Drawn) -> None:
    """At the figure's edge no colour is mixed with that of the old ground."""
    row = drawn["adventurer"][0]
    image = Image.open(io.BytesIO(whole.read(f"avatars/adventurer/{row['file_name']}"))).convert("RGB")
    ground = scenes._rgb(row["primaryBackgroundColor"])
    figure = np.asarray(scenes.cut_out(np.asarray(image), ground)).astype(float)
    some = (figure[:, :, 3] > 0) & (figure[:, :, 3] < 200)
    assert some.sum() > 20
    assert (
        np.median(np.linalg.norm(figure[some][:, :3] - ground, axis=1)) > 150
    )  # black outlines are far from a light ground


def test_all_avatars_are_described(drawn: Drawn) -> None:
    texts, colours = [], set()
    for rows in drawn.values():
        for row in rows:
            attributes = scenes.attributes(row)  # knows every colour, or raises
            texts.append(attributes["text"])
            colours.add(attributes.get("hair_color"))
            assert attributes["skin_color"] in scenes.SKIN
            assert f"{attributes['skin_color']} skin" in attributes["text"]
            assert attributes.get("hair_color", "bald") in attributes["text"]
    assert colours == {*scenes.HAIR, None}  # the bald have none
    assert max(len(words_of(text)) for text in texts) <= 24
    assert len({word for text in texts for word in words_of(text)}) < 60
    assert not any("variant" in text or any(c.isdigit() for c in text) for text in texts)
    assert sum(scenes.is_lost(row) for rows in drawn.values() for row in rows) == 118


def test_what_is_said(drawn: Drawn) -> None:
    assert scenes.attributes(drawn["adventurer"][5]) == {
        "text": "long grey hair, pale skin, glasses",
        "hair_color": "grey",
        "skin_color": "pale",
    }
    bust = drawn["personas"][0] | {"hair": "bald", "mouth": "frown", "eyes": "sunglasses", "clothingColor": "#e24553"}
    bust.pop("facialHair", None)
    attributes = scenes.attributes(bust | {"skinColor": "#623d36"})
    assert attributes == {
        "text": "bald, dark skin, sunglasses, sad, red shirt",
        "skin_color": "dark",
        "clothes_color": "red",
    }


def test_the_rows_are_captions(few: Path, tmp_path: Path) -> None:
    listing, _, rows = derived(few, tmp_path / "one")
    captions, faults = captions_of(rows, "scenes", listing.names)
    assert not faults
    assert captions.keypoints is not None
    assert captions.keypoints.shape == (len(rows), 4, 3)
    assert "hair" in captions.words


def test_it_is_known_by_its_name() -> None:
    assert find_source("scenes").key == scenes.scenes().key


def test_the_key_follows_from_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    key = scenes.scenes().key
    assert scenes.scenes().key == key
    monkeypatch.setattr(scenes, "CLEAR", 61)
    assert scenes.scenes().key != key
