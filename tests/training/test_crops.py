"""Random crops: where they lie, what they share, and runs that have them or began without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganfold
from ganfold.data import ImageSet
from ganfold.gans.contract import Batch
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks

TINY = {"width": 4, "blocks": 1, "scale": 2, "batch": 4, "pretrain_kimg": 1.0, "evaluate_every": 0.0}


@pytest.fixture(scope="module")
def numbered() -> ImageSet:
    """Twelve images of 32 px whose pixels say where they are: image, row and column. Their middles have 16 px."""
    place = np.arange(32, dtype=np.uint8)
    wider = np.empty((12, 3, 32, 32), np.uint8)
    wider[:, 0], wider[:, 1], wider[:, 2] = np.arange(12)[:, None, None], place[:, None], place
    few = load_few(wider)
    return replace(few, images=wider[:, :, 8:24, 8:24], wider=wider, crops=32)


def load_few(wider: np.ndarray) -> ImageSet:
    source = ganfold.data.Findings("numbered")
    return ImageSet(wider, None, (), None, [""] * 12, np.arange(12), np.arange(0), "", "numbered", source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight smooth images of 40 x 48 px."""
    folder = tmp_path_factory.mktemp("large") / "set"
    folder.mkdir()
    for number in range(8):
        corners = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(corners).resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def batches(images: ImageSet, size: int = 6, rank: int = 0, world: int = 1, seed: int = 0) -> Batches:
    ranks = Ranks("cpu")
    ranks.rank, ranks.world = rank, world
    return Batches(images, seed=seed, size=size, ranks=ranks, device=torch.device("cpu"), flips=False)


def corners(batch: Batch, field: str = "image") -> list[tuple[int, int]]:
    """The first row and column of each crop; checks that it is a square of its image."""
    pixels = ((batch[field] + 1) * 127.5).round().int()
    found = [(int(image[1, 0, 0]), int(image[2, 0, 0])) for image in pixels]
    for image, (top, left) in zip(pixels, found, strict=True):
        assert (image[0] == image[0, 0, 0]).all()
        assert (image[1] == torch.arange(top, top + 16)[:, None]).all()
        assert (image[2] == torch.arange(left, left + 16)).all()
    return found


def test_crops_lie_everywhere_and_follow_from_seed_and_number_alone(numbered: ImageSet) -> None:
    drawn = batches(numbered)
    found = [corner for k in range(60) for corner in corners(drawn.draw(k))]
    for axis in (0, 1):
        assert {corner[axis] for corner in found} == set(range(17))  # both edges too
    assert corners(batches(numbered).draw(59)) == found[-6:]
    assert corners(batches(numbered, seed=1).draw(59)) != found[-6:]
    assert len(set(found)) > 150


def test_ranks_cut_what_one_would_cut(numbered: ImageSet) -> None:
    parts = [batches(numbered, rank=rank, world=2).draw(3)["image"] for rank in range(2)]
    assert torch.equal(torch.cat(parts), batches(numbered).draw(3)["image"])


def test_a_pair_is_cut_at_one_place_and_unpaired_images_at_two(numbered: ImageSet) -> None:
    pair = batches(replace(numbered, inputs=numbered, partner=np.arange(12))).draw(2)
    assert torch.equal(pair["input"], pair["image"])
    assert len(set(corners(pair))) > 1
    unpaired = batches(replace(numbered, inputs=numbered)).draw(2)
    assert corners(unpaired, "input") != corners(unpaired)


def test_what_is_not_trained_on_is_the_middle(numbered: ImageSet) -> None:
    assert (ganfold.data.fields.Fields(numbered, torch.device("cpu"))(np.array([5]))["image"] * 0).shape[2:] == (16, 16)


def test_srgan_learns_from_native_crops_by_itself(folder: Path, tmp_path: Path) -> None:
    run = ganfold.train("srgan", folder, tmp_path / "run", resolution=16, kimg=0.008, progress=False, **TINY)
    assert run.record.data.crops == "native"
    assert run.record.data.images == 8 * 4  # of 32 px each
    assert run.images(progress=False).fingerprint == run.record.data.fingerprint
    again = ganfold.train("srgan", folder, tmp_path / "run", resolution=16, kimg=0.016, progress=False, **TINY)
    whole = ganfold.train("srgan", folder, tmp_path / "whole", resolution=16, kimg=0.016, progress=False, **TINY)
    assert same(again.gan, whole.gan)
    plan = ganfold.plan(folder, tmp_path / "plan", gan="srgan", resolution=16, kimg=0.008, progress=False, **TINY)
    assert plan.options["crops"] == "native"
    assert "--crops native" in plan.command


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_run_from_before_crops_goes_on_without(folder: Path, tmp_path: Path) -> None:
    options = TINY | {"resolution": 16, "progress": False}
    run = ganfold.train("srgan", folder, tmp_path / "old", kimg=0.008, crops="off", **options)
    assert run.record.data.crops is None
    path = tmp_path / "old" / "config.json"
    record = json.loads(path.read_text())
    del record["data"]["crops"], record["settings"]["crops"]
    path.write_text(json.dumps(record))
    run = ganfold.train("srgan", folder, tmp_path / "old", kimg=0.016, **options)
    assert run.state["images"] == 16
    assert run.record.data.crops is None
    assert run.record.data.images == 8
    assert len(run.images(progress=False)) == 8


def test_pairs_and_others_crop_on_request_alone(folder: Path, tmp_path: Path) -> None:
    small = {"input": "grey", "width": 4, "batch": 4, "evaluate_every": 0.0, "progress": False, "kimg": 0.004}
    run = ganfold.train("pix2pix", folder, tmp_path / "plain", resolution=16, **small)
    assert run.record.data.crops is None
    run = ganfold.train("pix2pix", folder, tmp_path / "crops", resolution=16, crops=18, flips=True, **small)
    assert run.record.data.crops == 18
    assert run.record.data.shape.resolution == 16
    assert ganfold.load(tmp_path / "crops").sample(2).shape == (2, 16, 16, 3)
