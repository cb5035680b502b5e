"""Captions, boxes and keypoints from `metadata.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganfold import data
from ganfold.data.captions import LENGTH, captions_of, tokens_of, words_of
from ganfold.errors import GanfoldError
from image_files import MakeImage

GOOD = {"text": "A red hat.", "box": [0.1, 0.2, 0.5, 0.6]}
Make = Callable[..., data.ImageSet]


@pytest.fixture
def make(photos: Path, cache: Path) -> Make:
    """Loads the twelve photos with a row of metadata each; `others` are the rows of some of them, None: no row."""

    def loaded(others: dict[int, dict[str, Any] | None], row: dict[str, Any] = GOOD, **options: Any) -> data.ImageSet:
        rows = dict.fromkeys(range(12), row) | others
        lines = [json.dumps({"file_name": f"{i:02}.png"} | row) for i, row in rows.items() if row is not None]
        (photos / "metadata.jsonl").write_text("\n".join(lines))
        return data.load_as("captions", photos, cache=cache, progress=False, held_out=0, **options)

    return loaded


def skipped(images: data.ImageSet) -> dict[str, str]:
    return {finding.file: finding.why for finding in images.findings.skipped}


def test_words_and_boxes(make: Make) -> None:
    images = make({3: {"caption": "the blue HAT, the hat", "box": [0, 0, 1, 1]}})
    captions = images.captions
    assert captions
    assert captions.words == ("a", "blue", "hat", "red", "the")
    assert captions.tokens.shape == (12, LENGTH)
    assert captions.tokens[3, :6].tolist() == [5, 2, 3, 5, 3, 0]
    assert captions.tokens[0, :4].tolist() == [1, 4, 3, 0]
    assert captions.boxes[3].tolist() == [0, 0, 1, 1]
    assert captions.keypoints is None
    assert len(images.train) == 12


def test_the_words_of_a_run_are_kept(make: Make) -> None:
    captions = make({}, words=("hat", "red")).captions
    assert captions
    assert captions.tokens[0, :3].tolist() == [2, 1, 0]  # "a" is not in the vocabulary


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "a hat", "box": [0.1, 0.2, 0.5]}, "no box of four numbers"),
        ({"text": "a hat", "box": "0.1"}, "no box of four numbers"),
        ({"text": "a hat", "box": ["a", 0, 1, 1]}, "no box of four numbers"),
        ({"text": "a hat"}, "no box of four numbers: None"),
        ({"text": "a hat", "box": [0.1, 0.2, 0, 0.5]}, "a box of no area"),
        ({"text": "a hat", "box": [0.5, 0.2, -0.2, 0.5]}, "a box of no area"),
        ({"text": "a hat", "box": [0.6, 0.2, 0.5, 0.5]}, "a box outside its image"),
        ({"text": "a hat", "box": [-0.1, 0.2, 0.5, 0.5]}, "a box outside its image"),
        ({"text": "a hat", "box": [10, 12, 30, 20]}, "a box outside its image"),
        ({"text": "a hat", "box": [float("nan"), 0, 1, 1]}, "no box of four numbers"),
        ({"box": [0, 0, 1, 1]}, "no caption"),
        ({"text": " ,. ", "box": [0, 0, 1, 1]}, "no caption"),
        ({"text": None, "box": [0, 0, 1, 1]}, "no caption"),
        ({"text": 7, "box": [0, 0, 1, 1]}, "no caption"),
    ],
)
def test_a_bad_row_is_named_and_skipped(make: Make, row: dict[str, Any], why: str) -> None:
    images = make({4: row})
    assert images.names[4] == "04.png"
    assert skipped(images)["04.png"].startswith(why)
    assert 4 not in images.train
    assert len(images.train) == 11
    assert images.findings.used == 11


def test_a_image_without_a_row_is_skipped(make: Make) -> None:
    images = make({7: None})
    assert 7 not in images.train
    assert "no caption" in skipped(images)["07.png"]


def test_bad_rows_are_not_held_out_either(photos: Path, cache: Path) -> None:
    lines = [{"file_name": f"{i:02}.png"} | (GOOD if i % 2 else {"text": "no place"}) for i in range(12)]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    images = data.load_as("captions", photos, cache=cache, progress=False, held_out=0.5)
    assert set(images.train) | set(images.held_out) == {1, 3, 5, 7, 9, 11}
    assert images.findings.held_out == len(images.held_out)


def test_unknown_columns_do_not_matter(make: Make) -> None:
    images = make({}, GOOD | {"mood": "happy", "extra": {"deep": [1]}})
    assert images.captions
    assert not images.findings.skipped
    assert images.attributes is not None
    assert images.attributes[0]["mood"] == "happy"


def test_nothing_usable_is_one_sentence(make: Make) -> None:
    with pytest.raises(GanfoldError, match=r"no usable caption \(00.png: no box of four numbers: None\): it needs"):
        make({}, {"text": "a hat"})


def test_no_metadata_is_one_sentence(photos: Path, cache: Path) -> None:
    with pytest.raises(GanfoldError, match=r"has no captions: it needs metadata.jsonl .*as shares of the image"):
        data.load_as("captions", photos, cache=cache, progress=False)


def test_images_that_are_not_square(make: Make, photos: Path, make_image: MakeImage) -> None:
    for i in range(12):
        make_image(i, 48, 32).save(photos / f"{i:02}.png")
    with pytest.raises(GanfoldError, match="12 images of .* are not square, .* give --fit stretch"):
        make({})
    assert len(make({}, fit="stretch").train) == 12


def test_keypoints(make: Make) -> None:
    points = [[0.1, 0.2], [0.3, 0.4, 0]]
    images = make({2: GOOD | {"keypoints": [[0, 0]]}, 5: GOOD}, GOOD | {"keypoints": points})
    assert images.captions
    assert images.captions.keypoints is not None
    np.testing.assert_allclose(images.captions.keypoints[0], [[0.1, 0.2, 1], [0.3, 0.4, 0]])
    assert skipped(images)["02.png"].startswith("not 2 keypoints")
    assert skipped(images)["05.png"].startswith("not 2 keypoints")
    assert len(images.train) == 10


def test_a_text_as_numbers() -> None:
    numbers, strange = tokens_of("Hat, red zebra hat", ("hat", "red"))
    assert numbers[:4].tolist() == [1, 2, 1, 0]
    assert strange == ["zebra"]
    assert len(tokens_of("hat " * 99, ("hat",))[0]) == LENGTH
    assert words_of("Élan_vital, 3-D!") == ["élan", "vital", "3", "d"]


def test_rows_none() -> None:
    with pytest.raises(GanfoldError, match="has no captions"):
        captions_of(None, "photos", ["a"])


def test_a_broken_image_does_not_shift_the_rows(make: Make, photos: Path) -> None:
    (photos / "03.png").write_bytes(b"not an image")
    images = make({6: {"text": "blue", "box": [0, 0, 0.25, 0.25]}})
    assert images.captions
    place = list(images.names).index("06.png")
    assert images.captions.boxes[place].tolist() == [0, 0, 0.25, 0.25]
    with Image.open(photos / "06.png") as image:
        assert (np.asarray(image) == images.images[place].transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\u7ea2\u8272\u7684\u5706", ["\u7ea2", "\u8272", "\u7684", "\u5706"]),  # Chinese
        ("a red\u5706, \u8d64\u3044\u4e38\u3002", ["a", "red", "\u5706", "\u8d64", "\u3044", "\u4e38"]),  # Japanese
        ("\u0e17\u0e35\u0e48 \u0e25\u0e31\u0e07", ["\u0e17\u0e35\u0e48", "\u0e25\u0e31", "\u0e07"]),  # Thai
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0932", ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0932"]),  # Hindi
        ("\ube68\uac04 \uc6d0", ["\ube68\uac04", "\uc6d0"]),  # Korean has spaces
        ("E\u0301lan \u00c9lan", ["\u00e9lan", "\u00e9lan"]),
        ("3-D, x_y", ["3", "d", "x", "y"]),
    ],
)  # fmt: skip
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_part_of_a_clause_without_spaces_is_understood() -> None:
    vocabulary = sorted(set(words_of("\u7ea2\u8272\u7684\u5706\u5728\u5de6\u8fb9")))
    numbers, strange = tokens_of("\u7ea2\u8272\u7684\u5706", vocabulary)
    assert strange == []
    assert [vocabulary[number - 1] for number in numbers if number] == ["\u7ea2", "\u8272", "\u7684", "\u5706"]


def test_the_vocabulary_of_an_earlier_version_keeps_its_words() -> None:
    earlier = ("\u7ea2\u8272\u7684\u5706", "\u0926", "\u0928", "\u0939", "e", "lan")  # as the first version parted them
    assert tokens_of("\u7ea2\u8272\u7684\u5706", earlier)[0].tolist()[:2] == [1, 0]
    assert tokens_of("\u0939\u093f\u0928\u094d\u0926\u0940", earlier)[0].tolist()[:4] == [4, 3, 2, 0]
    assert tokens_of("E\u0301lan", earlier)[0].tolist()[:3] == [5, 6, 0]
    assert tokens_of("\u5706", earlier)[1] == ["\u5706"]


def test_a_caption_that_is_cut_is_said(make: Make) -> None:
    images = make({3: GOOD | {"text": "word " * (LENGTH + 1)}})
    assert f"1 caption is longer than {LENGTH} words: the rest is not used." in images.findings.notes
