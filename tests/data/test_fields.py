"""Rows of an image set as the fields of a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfold.data import ImageSet, load
from ganfold.data.captions import Captions
from ganfold.data.fields import Fields, flipped

CPU = torch.device("cpu")
INDEX = np.array([5, 0, 5])


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return load(squares, held_out=0, progress=False)


def test_images_and_labels_have_the_order_of_the_index(images: ImageSet) -> None:
    fields = Fields(images, CPU)(INDEX)
    assert images.labels is not None
    assert fields.keys() == {"image", "label"}
    assert torch.equal(fields["image"], torch.from_numpy(images.images[INDEX]).float() / 127.5 - 1)
    assert fields["label"].tolist() == images.labels[INDEX].tolist()


def test_inputs_are_partners_or_the_others_that_are_named(images: ImageSet) -> None:
    partner = np.arange(len(images))[::-1].copy()
    inputs = replace(images, images=255 - images.images)
    paired = Fields(replace(images, inputs=inputs, partner=partner), CPU)(INDEX)["input"]
    assert torch.equal(paired, Fields(inputs, CPU)(partner[INDEX])["image"])
    others = np.array([7, 8, 9])
    unpaired = Fields(replace(images, inputs=inputs), CPU)(INDEX, others)["input"]
    assert torch.equal(unpaired, Fields(inputs, CPU)(others)["image"])


def test_a_mirrored_image_takes_its_places_along(images: ImageSet) -> None:
    count = len(images)
    boxes = np.tile(np.array([0.125, 0.25, 0.5, 0.5], np.float32), (count, 1))
    points = np.tile(np.array([[0.25, 0.5, 1], [0.75, 0.5, 0]], np.float32), (count, 1, 1))
    captions = Captions(("word",), np.ones((count, 4), np.uint16), boxes, points)
    fields = Fields(replace(images, captions=captions), CPU)(INDEX)
    mirrored = flipped(fields, torch.tensor([True, False, True]))
    assert torch.equal(mirrored["image"][0], fields["image"][0].flip(2))
    assert torch.equal(mirrored["image"][1], fields["image"][1])
    assert mirrored["box"].tolist() == [[0.375, 0.25, 0.5, 0.5], [0.125, 0.25, 0.5, 0.5], [0.375, 0.25, 0.5, 0.5]]
    assert mirrored["keypoints"][0].tolist() == [[0.75, 0.5, 1], [0.25, 0.5, 0]]
    assert torch.equal(mirrored["text"], fields["text"])
