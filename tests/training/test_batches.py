"""Data order, sharing among ranks, flips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfold.data import ImageSet, load
from ganfold.data.captions import Captions
from ganfold.errors import GanfoldError
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return load(squares, held_out=0.25, progress=False)


def batches(images: ImageSet, size: int = 8, rank: int = 0, world: int = 1, **options: object) -> Batches:
    ranks = Ranks("cpu")
    ranks.rank, ranks.world = rank, world
    chosen = {"seed": 0, "flips": False} | options
    return Batches(images, size=size, ranks=ranks, device=torch.device("cpu"), **chosen)  # type: ignore[arg-type]


def test_an_epoch_shows_every_training_image_once_and_no_held_out_one(images: ImageSet) -> None:
    drawn = batches(images, 9)
    seen = np.concatenate([drawn._indices(9 * k + drawn._places) for k in range(len(images.train) // 9)])
    assert sorted(seen) == images.train.tolist()
    assert not set(seen) & set(images.held_out.tolist())
    assert len(images.held_out) == 24


def test_a_batch_follows_from_seed_and_number_alone(images: ImageSet) -> None:
    one, other = batches(images), batches(images)
    for k in range(30):
        one.draw(k)
    assert torch.equal(one.draw(30)["image"], other.draw(30)["image"])
    assert not torch.equal(one.draw(30)["image"], batches(images, seed=1).draw(30)["image"])
    assert not torch.equal(one.draw(0)["image"], one.draw(9)["image"])  # the second epoch has another order


def test_ranks_share_the_batch_of_one(images: ImageSet) -> None:
    whole = batches(images, flips=True)
    shares = [batches(images, rank=rank, world=2, flips=True) for rank in range(2)]
    for k in (0, 8, 9):  # the last one across the border of an epoch
        parts = [share.draw(k) for share in shares]
        assert torch.equal(torch.cat([part["image"] for part in parts]), whole.draw(k)["image"])
        joined = whole.draw(k)
        for batch in (joined, *parts):
            batch.begin(0, k)
        assert torch.equal(torch.cat([part.normal(3) for part in parts]), joined.normal(3))


def test_pixels_become_minus_one_to_one(images: ImageSet) -> None:
    drawn = batches(images)
    batch = drawn.draw(0)["image"]
    pixels = images.images[drawn._indices(drawn._places)]
    assert torch.equal(batch, torch.from_numpy(pixels).float() / 127.5 - 1)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_half_of_the_images_are_mirrored(images: ImageSet) -> None:
    plain, flipped = batches(images, 64), batches(images, 64, flips=True)
    mirrored = 0
    for k in range(10):
        for one, other in zip(plain.draw(k)["image"], flipped.draw(k)["image"], strict=True):
            assert torch.equal(one, other) or torch.equal(one.flip(2), other)
            mirrored += not torch.equal(one, other)
    assert 240 < mirrored < 400


def test_labels_come_with_their_images(images: ImageSet) -> None:
    labelled = replace(images, labels=np.arange(len(images)), classes=tuple(map(str, range(len(images)))))
    drawn = batches(labelled)
    assert drawn.draw(5)["label"].tolist() == drawn._indices(5 * 8 + drawn._places).tolist()


def test_a_batch_larger_than_the_data_is_refused(images: ImageSet) -> None:
    with pytest.raises(GanfoldError, match="a batch of 128 is larger than the 72 training images.*--batch 36"):
        batches(images, 128)


def test_a_batch_that_ranks_cannot_share_is_refused(images: ImageSet) -> None:
    with pytest.raises(GanfoldError, match="cannot be shared by 3 ranks"):
        batches(images, 8, world=3)


def test_tempered_classes_come_as_often_as_a_power_of_their_share(tmp_path: Path) -> None:
    labels = np.array([0] * 400 + [1] * 100 + [2] * 4)
    pixels = np.random.default_rng(0).integers(0, 256, (504, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "uneven.npz", images=pixels, labels=labels)
    uneven = load(tmp_path / "uneven.npz", held_out=0, progress=False)
    for temper, shares in ((0.0, [1 / 3, 1 / 3, 1 / 3]), (0.5, [20 / 32, 10 / 32, 2 / 32])):
        drawn = batches(uneven, 100, temper=temper)
        index = np.concatenate([drawn._indices(100 * k + drawn._places) for k in range(100)])
        found = np.bincount(np.asarray(uneven.labels)[index]) / len(index)
        assert np.abs(found - shares).max() < 5 * np.sqrt(0.25 / len(index))
        times = np.bincount(index, minlength=504)[labels == 0]
        assert times.max() - times.min() <= 20  # the images of a class take turns: at most one apart an epoch
        again = batches(uneven, 100, temper=temper)
        assert (again._indices(100 * 30 + again._places) == index[3000:3100]).all()


def test_inputs_keep_their_partners_and_turn_with_them(images: ImageSet) -> None:
    partner = np.random.default_rng(3).permutation(len(images))
    inputs = replace(images, images=np.array(images.images)[np.argsort(partner)])
    drawn = batches(replace(images, inputs=inputs, partner=partner), flips=True)
    for k in range(12):
        batch = drawn.draw(k)
        assert torch.equal(batch["input"], batch["image"])


def test_unpaired_inputs_have_an_order_of_their_own(images: ImageSet) -> None:
    drawn = batches(replace(images, inputs=images, partner=None), 9)
    seen = np.concatenate([drawn._unpaired(9 * k + drawn._places) for k in range(len(images.train) // 9)])
    assert sorted(seen) == images.train.tolist()
    assert not torch.equal(drawn.draw(0)["input"], drawn.draw(0)["image"])
    again = batches(replace(images, inputs=images, partner=None), 9)
    assert torch.equal(drawn.draw(21)["input"], again.draw(21)["input"])


def test_places_are_mirrored_with_their_images(images: ImageSet) -> None:
    boxes = np.tile(np.array([0.1, 0.2, 0.3, 0.4], np.float32), (len(images), 1))
    points = np.tile(np.array([[[0.25, 0.5, 1]]], np.float32), (len(images), 1, 1))
    captions = Captions(("a",), np.ones((len(images), 24), np.uint16), boxes, points)
    batch = batches(replace(images, captions=captions), flips=True).draw(0)
    turned = batch["box"][:, 0] > 0.5
    assert turned.any()
    assert not turned.all()
    assert torch.allclose(batch["box"][turned], torch.tensor([0.6, 0.2, 0.3, 0.4]))
    assert torch.allclose(batch["keypoints"][turned, 0], torch.tensor([0.75, 0.5, 1.0]))
    assert torch.allclose(batch["keypoints"][~turned, 0], torch.tensor([0.25, 0.5, 1.0]))
